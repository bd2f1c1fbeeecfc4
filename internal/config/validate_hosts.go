package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vrouterd/internal/packet"
)

// host checks the lab host at the kernel end of the port with index i.
func (v *validator) host(i int, p *rawPort) {
	if p.host.at == nil {
		return
	}
	if p.bridge.at != nil {
		v.fail(p.host.at, "host: a device in a bridge has no addresses of its own: remove `host:` or `bridge:`")
		return
	}
	h := p.host.v
	out := &Host{Gateway: h.gateway.or(netip.Addr{})}
	if !p.address.bad && len(p.address.v) == 0 && p.address.at == nil {
		v.fail(p.host.at, "host: port %q has no address of its own: give it one with `address:`, the host's gateway", p.name)
		return
	}
	if p.dynamic && h.gateway.good() {
		v.fail(h.gateway.at, "host: the address of port %q comes by DHCP, so that the host cannot be told it here: remove `gateway:`", p.name)
	}
	own := v.subnetsOf(p)
	for j, a := range h.address.v {
		if !v.stationAddress("host address", a, false) {
			continue
		}
		out.Address = append(out.Address, a.v)
		if p.address.bad || len(own) == 0 {
			continue
		}
		switch within, isOwn := containing(own, a.v.Addr()); {
		case isOwn:
			v.fail(a.at, "host: %s is the router's own address on this port: give the host another", a.v.Addr())
		case !within.IsValid() && !onLinkByKind(p):
			v.fail(a.at, "host: %s is in no subnet of port %q, which has %s", a.v.Addr(), p.name, prefixList(own))
		case within.IsValid() && isEdge(within, a.v.Addr()):
			v.fail(a.at, "host: %s is the network or broadcast address of %s: give one between them", a.v.Addr(), within.Masked())
		case slices.ContainsFunc(h.address.v[:j], func(b placed[netip.Prefix]) bool { return b.v.Addr() == a.v.Addr() }):
			v.fail(a.at, "host: %s stands twice: remove one", a.v.Addr())
		}
	}
	if h.gateway.good() && !p.address.bad && len(own) > 0 {
		if !slices.ContainsFunc(own, func(q netip.Prefix) bool { return q.Addr() == h.gateway.v }) {
			v.fail(h.gateway.at, "host: the gateway %s is not this port's address: write %s", h.gateway.v, own[0].Addr())
		}
	}
	v.config.Ports[i].Host = out
}

// onLinkByKind reports a port whose far end may have any address: point to point,
// and its own prefix is only itself.
func onLinkByKind(p *rawPort) bool {
	if p.kind.or(TAP) != TUN {
		return false
	}
	return !slices.ContainsFunc(p.address.v, func(a placed[netip.Prefix]) bool { return a.v.Bits() < 32 })
}

// subnetsOf returns the port's addresses that are right by themselves.
func (v *validator) subnetsOf(p *rawPort) []netip.Prefix {
	var own []netip.Prefix
	for _, a := range p.address.v {
		if a.v.Bits() > 0 {
			own = append(own, a.v)
		}
	}
	return own
}

// containing returns the subnet that holds an address, and whether the address is the
// router's own in it.
func containing(subnets []netip.Prefix, a netip.Addr) (within netip.Prefix, own bool) {
	for _, s := range subnets {
		if s.Contains(a) {
			if s.Addr() == a {
				return s, true
			}
			within = s
		}
	}
	return within, false
}

// isEdge reports the network's own and its broadcast address; subnets of 31 and 32 bits have neither.
func isEdge(subnet netip.Prefix, a netip.Addr) bool {
	host := packet.AddrFrom(a) &^ packet.Mask(subnet.Bits())
	return subnet.Bits() < 31 && (host == 0 || host == ^packet.Mask(subnet.Bits()))
}

// prefixList names subnets in messages.
func prefixList(all []netip.Prefix) string {
	if len(all) == 0 {
		return "none"
	}
	const most = 8
	var names []string
	for i, p := range all {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		names = append(names, p.Masked().String())
	}
	return strings.Join(names, ", ")
}
