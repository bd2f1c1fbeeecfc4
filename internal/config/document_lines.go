package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// lineEditor changes a text by lines and characters, with the tree as its map. Its
// methods return the new text, or "" where they give up. They need not be right about
// every layout that YAML allows: Document checks what the text means afterwards.
type lineEditor struct {
	lines []string // without their ends
	end   string   // of a line: "\n" or "\r\n"
	root  *yaml.Node
}

func newLineEditor(text string, document *yaml.Node) *lineEditor {
	e := &lineEditor{end: "\n", root: document.Content[0]}
	if strings.Contains(text, "\r\n") {
		e.end = "\r\n"
	}
	e.lines = strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if last := len(e.lines) - 1; e.lines[last] == "" {
		e.lines = e.lines[:last]
	}
	return e
}

func (e *lineEditor) text() string { return strings.Join(e.lines, e.end) + e.end }

// insert puts a line behind the line with number after, counted from 1; 0: at the top.
func (e *lineEditor) insert(after int, line string) string {
	if after > len(e.lines) {
		return ""
	}
	e.lines = slices.Insert(e.lines, after, line)
	return e.text()
}

// oneLine writes a node in flow style.
func oneLine(n *yaml.Node) string {
	out, err := yaml.Marshal(n)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(out), "\n")
}

// add puts an item at the end of a section.
func (e *lineEditor) add(section string, item *yaml.Node) string {
	key, list := lookUp(e.root, section)
	line := oneLine(item)
	switch {
	case e.root.Style&yaml.FlowStyle != 0 || line == "":
		return ""
	case key == nil:
		if last := len(e.lines); last > 0 && strings.TrimSpace(e.lines[last-1]) != "" {
			e.lines = append(e.lines, "")
		}
		e.lines = append(e.lines, section+":")
		return e.insert(len(e.lines), "  - "+line)
	case isNull(list) && list.Value == "":
		return e.insert(key.Line, "  - "+line)
	case list.Kind != yaml.SequenceNode:
		return ""
	case list.Style&yaml.FlowStyle == 0:
		return e.insert(e.lastLine(list, len(list.Content)-1), strings.Repeat(" ", list.Column-1)+"- "+line)
	case len(list.Content) == 0:
		// `routes: []` becomes a section with lines.
		at, ok := e.offset(list)
		closing := e.closing(list.Line, at)
		if !ok || closing < 0 || list.Line != key.Line {
			return ""
		}
		text := e.lines[list.Line-1]
		e.lines[list.Line-1] = strings.TrimRight(text[:at], " ") + text[closing+1:]
		return e.insert(list.Line, "  - "+line)
	}
	last := list.Content[len(list.Content)-1]
	at, ok := e.offset(last)
	closing := e.closing(last.Line, at)
	if !ok || closing < 0 {
		return ""
	}
	text := e.lines[last.Line-1]
	e.lines[last.Line-1] = text[:closing+1] + ", " + line + text[closing+1:]
	return e.text()
}

// remove takes an item out of a section. Comments above it stay: they may speak of more.
func (e *lineEditor) remove(section string, index int) string {
	_, list := lookUp(e.root, section)
	if list == nil || list.Kind != yaml.SequenceNode || index >= len(list.Content) {
		return ""
	}
	item := list.Content[index]
	if list.Style&yaml.FlowStyle == 0 {
		first := item.Line
		if !strings.HasPrefix(strings.TrimLeft(e.lines[first-1], " "), "-") {
			return ""
		}
		e.lines = slices.Delete(e.lines, first-1, e.lastLine(list, index))
		return e.text()
	}
	at, ok := e.offset(item)
	closing := e.closing(item.Line, at)
	if !ok || closing < 0 {
		return ""
	}
	// The comma behind it goes too, or, behind the last, the one before it.
	text := e.lines[item.Line-1]
	before, after := text[:at], text[closing+1:]
	if rest, found := strings.CutPrefix(strings.TrimLeft(after, " "), ","); found {
		after = strings.TrimLeft(rest, " ")
	} else if index > 0 {
		before = strings.TrimSuffix(strings.TrimRight(before, " "), ",")
	}
	e.lines[item.Line-1] = before + after
	if strings.TrimSpace(before+after) == "" {
		e.lines = slices.Delete(e.lines, item.Line-1, item.Line)
	}
	return e.text()
}

// setEnabled writes `enabled:` into a port.
func (e *lineEditor) setEnabled(port string, enabled bool) string {
	_, ports := lookUp(e.root, "ports")
	if ports == nil {
		return ""
	}
	word := strconv.FormatBool(enabled)
	key, body := lookUp(ports, port)
	if _, value := lookUp(body, "enabled"); value != nil {
		at, ok := e.offset(value)
		text := e.lines[value.Line-1]
		if !ok || !strings.HasPrefix(text[at:], value.Value) {
			return ""
		}
		e.lines[value.Line-1] = text[:at] + word + text[at+len(value.Value):]
		return e.text()
	}
	switch {
	case isNull(body) && body.Value == "" && ports.Style&yaml.FlowStyle == 0:
		return e.insert(key.Line, strings.Repeat(" ", key.Column+1)+"enabled: "+word)
	case body.Kind != yaml.MappingNode:
		return ""
	case body.Style&yaml.FlowStyle == 0:
		return e.insert(key.Line, strings.Repeat(" ", body.Content[0].Column-1)+"enabled: "+word)
	}
	at, ok := e.offset(body)
	if !ok {
		return ""
	}
	comma := ", "
	if len(body.Content) == 0 {
		comma = ""
	}
	text := e.lines[body.Line-1]
	e.lines[body.Line-1] = text[:at+1] + "enabled: " + word + comma + text[at+1:]
	return e.text()
}

// lastLine is the number of the last line of an item of a list in block style: the
// last one that is indented deeper than the item's dash, blank lines and comments at the end
// apart.
func (e *lineEditor) lastLine(list *yaml.Node, index int) int {
	item := list.Content[index]
	last := item.Line
	for number := item.Line + 1; number <= len(e.lines); number++ {
		text := e.lines[number-1]
		trimmed := strings.TrimLeft(text, " ")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if len(text)-len(trimmed) < list.Column {
			break
		}
		last = number
	}
	return last
}

// offset is where a node begins in its line, in octets.
func (e *lineEditor) offset(n *yaml.Node) (int, bool) {
	if n.Line > len(e.lines) {
		return 0, false
	}
	text := e.lines[n.Line-1]
	at := 0
	for range n.Column - 1 {
		if at >= len(text) {
			return 0, false
		}
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at, at < len(text)
}

// closing is where the bracket that opens at an offset of a line closes in the same line, or -1.
func (e *lineEditor) closing(line, at int) int {
	if line > len(e.lines) || at >= len(e.lines[line-1]) {
		return -1
	}
	text := e.lines[line-1]
	depth := 0
	for i := at; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i
			}
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '\'':
			for i++; i < len(text) && text[i] != '\''; i++ {
			}
		}
		if depth == 0 {
			return -1
		}
	}
	return -1
}
