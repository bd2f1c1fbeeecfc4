package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// Document is the text of a valid configuration that can be edited. An edit
// touches only the lines concerned: comments, order, blank lines and the writer's way of
// laying things out stay.
//
// Every edit is checked twice before it counts: the new text must be valid, and it must
// mean the old configuration with exactly the one change. Where the text is laid out in a way that
// the line editor does not master, the whole tree is written out anew, which keeps the comments
// but not the blank lines. An edit that fails leaves the document as it was.
//
// A Document is not safe for concurrent use.
type Document struct {
	file   string
	text   string
	tree   *yaml.Node
	config *Config
}

// NewDocument reads a configuration for editing; filename is used as in [Parse], and so
// are the errors.
func NewDocument(filename string, source []byte) (*Document, error) {
	tree, err := readSource(filename, source)
	if err != nil {
		return nil, err
	}
	c, err := parseDocument(filename, tree)
	if err != nil {
		return nil, err
	}
	return &Document{file: filename, text: string(source), tree: tree, config: c}, nil
}

// Text is the configuration as it stands.
func (d *Document) Text() string { return d.text }

// Config is what the text means. It is immutable: an edit makes a new one.
func (d *Document) Config() *Config { return d.config }

// AddRoute adds a static route at the end of the section. An empty Type is unicast, a
// Distance of 0 is 1.
func (d *Document) AddRoute(r Route) error {
	if r.Type == "" {
		r.Type = Unicast
	}
	if r.Distance == 0 {
		r.Distance = 1
	}
	want := *d.config
	want.Routes = append(slices.Clone(want.Routes), r)
	return d.add("routes", routeNode(r), &want)
}

// DeleteRoute deletes the one static route that matches: To must be equal, and of the other
// fields those that are not zero. When several match, the one whose zero fields are
// defaults too is meant; when that leaves several or none, it is an error that says what to add.
func (d *Document) DeleteRoute(match Route) error {
	index, err := d.findRoute(match)
	if err != nil {
		return err
	}
	want := *d.config
	want.Routes = slices.Delete(slices.Clone(want.Routes), index, index+1)
	return d.remove("routes", index, &want)
}

// AddNeighbor adds a permanent neighbour at the end of the section. Where the
// neighbour is there with another MAC address, that is an error: delete it first.
func (d *Document) AddNeighbor(n Neighbor) error {
	want := *d.config
	want.Neighbors = append(slices.Clone(want.Neighbors), n)
	return d.add("neighbors", neighborNode(n), &want)
}

// DeleteNeighbor deletes the one permanent neighbour that matches: Address must be
// equal, Port and MAC only when they are given.
func (d *Document) DeleteNeighbor(match Neighbor) error {
	var found []int
	for i, n := range d.config.Neighbors {
		if n.Address == match.Address && (match.Port == "" || n.Port == match.Port) && (match.MAC == packet.MAC{} || n.MAC == match.MAC) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("there is no permanent neighbour %s", neighborText(match))
	case 1:
	default:
		return fmt.Errorf("%d permanent neighbours have the address %s: name the port too", len(found), match.Address)
	}
	want := *d.config
	want.Neighbors = slices.Delete(slices.Clone(want.Neighbors), found[0], found[0]+1)
	return d.remove("neighbors", found[0], &want)
}

// SetPortEnabled writes `enabled:` into a port. It changes nothing where the port is so
// already.
func (d *Document) SetPortEnabled(name string, enabled bool) error {
	i := slices.IndexFunc(d.config.Ports, func(p Port) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range d.config.Ports {
			names = append(names, p.Name)
		}
		return fmt.Errorf("there is no port %q; %s", name, suggest(name, "ports", names))
	}
	if d.config.Ports[i].Enabled == enabled {
		return nil
	}
	want := *d.config
	want.Ports = slices.Clone(want.Ports)
	want.Ports[i].Enabled = enabled
	text := d.byLines(func(e *lineEditor) string { return e.setEnabled(name, enabled) })
	return d.commit(&want, text, func(tree *yaml.Node) { treeSetEnabled(tree, name, enabled) })
}

// ErrNoRoute is of a route to be deleted that is not among the static routes.
var ErrNoRoute = errors.New("there is no static route")

