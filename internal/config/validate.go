package config

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane"
)

// maxPorts is how many ports a router has numbers for.
const maxPorts = dataplane.MaxPorts

// validator looks at the raw configuration as a whole and makes the Config.
type validator struct {
	*decoder
	raw    *rawConfig
	config *Config
	byName map[string]*rawPort
	names  []string // of the ports

	// subnets holds the ports' own addresses, outermost first. Where one of them could
	// not be read, what depends on all of them is not judged.
	subnets        []subnet
	subnetsUnknown bool
	reach          *reach

	pooled int // addresses in the pools of `nat`
}

// subnet is one address of a port.
type subnet struct {
	prefix netip.Prefix // not masked
	port   *rawPort
	at     *yaml.Node
}

// all runs the steps in an order in which each can rely on the ones before.
func (v *validator) all() {
	v.settings()
	v.byName = make(map[string]*rawPort, len(v.raw.ports))
	if n := len(v.raw.ports); n > maxPorts {
		v.fail(v.raw.ports[maxPorts].at, "a router has at most %d ports, these are %d", maxPorts, n)
	}
	for i, p := range v.raw.ports {
		p.index = i
		v.byName[p.name] = p
		v.names = append(v.names, p.name)
	}
	for _, p := range v.raw.ports {
		v.port(p)
	}
	v.devices()
	v.macs()
	v.dhcpClients()
	v.overlaps()
	for i, p := range v.raw.ports {
		v.host(i, p)
	}
	v.reach = newReach(v)
	v.routes()
	v.neighbors()
	v.rip()
	v.nat()
	v.forwards()
	v.sessions()
	v.portMapping()
	v.firewall()
	v.dns()
	v.dhcp()
}

// settings fills in everything that stands alone.
func (v *validator) settings() {
	c, r := v.config, v.raw
	c.Name = r.name.or(nameOf(v.file))
	if r.name.at == nil && (checkWord(c.Name) != "" || len(c.Name) > maxInstance) {
		v.fail(r.root, "the name of the file, %q, cannot be that of the instance: give one with `name:`", shorten(c.Name))
	}
	c.ICMP = ICMP{Rate: r.icmp.rate.or(1000), PerDestination: r.icmp.perDestination.or(10)}
	c.Forwarding = Forwarding{ClassE: r.forwarding.classE.or(false), SourceRoute: r.forwarding.sourceRoute.or(false)}
	c.ARP = ARP{Reachable: r.arp.reachable.or(30 * time.Second), MaxCache: r.arp.maxCache.or(16384), Probe: r.arp.probe.or(false)}
	c.Control = Control{ReadOnly: r.control.readOnly.or("group")}
}

// port checks one port by itself and adds it to the Config.
func (v *validator) port(p *rawPort) {
	out := Port{
		Name:        p.name,
		Kind:        p.kind.or(TAP),
		Netns:       p.netns.or(""),
		Device:      p.device.or(p.name),
		MTU:         p.mtu.or(1500),
		Offload:     p.offload.or("auto") == "auto",
		Enabled:     p.enabled.or(true),
		MSSClamp:    p.mssClamp.or(0),
		ReversePath: p.reversePath.or(ReversePathOff),
		LeakGuard:   p.leakGuard.or(false),
		Redirects:   p.redirects.or(true),
		Comment:     p.comment.or(""),
		Pos:         Pos{p.at.Line, p.at.Column},
	}
	if p.device.at == nil {
		if fault := checkDevice(p.name); fault != "" && checkWord(p.name) == "" && len(p.name) <= maxPort {
			v.fail(p.at, "the device takes its name from the port: %s; give another with `device:`", fault)
		}
	}
	if p.kind.or(TAP) == TUN {
		v.refuseOnTUN(p.mac.at, "mac", "a tun port has no Ethernet header")
		v.refuseOnTUN(p.bridge.at, "bridge", "a tun device cannot join a bridge")
		v.refuseOnTUN(p.proxyARP.at, "proxy_arp", "a tun port has no ARP")
	}
	if p.address.bad || p.broken && p.address.at == nil {
		v.subnetsUnknown = true
	}
	for _, a := range p.address.v {
		if v.stationAddress("address", a, true) {
			out.Address = append(out.Address, a.v)
			v.subnets = append(v.subnets, subnet{a.v, p, a.at})
		} else {
			v.subnetsUnknown = true
		}
	}
	for _, a := range p.proxyARP.v {
		out.ProxyARP = append(out.ProxyARP, a.v)
	}
	if p.bridge.good() {
		out.Bridge = &Bridge{Name: p.bridge.v.name.v}
		for _, m := range p.bridge.v.members.v {
			out.Bridge.Members = append(out.Bridge.Members, m.v)
		}
	}
	v.config.Ports = append(v.config.Ports, out)
}

func (v *validator) refuseOnTUN(at *yaml.Node, what, because string) {
	if at != nil {
		v.fail(at, "%s: %s: remove the key, or choose `kind: tap`", what, because)
	}
}

