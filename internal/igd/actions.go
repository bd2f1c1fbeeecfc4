package igd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// call is an action that a peer has asked for.
type call struct {
	server *Server
	config Config
	ctx    context.Context
	peer   netip.Addr
	tree   int // version of the service by whose name it was called
	in     map[string]value
}

// notForClients is for what would let any host change the router's way to the outside.
func (c *call) notForClients() ([]string, error) { return nil, NotAuthorized }

func (c *call) defaultConnection() ([]string, error) {
	return []string{c.server.udn(1, "WANConnectionDevice") + ",urn:upnp-org:serviceId:WANIPConn1"}, nil
}

func (c *call) linkProperties() ([]string, error) {
	l, err := c.server.gateway.Link(c.ctx, c.peer)
	if err != nil {
		return nil, err
	}
	status := "Down"
	if l.Up {
		status = "Up"
	}
	rate := func(r uint64) string { return strconv.FormatUint(min(r, math.MaxUint32), 10) }
	return []string{"Ethernet", rate(l.UpRate), rate(l.DownRate), status}, nil
}

// total is a counter; they begin again at zero past 32 bits.
func (c *call) total(of func(Link) uint64) ([]string, error) {
	l, err := c.server.gateway.Link(c.ctx, c.peer)
	if err != nil {
		return nil, err
	}
	return []string{strconv.FormatUint(uint64(uint32(of(l))), 10)}, nil
}

// setConnectionType takes the one type that there is.
func (c *call) setConnectionType() ([]string, error) {
	if c.in["NewConnectionType"].text != "IP_Routed" {
		return nil, ReadOnly
	}
	return nil, nil
}

func (c *call) connectionType() ([]string, error) { return []string{"IP_Routed", "IP_Routed"}, nil }

// requestConnection succeeds where there is one.
func (c *call) requestConnection() ([]string, error) {
	if !c.connected() {
		return nil, ConnectionFailed
	}
	return nil, nil
}

func (c *call) connected() bool {
	_, ok := c.server.gateway.External(c.ctx, c.peer)
	return ok
}

func (c *call) status() ([]string, error) {
	l, err := c.server.gateway.Link(c.ctx, c.peer)
	if err != nil {
		return nil, err
	}
	if !l.Up || !c.connected() {
		return []string{"Disconnected", "ERROR_NONE", "0"}, nil
	}
	return []string{"Connected", "ERROR_NONE", seconds(l.Uptime)}, nil
}

func (c *call) natStatus() ([]string, error) { return []string{"0", "1"}, nil }

// externalAddress is empty when there is none (WANIPConnection:1 section 2.2.10).
func (c *call) externalAddress() ([]string, error) {
	outside, ok := c.server.gateway.External(c.ctx, c.peer)
	if !ok {
		return []string{""}, nil
	}
	return []string{outside.String()}, nil
}

// mappingAt walks the peer's own mappings; their end is 713.
func (c *call) mappingAt() ([]string, error) {
	all, err := c.mine()
	if err != nil {
		return nil, err
	}
	i := int(c.in["NewPortMappingIndex"].number)
	if i >= len(all) {
		return nil, BadIndex
	}
	m := all[i]
	key := []string{remoteText(m.Remote), port(m.External), protocolName(m.Protocol)}
	return append(key, inside(m)...), nil
}

// mine is the peer's mappings in an order that changes only where mappings do.
func (c *call) mine() ([]Mapping, error) {
	all, err := c.server.gateway.List(c.ctx, c.peer)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(m Mapping) bool { return m.Internal.Addr() != c.peer })
	slices.SortFunc(all, func(a, b Mapping) int {
		return cmp.Or(cmp.Compare(a.External, b.External), cmp.Compare(a.Protocol, b.Protocol), a.Remote.Compare(b.Remote))
	})
	return all, nil
}

func (c *call) mappingOf() ([]string, error) {
	k, err := c.key()
	if err != nil {
		return nil, err
	}
	if k.External == 0 {
		return nil, NoSuchEntry
	}
	m, err := c.server.gateway.Find(c.ctx, k)
	if err != nil {
		return nil, err
	}
	if m.Internal.Addr() != c.peer {
		return nil, NotAuthorized
	}
	return inside(m), nil
}

// inside are the arguments that tell where a mapping leads.
func inside(m Mapping) []string {
	return []string{port(m.Internal.Port()), m.Internal.Addr().String(), "1", m.Description, seconds(max(m.Lease, time.Second))}
}

// key is the mapping that the arguments name. With port 0 there is none.
func (c *call) key() (Key, error) {
	k := Key{Protocol: protocolNumber(c.in["NewProtocol"].text), External: uint16(c.in["NewExternalPort"].number)}
	if text := strings.TrimSpace(c.in["NewRemoteHost"].text); text != "" && text != "0.0.0.0" {
		remote, err := netip.ParseAddr(text)
		if err != nil || !remote.Is4() || remote.IsMulticast() {
			return k, fmt.Errorf("the remote host %q is not an IPv4 address: %w", text, InvalidArgs)
		}
		k.Remote = remote
	}
	return k, nil
}

func (c *call) addMapping() ([]string, error) {
	_, err := c.add(false)
	return nil, err
}

func (c *call) addAnywhere() ([]string, error) {
	m, err := c.add(true)
	if err != nil {
		return nil, err
	}
	return []string{port(m.External)}, nil
}

