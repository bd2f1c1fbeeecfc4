package config

import (
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// decoder walks one document and collects what is wrong with it.
type decoder struct {
	file   string
	errors Errors
}

// fail notes an error at a node.
func (d *decoder) fail(at *yaml.Node, format string, args ...any) {
	d.errors = append(d.errors, Error{d.file, at.Line, at.Column, fmt.Sprintf(format, args...)})
}

// placed is a value with the node that it was read from; a nil node says that the
// key is absent. A bad one was there but could not be read, so that what depends on it
// is not judged: one slip gives one error.
type placed[V any] struct {
	v   V
	at  *yaml.Node
	bad bool
}

// good reports a value that is there and could be read.
func (p placed[V]) good() bool { return p.at != nil && !p.bad }

// or is the value, or what it defaults to.
func (p placed[V]) or(otherwise V) V {
	if !p.good() {
		return otherwise
	}
	return p.v
}

// value is a kind of value: how the schema describes it and how it is read. read
// reports false after it has noted an error. what is the key's name.
type value[V any] struct {
	schema *jsonschema.Schema
	read   func(d *decoder, what string, n *yaml.Node) (V, bool)
}

// key is a row of a table of keys: one key of the mapping that fills in a T.
type key[T any] struct {
	name     string
	doc      string
	schema   *jsonschema.Schema
	required bool
	optional bool   // `key:` with nothing behind it is the same as no key
	refused  string // why the key belongs elsewhere; it is not in the schema, and read is told all the same
	read     func(d *decoder, n *yaml.Node, into *T)
}

// field is the row of a key that holds a value; at says where in T it goes.
func field[T, V any](name, doc string, v value[V], at func(*T) *placed[V]) key[T] {
	return key[T]{name: name, doc: doc, schema: v.schema, read: func(d *decoder, n *yaml.Node, into *T) {
		got, ok := v.read(d, name, n)
		*at(into) = placed[V]{got, n, !ok}
	}}
}

// must marks the row of a key that has to be there.
func must[T any](k key[T]) key[T] {
	k.required = true
	return k
}

// readMapping reads a mapping by its table. what names it in messages: "a route".
func readMapping[T any](d *decoder, what string, n *yaml.Node, keys []key[T], into *T) bool {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s is a mapping of keys such as `%s:`, not %s", what, keys[0].name, kindName(n))
		return false
	}
	seen := make([]*yaml.Node, len(keys))
	before := len(d.errors)
	for i := 0; i < len(n.Content); i += 2 {
		name, content := n.Content[i], n.Content[i+1]
		row := findKey(keys, name)
		switch {
		case row < 0:
			d.unknownKey(what, name, keyNames(keys))
		case seen[row] != nil:
			d.fail(name, "duplicate key %q: it stands already in line %d; keep one of them", name.Value, seen[row].Line)
		default:
			seen[row] = name
			if refused := keys[row].refused; refused != "" {
				d.fail(name, "%s: %s", name.Value, refused)
				keys[row].read(d, content, into)
				continue
			}
			switch null := isNull(content); {
			case null && keys[row].optional:
			case null:
				d.fail(content, "%s: the value is missing; write one or remove the key", name.Value)
			default:
				keys[row].read(d, content, into)
			}
		}
	}
	for row, k := range keys {
		if k.required && seen[row] == nil {
			d.fail(n, "%s needs `%s:`", what, k.name)
		}
	}
	return len(d.errors) == before
}

func findKey[T any](keys []key[T], name *yaml.Node) int {
	if name.Kind != yaml.ScalarNode {
		return -1
	}
	for i := range keys {
		if keys[i].name == name.Value {
			return i
		}
	}
	return -1
}

func keyNames[T any](keys []key[T]) []string {
	var names []string
	for _, k := range keys {
		if k.refused == "" {
			names = append(names, k.name)
		}
	}
	return names
}

func (d *decoder) unknownKey(what string, name *yaml.Node, known []string) {
	switch {
	case name.Kind != yaml.ScalarNode:
		d.fail(name, "a key is a word, not %s", kindName(name))
	case name.ShortTag() == "!!merge":
		d.fail(name, "merge keys are not supported: write the values out")
	default:
		d.fail(name, "unknown key %q in %s; %s", shorten(name.Value), what, suggest(name.Value, "known keys", known))
	}
}

// readNamed reads a mapping whose keys are names that the operator chose.
func readNamed(d *decoder, what string, n *yaml.Node, each func(name, content *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s is a mapping of names, not %s", what, kindName(n))
		return
	}
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		name, content := n.Content[i], n.Content[i+1]
		switch first := seen[name.Value]; {
		case name.Kind != yaml.ScalarNode:
			d.fail(name, "a name is a word, not %s", kindName(name))
		case name.ShortTag() == "!!merge":
			d.fail(name, "merge keys are not supported: write the values out")
		case name.ShortTag() != "!!str":
			d.fail(name, "a name is text, not %s: write it in quotes, %q", kindName(name), shorten(name.Value))
		case first != nil:
			d.fail(name, "duplicate name %q in %s: it stands already in line %d; keep one of them", shorten(name.Value), what, first.Line)
		default:
			seen[name.Value] = name
			each(name, content)
		}
	}
}

// readList reads a list; one names its element in messages: "a route".
func readList(d *decoder, what, one string, n *yaml.Node, each func(n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "%s is a list, each line of it beginning with `- `, not %s", what, kindName(n))
		return
	}
	for _, element := range n.Content {
		if isNull(element) {
			d.fail(element, "%s: %s is missing here; write it or remove the line", what, one)
			continue
		}
		each(element)
	}
}

// named is the row of a key whose mapping has names that the operator chose. null lets what
// stands behind a name be left out.
func named[T any](name, doc string, content *jsonschema.Schema, null bool, each func(d *decoder, name, content *yaml.Node, into *T)) key[T] {
	return key[T]{
		name: name, doc: doc, optional: true,
		schema: &jsonschema.Schema{
			Types:                []string{"object", "null"},
			PropertyNames:        &jsonschema.Schema{Pattern: namePattern, MaxLength: jsonschema.Ptr(maxPort)},
			AdditionalProperties: content,
		},
		read: func(d *decoder, n *yaml.Node, into *T) {
			readNamed(d, name, n, func(key, content *yaml.Node) {
				if fault := checkWord(key.Value); fault != "" {
					d.fail(key, "%s", fault)
				} else if len(key.Value) > maxPort {
					d.fail(key, "a name has at most %d octets here, this one has %d", maxPort, len(key.Value))
				}
				if isNull(content) && !null {
					d.fail(content, "%s: the value is missing; write one or remove the key", shorten(key.Value))
				}
				each(d, key, content, into)
			})
		},
	}
}
