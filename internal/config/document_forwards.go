package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrNoForward is of a forward to be deleted that is not in the configuration.
var ErrNoForward = errors.New("there is no forward")

// ParseForward reads a forward from the words of a command, as the configuration would have them: protocol is
// tcp, udp, or "" or tcp_udp for both; port is 80 or 8000-8010; to is an address, with or without :port. protocol, port and to
// may be empty for one that is to be deleted. The error names the word at fault.
func ParseForward(in, protocol, port, to, name string) (Forward, error) {
	f := Forward{In: in, Name: name}
	d := &decoder{}
	switch protocol {
	case forwardTCP:
		f.Protocol = protoTCP
	case forwardUDP:
		f.Protocol = protoUDP
	case "", forwardBoth:
	default:
		return Forward{}, fmt.Errorf("protocol wants tcp, udp or tcp_udp, not %q", shorten(protocol))
	}
	if port != "" {
		f.Ports, _ = portRange().read(d, "port", scalar(port))
	}
	if to != "" {
		a, _ := hostAndPort().read(d, "to", scalar(to))
		f.To, f.ToPort = a.Addr(), a.Port()
	}
	if len(d.errors) > 0 {
		return Forward{}, errors.New(d.errors[0].Message)
	}
	return f, nil
}

// AddForward adds a forward at the end of the section. A Protocol of 0 is TCP and UDP, a ToPort of 0 the
// same as Ports.Min.
func (d *Document) AddForward(f Forward) error {
	if f.ToPort == 0 {
		f.ToPort = f.Ports.Min
	}
	if f.Ports.Min == 0 || !f.To.IsValid() {
		return errors.New("a forward needs a port and the host within that it leads to")
	}
	item := forwardNode(f)
	want := *d.config
	want.Forwards = slices.Clone(want.Forwards)
	protocols := []uint8{f.Protocol}
	if f.Protocol == 0 {
		protocols = forwardProtocols(forwardBoth)
	}
	for _, f.Protocol = range protocols {
		want.Forwards = append(want.Forwards, f)
	}
	return d.add("forwards", item, &want)
}

// DeleteForward deletes the one forward that matches: fields that are zero match anything. Where none
// matches, the error wraps [ErrNoForward]; where several do, it names them. Half of one that is of TCP and UDP cannot be
// deleted.
func (d *Document) DeleteForward(match Forward) error {
	var found []int // in the list of the text
	var rows []string
	index, from := -1, 0 // of the last one found, in Config.Forwards
	half := false
	all := d.config.Forwards
	for i, entry := 0, 0; i < len(all); entry++ {
		n := 1 // forwards that this entry of the list stands for
		if i+1 < len(all) && all[i+1].Pos == all[i].Pos {
			n = 2
		}
		if match.matches(all[i]) || n == 2 && match.matches(all[i+1]) {
			found, index, from = append(found, entry), i, n
			half = n == 2 && match.Protocol != 0
			whole := all[i]
			if n == 2 {
				whole.Protocol = 0
			}
			rows = append(rows, forwardText(whole))
		}
		i += n
	}
	switch {
	case len(found) == 0:
		return fmt.Errorf("%w %s", ErrNoForward, forwardText(match))
	case len(found) > 1:
		return fmt.Errorf("%d forwards match %s: say more of the one that is meant (%s)", len(found), forwardText(match), strings.Join(rows[:min(len(rows), 8)], "; "))
	case half:
		return fmt.Errorf("the forward of %s is of tcp_udp: delete it with protocol tcp_udp and add what is to stay", rows[0])
	}
	want := *d.config
	want.Forwards = slices.Delete(slices.Clone(want.Forwards), index, index+from)
	return d.remove("forwards", found[0], &want)
}

// matches reports whether f, of which zero fields mean anything, describes g.
func (f Forward) matches(g Forward) bool {
	return (f.In == "" || f.In == g.In) && (f.Protocol == 0 || f.Protocol == g.Protocol) && (f.Ports == PortRange{} || f.Ports == g.Ports) &&
		(f.Address == netip.Addr{} || f.Address == g.Address) && (f.To == netip.Addr{} || f.To == g.To) &&
		(f.ToPort == 0 || f.ToPort == g.ToPort) && (f.Name == "" || f.Name == g.Name)
}

// forwardNode writes a forward as an operator would.
func forwardNode(f Forward) *yaml.Node {
	n := newFlow()
	n.text("in", f.In)
	n.text("protocol", forwardProtocol(f.Protocol))
	if f.Ports.Min == f.Ports.Max {
		n.number("port", int(f.Ports.Min), 0)
	} else {
		n.text("port", f.Ports.String())
	}
	if f.Address.IsValid() {
		n.text("address", f.Address.String())
	}
	n.text("to", forwardTo(f))
	if len(f.Source) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, p := range f.Source {
			list.Content = append(list.Content, scalar(p.String()))
		}
		n.put("source", list)
	}
	n.text("name", f.Name)
	n.text("comment", f.Comment)
	return n.node
}

func forwardProtocol(p uint8) string {
	if p == 0 {
		return forwardBoth
	}
	return protocolText(p)
}

// forwardTo is the host, with the port where it is another than the outside one.
func forwardTo(f Forward) string {
	if !f.To.IsValid() {
		return ""
	}
	if f.ToPort == 0 || f.ToPort == f.Ports.Min {
		return f.To.String()
	}
	return f.To.String() + ":" + strconv.Itoa(int(f.ToPort))
}

// forwardText names a forward as the commands do: "wan tcp 80 to 192.168.1.5".
func forwardText(f Forward) string {
	parts := []string{f.In, forwardProtocol(f.Protocol)}
	if f.Ports != (PortRange{}) {
		parts = append(parts, f.Ports.String())
	}
	if f.Address.IsValid() {
		parts = append(parts, "at "+f.Address.String())
	}
	if f.To.IsValid() {
		parts = append(parts, "to "+forwardTo(f))
	}
	if len(f.Source) > 0 {
		parts = append(parts, "source "+joined(f.Source))
	}
	if f.In == "" {
		parts = parts[1:]
	}
	return strings.Join(parts, " ")
}

// SourceLine is a line of a text, counted from 1, without the blanks around it; "" where there is none. Rules and
// forwards have their line in Pos, for logs and explanations.
func SourceLine(text string, line int) string {
	for ; line > 1; line-- {
		_, rest, found := strings.Cut(text, "\n")
		if !found {
			return ""
		}
		text = rest
	}
	if line < 1 {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimSpace(text)
}