// stationAddress finds fault with an address that no station may have: the network's,
// its broadcast address (both are stations where only 31 or 32 bits are the
// network's, RFC 3021), and the special ones of RFC 6890.
func (v *validator) stationAddress(what string, p placed[netip.Prefix], router bool) bool {
	a, bits := packet.AddrFrom(p.v.Addr()), p.v.Bits()
	mask := packet.Mask(bits)
	if fault := v.specialAddress(a); fault != "" {
		v.fail(p.at, "%s: %s is %s: give the address of a station, such as 10.1.0.1/24", what, p.v.Addr(), fault)
		return false
	}
	switch {
	case bits == 0:
		v.fail(p.at, "%s: a prefix length of 0 would make the whole Internet one subnet: give 1 to 32, such as %s/24", what, p.v.Addr())
	case bits < 31 && a&^mask == 0:
		v.fail(p.at, "%s: %s is the address of the network itself: give one within it, such as %s/%d", what, p.v, a+1, bits)
	case bits < 31 && a|mask == packet.Broadcast:
		v.fail(p.at, "%s: %s is the broadcast address of its network: give one within it, such as %s/%d", what, p.v, a&mask+1, bits)
	default:
		return true
	}
	return false
}

// specialAddress says what hinders an address from being a station's, or "".
func (v *validator) specialAddress(a packet.Addr) string {
	switch {
	case a.IsZeroNet():
		return "in 0.0.0.0/8, which means this network"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsMulticast():
		return "a multicast address"
	case a == packet.Broadcast:
		return "the limited broadcast address"
	case a.IsClassE() && !v.config.Forwarding.ClassE:
		return "in the reserved 240.0.0.0/4 (`forwarding: {class_e: true}` allows it)"
	}
	return ""
}

// devices refuses two devices of one name in one namespace. A bridge may serve
// several ports.
func (v *validator) devices() {
	type place struct{ netns, device string }
	devices := make(map[place]*yaml.Node)
	bridges := make(map[place]*yaml.Node)
	claim := func(netns, device, what string, at *yaml.Node) {
		if first, taken := devices[place{netns, device}]; taken {
			v.fail(at, "%s %s is already taken by line %d in the same namespace (%s): choose another name or namespace",
				what, device, first.Line, namespaceText(netns))
			return
		}
		devices[place{netns, device}] = at
	}
	for i, p := range v.raw.ports {
		if p.netns.bad || p.device.bad {
			continue
		}
		out := &v.config.Ports[i]
		at := p.at
		if p.device.good() {
			at = p.device.at
		}
		claim(netnsKey(out.Netns), out.Device, "device", at)
	}
	for _, p := range v.raw.ports {
		b := p.bridge.v
		if p.netns.bad || !p.bridge.good() {
			continue
		}
		netns := netnsKey(p.netns.or(""))
		if bridges[place{netns, b.name.v}] == nil {
			claim(netns, b.name.v, "bridge", b.name.at)
			bridges[place{netns, b.name.v}] = b.name.at
		}
		for _, m := range b.members.v {
			claim(netns, m.v, "member", m.at)
		}
	}
}

func namespaceText(netns string) string {
	if netns == "" {
		return "the daemon's own"
	}
	return netns
}

// macs refuses two ports with one address and derives those that are not given.
func (v *validator) macs() {
	taken := make(map[packet.MAC]*yaml.Node)
	for i, p := range v.raw.ports {
		if !p.mac.good() {
			continue
		}
		if first := taken[p.mac.v]; first != nil {
			v.fail(p.mac.at, "mac: %s is already that of the port in line %d: give each port its own, or leave the key out", p.mac.v, first.Line)
		}
		taken[p.mac.v] = p.mac.at
		v.config.Ports[i].MAC = p.mac.v
	}
	for i, p := range v.raw.ports {
		if p.mac.at != nil || p.kind.or(TAP) == TUN {
			continue
		}
		mac := DefaultMAC(v.config.Name, p.name)
		for taken[mac] != nil {
			mac = nextMAC(mac)
		}
		taken[mac] = p.at
		v.config.Ports[i].MAC = mac
	}
}

// overlaps sorts the subnets, outermost first, and refuses those within
// another. Prefixes nest or are apart, so one walk with a stack of the enclosing ones
// finds every overlap.
func (v *validator) overlaps() {
	slices.SortStableFunc(v.subnets, func(a, b subnet) int {
		return cmp.Or(a.prefix.Masked().Addr().Compare(b.prefix.Masked().Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	var enclosing []subnet
	own := make(map[netip.Addr]bool, len(v.subnets))
	for _, s := range v.subnets {
		for len(enclosing) > 0 && !enclosing[len(enclosing)-1].prefix.Overlaps(s.prefix) {
			enclosing = enclosing[:len(enclosing)-1]
		}
		if len(enclosing) > 0 {
			v.overlap(enclosing[len(enclosing)-1], s, own[s.prefix.Addr()])
		}
		own[s.prefix.Addr()] = true
		enclosing = append(enclosing, s)
	}
}

// overlap judges two subnets of which one is within the other. Two addresses in one
// subnet are right on one port: secondary addresses.
func (v *validator) overlap(a, b subnet, sameAddress bool) {
	if b.at.Line < a.at.Line || b.at.Line == a.at.Line && b.at.Column < a.at.Column {
		a, b = b, a
	}
	switch {
	case a.port != b.port && a.prefix.Addr() == b.prefix.Addr():
		v.fail(b.at, "address: %s is already that of port %q (line %d): give each port its own subnet", b.prefix, a.port.name, a.at.Line)
	case a.port != b.port:
		v.fail(b.at, "address: the subnet %s overlaps %s of port %q (line %d): give each port its own subnet",
			b.prefix.Masked(), a.prefix.Masked(), a.port.name, a.at.Line)
	case sameAddress:
		v.fail(b.at, "address: %s stands twice: remove one", b.prefix.Addr())
	case a.prefix.Bits() != b.prefix.Bits():
		v.fail(b.at, "address: %s and %s of the same port are in one subnet with different lengths: use the same length", b.prefix, a.prefix)
	}
}
