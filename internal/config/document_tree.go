package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar makes a node for a text; numbers and truth values are written plain.
func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func plain(s, tag string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s, Tag: tag} }

// flow is a mapping on one line; absent values are left out by the callers.
type flow struct{ node *yaml.Node }

func newFlow() flow { return flow{&yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}} }

func (f flow) put(key string, value *yaml.Node) {
	f.node.Content = append(f.node.Content, scalar(key), value)
}

func (f flow) text(key, value string) {
	if value != "" {
		f.put(key, scalar(value))
	}
}

func (f flow) number(key string, value, unless int) {
	if value != unless {
		f.put(key, plain(strconv.Itoa(value), "!!int"))
	}
}

// routeNode writes a route as an operator would.
func routeNode(r Route) *yaml.Node {
	f := newFlow()
	f.text("to", r.To.String())
	switch len(r.Via) {
	case 0:
	case 1:
		f.text("via", r.Via[0].String())
	default:
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, a := range r.Via {
			list.Content = append(list.Content, scalar(a.String()))
		}
		f.put("via", list)
	}
	f.text("port", r.Port)
	if r.Type != Unicast {
		f.text("type", string(r.Type))
	}
	f.number("distance", r.Distance, 1)
	f.number("metric", r.Metric, 0)
	f.number("tag", r.Tag, 0)
	f.text("name", r.Name)
	f.text("comment", r.Comment)
	return f.node
}

func neighborNode(n Neighbor) *yaml.Node {
	f := newFlow()
	f.text("port", n.Port)
	f.text("address", n.Address.String())
	f.text("mac", n.MAC.String())
	f.text("name", n.Name)
	f.text("comment", n.Comment)
	return f.node
}

// lookUp returns the node of a key and its value in a mapping, or nil.
func lookUp(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	if mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// writeTree writes a document's tree out anew.
func writeTree(document *yaml.Node) (string, error) {
	spellNulls(document, false)
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(document), encoder.Close()); err != nil {
		return "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	return b.String(), nil
}

// spellNulls writes out the values that were left out within braces, where the encoder
// would make empty texts of them.
func spellNulls(n *yaml.Node, inFlow bool) {
	inFlow = inFlow || n.Style&yaml.FlowStyle != 0
	if inFlow && isNull(n) && n.Value == "" {
		n.Value = "null"
	}
	for _, child := range n.Content {
		spellNulls(child, inFlow)
	}
}

// treeAdd, treeRemove and treeSetEnabled edit the tree itself, for texts that the
// line editor does not master.
func treeAdd(document *yaml.Node, section string, item *yaml.Node) {
	root := document.Content[0]
	_, list := lookUp(root, section)
	if list == nil {
		list = &yaml.Node{}
		root.Content = append(root.Content, scalar(section), list)
	}
	if list.Kind != yaml.SequenceNode {
		comments := *list
		*list = yaml.Node{Kind: yaml.SequenceNode, HeadComment: comments.HeadComment, LineComment: comments.LineComment, FootComment: comments.FootComment}
	}
	list.Content = append(list.Content, item)
}

func treeRemove(document *yaml.Node, section string, index int) {
	if _, list := lookUp(document.Content[0], section); list != nil && index < len(list.Content) {
		list.Content = append(list.Content[:index:index], list.Content[index+1:]...)
	}
}

func treeSetEnabled(document *yaml.Node, port string, enabled bool) {
	_, ports := lookUp(document.Content[0], "ports")
	if ports == nil {
		return
	}
	_, body := lookUp(ports, port)
	word := plain(strconv.FormatBool(enabled), "!!bool")
	if body.Kind != yaml.MappingNode {
		*body = yaml.Node{Kind: yaml.MappingNode, HeadComment: body.HeadComment, LineComment: body.LineComment, FootComment: body.FootComment}
	}
	if _, value := lookUp(body, "enabled"); value != nil {
		value.Value, value.Tag, value.Style = word.Value, word.Tag, 0
		return
	}
	body.Content = append(body.Content, scalar("enabled"), word)
}
