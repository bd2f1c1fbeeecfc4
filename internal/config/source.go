package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize is the largest configuration that is read, in octets. A hundred
// thousand routes need a tenth of it.
const MaxSize = 16 << 20

// readSource returns the only document in source; its first child is the root mapping.
func readSource(file string, source []byte) (*yaml.Node, error) {
	if len(source) > MaxSize {
		return nil, Errors{{file, 1, 1, fmt.Sprintf(
			"the file is larger than the %d MiB that a configuration may have: is it the right file?", MaxSize>>20)}}
	}
	if line, column, ok := firstInvalidUTF8(source); !ok {
		return nil, Errors{{file, line, column, "not UTF-8 text: save the file with the encoding UTF-8"}}
	}
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, Errors{{file, 1, 1, "the file is empty: a configuration has at least `name:` or `ports:`"}}
	case err != nil:
		return nil, Errors{syntaxError(file, source, err)}
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, Errors{syntaxError(file, source, err)}
	default:
		return nil, Errors{{file, second.Line, second.Column,
			"a second YAML document begins here: a router has one; remove the line `---` or split the file"}}
	}
	if found := refuseIndirection(file, &document, nil); len(found) > 0 {
		return nil, found.err()
	}
	root := document.Content[0]
	switch {
	case isNull(root), root.Kind == yaml.MappingNode && len(root.Content) == 0:
		return nil, Errors{{file, 1, 1, "the file is empty: a configuration has at least `name:` or `ports:`"}}
	case root.Kind != yaml.MappingNode:
		return nil, Errors{{file, root.Line, root.Column, fmt.Sprintf(
			"a configuration is a mapping of keys such as `name:` and `ports:`, not %s", kindName(root))}}
	}
	return &document, nil
}

// refuseIndirection finds anchors, aliases and tags. It never follows an
// alias, so nothing can be blown up here.
func refuseIndirection(file string, n *yaml.Node, found Errors) Errors {
	switch {
	case n.Kind == yaml.AliasNode:
		found = append(found, Error{file, n.Line, n.Column, fmt.Sprintf(
			"aliases are not supported: write the value of *%s out", n.Value)})
	case n.Anchor != "":
		found = append(found, Error{file, n.Line, n.Column, fmt.Sprintf(
			"anchors are not supported: remove &%s and write the value wherever it is needed", n.Anchor)})
	case n.Style&yaml.TaggedStyle != 0:
		found = append(found, Error{file, n.Line, n.Column, fmt.Sprintf(
			"tags are not supported: remove %s", n.Tag)})
	}
	for _, child := range n.Content {
		found = refuseIndirection(file, child, found)
	}
	return found
}

// syntaxError gives a place to what the YAML scanner says. Its line is that of
// the construct at fault, often only near the slip; a tab in the indentation is
// looked for here, for it is the most common one and the scanner's words do not help.
func syntaxError(file string, source []byte, err error) Error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	if anchor, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		anchor = strings.TrimSuffix(anchor, "' referenced")
		at := bytes.Index(source, []byte("*"+anchor))
		line, column := placeOf(source, max(at, 0))
		return Error{file, line, column, fmt.Sprintf("aliases are not supported: write the value of *%s out", anchor)}
	}
	for i, text := range bytes.Split(source, []byte("\n")) {
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 && len(indent) < len(bytes.TrimRight(text, "\r")) && i+1 >= line-1 && i <= line {
			return Error{file, i + 1, tab + 1, "a tab in the indentation: YAML wants spaces"}
		}
	}
	return Error{file, line, 1, "not YAML: " + message}
}

// firstInvalidUTF8 returns the place of the first octet that is no UTF-8, or true.
func firstInvalidUTF8(source []byte) (line, column int, ok bool) {
	for at := 0; at < len(source); {
		if source[at] < utf8.RuneSelf {
			at++
			continue
		}
		r, size := utf8.DecodeRune(source[at:])
		if r == utf8.RuneError && size == 1 {
			line, column = placeOf(source, at)
			return line, column, false
		}
		at += size
	}
	return 0, 0, true
}

// placeOf turns an offset into line and column.
func placeOf(source []byte, at int) (line, column int) {
	before := source[:at]
	line = 1 + bytes.Count(before, []byte("\n"))
	column = 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return line, column
}

// isNull reports a value that was left out: `key:` with nothing behind it, ~ or null.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kindName says what a node is, for messages: "a list".
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + shorten(n.Value)
	case "!!bool":
		return "the truth value " + n.Value
	case "!!timestamp":
		return "the date " + shorten(n.Value)
	}
	return "the text " + strconv.Quote(shorten(n.Value))
}

// shorten keeps a message readable whatever a value holds.
func shorten(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}