// add makes a mapping for the peer (WANIPConnection:1 section 2.4.16, WANIPConnection:2 sections 2.5.16 and 2.5.17).
// With elsewhere port 0 stands for any free one.
func (c *call) add(elsewhere bool) (Mapping, error) {
	k, err := c.key()
	if err != nil {
		return Mapping{}, err
	}
	client, err := netip.ParseAddr(strings.TrimSpace(c.in["NewInternalClient"].text))
	port := uint16(c.in["NewInternalPort"].number)
	switch {
	case err != nil:
		return Mapping{}, fmt.Errorf("the internal client is not an address: %w", InvalidArgs)
	case client != c.peer:
		return Mapping{}, fmt.Errorf("%v asks for a mapping to %v: %w", c.peer, client, NotAuthorized)
	case k.External == 0 && !elsewhere:
		return Mapping{}, NoWildcardExternal
	case port == 0 && c.tree >= 2:
		return Mapping{}, NoWildcardInternal
	case port == 0:
		return Mapping{}, InvalidArgs
	case !c.in["NewEnabled"].flag:
		return Mapping{}, fmt.Errorf("a disabled mapping is asked for: %w", ActionFailed)
	}
	m := Mapping{Key: k, Internal: netip.AddrPortFrom(client, port), Description: describe(c.in["NewPortMappingDescription"].text)}
	m.Lease = time.Duration(c.in["NewLeaseDuration"].number) * time.Second
	if m.Lease == 0 || m.Lease > c.config.MaxLease {
		m.Lease = c.config.MaxLease
	}
	return c.server.gateway.Add(c.ctx, m, elsewhere)
}

func (c *call) deleteMapping() ([]string, error) {
	k, err := c.key()
	if err != nil {
		return nil, err
	}
	if k.External == 0 {
		return nil, NoSuchEntry
	}
	return nil, c.server.gateway.Delete(c.ctx, k, c.peer)
}

// span is the peer's mappings of a protocol within a range of outside ports. NewManage asks for those of others
// too, which needs an authorization that nobody has: it makes no difference.
func (c *call) span() ([]Mapping, error) {
	first, last := c.in["NewStartPort"].number, c.in["NewEndPort"].number
	if first > last {
		return nil, Inconsistent
	}
	all, err := c.mine()
	if err != nil {
		return nil, err
	}
	protocol := protocolNumber(c.in["NewProtocol"].text)
	all = slices.DeleteFunc(all, func(m Mapping) bool {
		return m.Protocol != protocol || uint32(m.External) < first || uint32(m.External) > last
	})
	if len(all) == 0 {
		return nil, RangeNotFound
	}
	return all, nil
}

// deleteRange ends them. One that has ended meanwhile is no error.
func (c *call) deleteRange() ([]string, error) {
	all, err := c.span()
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if err := c.server.gateway.Delete(c.ctx, m.Key, c.peer); err != nil && !errors.Is(err, NoSuchEntry) {
			return nil, err
		}
	}
	return nil, nil
}

// maxListed bounds the answer of one GetListOfPortMappings: clients go on behind the last port.
const maxListed = 500

// listMappings writes a document into an argument (WANIPConnection:2 section 2.5.21).
func (c *call) listMappings() ([]string, error) {
	all, err := c.span()
	if err != nil {
		return nil, err
	}
	room := maxListed
	if n := int(c.in["NewNumberOfPorts"].number); n > 0 {
		room = min(n, room)
	}
	all = all[:min(len(all), room)]
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?>` + "\n" + `<p:PortMappingList xmlns:p="urn:schemas-upnp-org:gw:WANIPConnection"` +
		` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:schemas-upnp-org:gw:WANIPConnection` +
		` http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd">`)
	for _, m := range all {
		b.WriteString("<p:PortMappingEntry>")
		in := inside(m)
		for _, f := range [...][2]string{
			{"NewRemoteHost", remoteText(m.Remote)}, {"NewExternalPort", port(m.External)}, {"NewProtocol", protocolName(m.Protocol)},
			{"NewInternalPort", in[0]}, {"NewInternalClient", in[1]}, {"NewEnabled", in[2]},
			{"NewDescription", in[3]}, {"NewLeaseTime", in[4]},
		} {
			b.WriteString("<p:" + f[0] + ">")
			escape(&b, f[1])
			b.WriteString("</p:" + f[0] + ">")
		}
		b.WriteString("</p:PortMappingEntry>")
	}
	b.WriteString("</p:PortMappingList>")
	return []string{b.String()}, nil
}

// describe is a client's description as it is kept: bounded, printable.
func describe(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return -1
	}, text)
	if len(text) > maxDescription {
		text = text[:maxDescription]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return strings.TrimSpace(text)
}

// maxDescription is in octets.
const maxDescription = 128

func protocolNumber(name string) uint8 {
	if name == "TCP" {
		return TCP
	}
	return UDP
}

func protocolName(number uint8) string {
	if number == TCP {
		return "TCP"
	}
	return "UDP"
}

func port(p uint16) string { return strconv.Itoa(int(p)) }

// seconds rounds up, so that what still lives for a moment is not said to live for ever.
func seconds(d time.Duration) string {
	s := max(0, (d+time.Second-1)/time.Second)
	return strconv.FormatInt(int64(min(s, math.MaxUint32)), 10)
}

func remoteText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