// findRoute returns the index of the route that DeleteRoute is to delete.
func (d *Document) findRoute(match Route) (int, error) {
	var all, exact []int
	for i, r := range d.config.Routes {
		switch {
		case r.To != match.To,
			len(match.Via) > 0 && !sameAddresses(r.Via, match.Via),
			match.Port != "" && r.Port != match.Port,
			match.Type != "" && r.Type != match.Type,
			match.Distance != 0 && r.Distance != match.Distance,
			match.Metric != 0 && r.Metric != match.Metric,
			match.Tag != 0 && r.Tag != match.Tag:
			continue
		}
		all = append(all, i)
		if (match.Distance != 0 || r.Distance == 1) && r.Metric == match.Metric && r.Tag == match.Tag &&
			sameAddresses(r.Via, match.Via) && r.Port == match.Port {
			exact = append(exact, i)
		}
	}
	switch {
	case len(all) == 0:
		return 0, fmt.Errorf("%w %s", ErrNoRoute, routeText(match))
	case len(all) == 1:
		return all[0], nil
	case len(exact) == 1:
		return exact[0], nil
	}
	var rows []string
	for _, i := range all[:min(len(all), 8)] {
		rows = append(rows, routeText(d.config.Routes[i]))
	}
	return 0, fmt.Errorf("%d static routes match %s: say more of the one that is meant (%s)", len(all), routeText(match), strings.Join(rows, "; "))
}

// sameAddresses compares next hops as sets.
func sameAddresses(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}

// byLines edits the text by lines, and gives up where the lines of YAML are not those of the editor: a carriage return alone ends
// one too, and so do three characters of Unicode.
func (d *Document) byLines(edit func(e *lineEditor) string) string {
	if strings.ContainsAny(strings.ReplaceAll(d.text, "\r\n", "\n"), "\r\u0085\u2028\u2029") {
		return ""
	}
	return edit(newLineEditor(d.text, d.tree))
}

func (d *Document) add(section string, item *yaml.Node, want *Config) error {
	text := d.byLines(func(e *lineEditor) string { return e.add(section, item) })
	return d.commit(want, text, func(tree *yaml.Node) { treeAdd(tree, section, item) })
}

func (d *Document) remove(section string, index int, want *Config) error {
	text := d.byLines(func(e *lineEditor) string { return e.remove(section, index) })
	return d.commit(want, text, func(tree *yaml.Node) { treeRemove(tree, section, index) })
}

// commit takes the text of the line editor if it means what is wanted, else that of the
// tree. text is "" where the line editor gave up.
func (d *Document) commit(want *Config, text string, edit func(tree *yaml.Node)) error {
	var faults Errors // those of the edited lines come first: their line numbers are the operator's
	if text != "" {
		next, err := NewDocument(d.file, []byte(text))
		if err == nil && sameMeaning(next.config, want) {
			*d = *next
			return nil
		}
		errors.As(err, &faults)
	}
	tree, err := readSource(d.file, []byte(d.text))
	if err != nil {
		return err
	}
	edit(tree)
	written, err := writeTree(tree)
	if err != nil {
		return err
	}
	next, err := NewDocument(d.file, []byte(written))
	var others Errors
	switch {
	case errors.As(err, &others) && len(faults) > 0:
		return d.refusal(faults, want)
	case err != nil && len(others) > 0:
		return d.refusal(others, want)
	case err != nil:
		return err
	case !sameMeaning(next.config, want):
		return errors.New("the change cannot be written into this text without changing more: edit the file and apply it")
	}
	*d = *next
	return nil
}

// refusal makes a sentence of the errors of an edit.
func (d *Document) refusal(faults Errors, want *Config) error {
	const most = 3
	deletes := len(want.Routes) < len(d.config.Routes) || len(want.Neighbors) < len(d.config.Neighbors) || len(want.Forwards) < len(d.config.Forwards)
	var sentences []string
	for i, f := range faults {
		if i == most {
			sentences = append(sentences, fmt.Sprintf("and %d more", len(faults)-i))
			break
		}
		sentences = append(sentences, f.Message)
	}
	if deletes {
		return fmt.Errorf("it is still needed: without it, %s", strings.Join(sentences, "; "))
	}
	return errors.New(strings.Join(sentences, "; "))
}
