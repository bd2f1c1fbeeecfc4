package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// forwards checks the section and adds it to the Config. One of tcp_udp is two.
func (v *validator) forwards() {
	names := make(map[string]*yaml.Node)
	for _, f := range v.raw.forwards {
		v.uniqueName("forward", f.name, names)
		v.forward(f)
	}
	v.forwardsOverlap()
}

// forwardProtocols are the protocols of a forward, TCP first.
func forwardProtocols(word string) []uint8 {
	switch word {
	case forwardTCP:
		return []uint8{protoTCP}
	case forwardUDP:
		return []uint8{protoUDP}
	case forwardBoth:
		return []uint8{protoTCP, protoUDP}
	}
	return nil
}

// forward checks one forward by itself.
func (v *validator) forward(f *rawForward) {
	out := Forward{
		In: f.in.or(""), Ports: f.ports.or(PortRange{}), Address: f.address.or(netip.Addr{}), To: f.to.v.Addr(), ToPort: f.to.v.Port(),
		Source: networks(f.source), Name: f.name.or(""), Comment: f.comment.or(""), Pos: Pos{f.at.Line, f.at.Column},
	}
	if out.ToPort == 0 {
		out.ToPort = out.Ports.Min
	}
	v.portExists(f.in)
	v.duplicateNets("source", f.source)
	if p := v.byName[f.in.or("")]; p != nil && f.address.at == nil && p.address.at == nil && !p.broken {
		v.fail(f.in.at, "in: port %q has no address to answer at: give it one with `address:` under `ports:`, or the forward with `address:`", p.name)
	}
	if fault := v.specialOrNone(f.address); fault != "" {
		v.fail(f.address.at, "address: %s is %s: give the address that packets from outside name", f.address.v, fault)
	}
	if f.to.good() {
		v.forwardTarget(f)
	}
	if last := int(out.ToPort) + int(out.Ports.Max) - int(out.Ports.Min); f.to.good() && f.ports.good() && last > 65_535 {
		v.fail(f.to.at, "to: the range %s would end at port %d: the highest is 65535", out.Ports, last)
	}
	for _, protocol := range forwardProtocols(f.protocol.or("")) {
		out.Protocol = protocol
		v.config.Forwards = append(v.config.Forwards, out)
	}
}

func (v *validator) specialOrNone(a placed[netip.Addr]) string {
	if !a.good() {
		return ""
	}
	return v.specialAddress(packet.AddrFrom(a.v))
}

// forwardTarget refuses a host that certainly gets nothing.
func (v *validator) forwardTarget(f *rawForward) {
	to := placed[netip.Addr]{v: f.to.v.Addr(), at: f.to.at}
	if fault := v.specialOrNone(to); fault != "" {
		v.fail(to.at, "to: %s is %s: give the address of a host", to.v, fault)
		return
	}
	if v.subnetsUnknown {
		return
	}
	if own := v.reach.own[to.v]; own != nil {
		v.fail(to.at, "to: %s is this router's own address (port %q): give that of a host within", to.v, own.name)
		return
	}
	if at, subnet := v.reach.onSubnet(to.v); at != nil {
		v.refuseEdge("to", to, subnet)
		return
	}
	if v.nowhere(to.v) {
		v.fail(to.at, "to: %s is on no port's subnet, and no route leads to it; the subnets are %s", to.v, v.subnetList(nil))
	}
}

// nowhere reports an address on no subnet that no route leads to. Behind a default route, RIP, DHCP or a tunnel it may be
// anywhere.
func (v *validator) nowhere(a netip.Addr) bool {
	behind, _ := v.reach.through(a)
	return behind == nil && !v.reach.incomplete && v.raw.rip.at == nil && !v.anyDynamic() && v.reach.static[netip.PrefixFrom(netip.IPv4Unspecified(), 0)] == nil
}

// forwardsOverlap refuses forwards that a packet could mean both of: same port of arrival, protocol, address
// and port. Sorted by their first port, each has to be compared with those only that have not ended before it.
func (v *validator) forwardsOverlap() {
	type claim struct {
		in       string
		protocol uint8
		ports    PortRange
		raw      *rawForward
	}
	var claims []claim
	for _, f := range v.raw.forwards {
		if !f.in.good() || !f.ports.good() || f.address.bad {
			continue
		}
		for _, protocol := range forwardProtocols(f.protocol.or("")) {
			claims = append(claims, claim{f.in.v, protocol, f.ports.v, f})
		}
	}
	slices.SortStableFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.in, b.in), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.ports.Min, b.ports.Min))
	})
	var open []claim
	told := make(map[*rawForward]bool)
	for _, c := range claims {
		open = slices.DeleteFunc(open, func(o claim) bool { return o.in != c.in || o.protocol != c.protocol || o.ports.Max < c.ports.Min })
		i := slices.IndexFunc(open, func(o claim) bool {
			return o.raw.address.at == nil || c.raw.address.at == nil || o.raw.address.v == c.raw.address.v
		})
		if i < 0 {
			open = append(open, c)
			continue
		}
		first, second := open[i], c
		if second.raw.at.Line < first.raw.at.Line || second.raw.at.Line == first.raw.at.Line && second.raw.at.Column < first.raw.at.Column {
			first, second = second, first
		}
		if told[second.raw] {
			continue
		}
		told[second.raw] = true
		v.fail(second.raw.ports.at, "port: %s %s at port %q is already forwarded by line %d (%s): give each forward its own ports or address",
			protocolText(second.protocol), second.ports, second.in, first.raw.at.Line, first.ports)
	}
}

// counted is a number with its noun.
func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
