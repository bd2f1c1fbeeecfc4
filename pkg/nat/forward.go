package nat

import (
	"encoding/binary"
	"slices"

	"vrouterd/internal/packet"
)

// TCP, UDP and ICMP are the protocols that have ports, or identifiers that serve as such.
const (
	protocolICMP = packet.ProtoICMP
	protocolTCP  = packet.ProtoTCP
	protocolUDP  = packet.ProtoUDP
)

// numClasses is how many of them there are.
const numClasses = 3

// classOf numbers them.
func classOf(protocol uint8) (class int, ported bool) {
	switch protocol {
	case protocolTCP:
		return 0, true
	case protocolUDP:
		return 1, true
	case protocolICMP:
		return 2, true
	}
	return 0, false
}

// forward is a compiled Forward.
type forward struct {
	Forward
	sorted []packet.Addr // Outside
}

func compileForward(f Forward) forward {
	c := forward{Forward: f, sorted: slices.Clone(f.Outside)}
	slices.Sort(c.sorted)
	return c
}

// target of a packet for an outside port.
func (f *forward) target(port uint16) (packet.Addr, uint16) {
	return f.To, f.ToPort + (port - f.PortMin)
}

// source is the outside port by which an inside port is forwarded.
func (f *forward) source(insidePort uint16) (uint16, bool) {
	offset := int(insidePort) - int(f.ToPort)
	return f.PortMin + uint16(offset), offset >= 0 && offset <= int(f.PortMax-f.PortMin)
}

// has reports whether the forward answers at an address.
func (f *forward) has(a packet.Addr) bool {
	_, found := slices.BinarySearch(f.sorted, a)
	return found
}

// endpointHost is an inside host of a protocol.
type endpointHost struct {
	protocol uint8
	addr     packet.Addr
}

// address is what is known of an outside address.
type address struct {
	shared   bool  // inside hosts share its ports
	own      bool  // it is one of the router's
	oneToOne int   // index of the rule; -1: none
	forwards []int // those that answer here
	ports    [numClasses]*forwardPorts
}

// forwardPorts finds forwards by port. Addresses at which the same ones answer share it.
type forwardPorts struct {
	starts   []uint16 // of intervals; the first is 0
	lists    [][]int  // forwards of each, in order
	reserved *portSet // ports that dynamic mappings do not get
}

// indexForwards sorts the forwards of each address by port.
func (p *Policy) indexForwards() {
	known := map[string]*forwardPorts{}
	for _, at := range p.addrs {
		var of [numClasses][]int
		for _, i := range at.forwards {
			if class, ported := classOf(p.forwards[i].Protocol); ported {
				of[class] = append(of[class], i)
			}
		}
		for class, list := range of {
			if len(list) == 0 {
				continue
			}
			var name []byte
			for _, i := range list {
				name = binary.BigEndian.AppendUint32(name, uint32(i))
			}
			if known[string(name)] == nil {
				known[string(name)] = p.sortForwards(list)
			}
			at.ports[class] = known[string(name)]
		}
	}
}

func (p *Policy) sortForwards(list []int) *forwardPorts {
	f := &forwardPorts{starts: []uint16{0}, reserved: new(portSet)}
	for _, i := range list {
		f.starts = append(f.starts, p.forwards[i].PortMin)
		if last := p.forwards[i].PortMax; last != 65535 {
			f.starts = append(f.starts, last+1)
		}
	}
	slices.Sort(f.starts)
	f.starts = slices.Compact(f.starts)
	f.lists = make([][]int, len(f.starts))
	for _, i := range list {
		from, _ := slices.BinarySearch(f.starts, p.forwards[i].PortMin)
		for j := from; j < len(f.starts) && f.starts[j] <= p.forwards[i].PortMax; j++ {
			f.lists[j] = append(f.lists[j], i)
		}
		for port := int(p.forwards[i].PortMin); port <= int(p.forwards[i].PortMax); port++ {
			f.reserved.add(uint16(port))
		}
	}
	return f
}

// at are the forwards that have an outside port, in order.
func (f *forwardPorts) at(port uint16) []int {
	if f == nil {
		return nil
	}
	i, exact := slices.BinarySearch(f.starts, port)
	if !exact {
		i--
	}
	return f.lists[i]
}

// reserved are the ports of an outside address that forwards have; nil: none.
func (p *Policy) reserved(class int, a packet.Addr) *portSet {
	if at := p.addrs[a]; at != nil && at.ports[class] != nil {
		return at.ports[class].reserved
	}
	return nil
}

// forwarded reports whether an outside port is one of a forward, whoever may use it.
func (p *Policy) forwarded(class int, a packet.Addr, port uint16) bool {
	at := p.addrs[a]
	return at != nil && len(at.ports[class].at(port)) > 0
}

// Serve says at which ports the router itself listens: at its own outside addresses nobody inside gets them, or an inside host that
// sends from port 520 would have what neighbours send to the router's RIP. Forwards keep theirs. It is called before
// anybody else has the policy.
func (p *Policy) Serve(protocol uint8, ports ...uint16) {
	class, ported := classOf(protocol)
	if !ported {
		return
	}
	for _, at := range p.addrs {
		if !at.own || !at.shared {
			continue
		}
		served := &forwardPorts{starts: []uint16{0}, lists: [][]int{nil}, reserved: new(portSet)}
		if f := at.ports[class]; f != nil { // which other addresses share
			served.starts, served.lists = f.starts, f.lists
			*served.reserved = *f.reserved
		}
		for _, port := range ports {
			served.reserved.add(port)
		}
		at.ports[class] = served
	}
}

// forwardsTo reports whether a forward leads from an outside port to an inside one, for anybody.
func (p *Policy) forwardsTo(class int, outside packet.Addr, port uint16, inside packet.Addr, insidePort uint16) bool {
	at := p.addrs[outside]
	if at == nil {
		return false
	}
	for _, i := range at.ports[class].at(port) {
		if to, toPort := p.forwards[i].target(port); to == inside && toPort == insidePort {
			return true
		}
	}
	return false
}

// ForwardsTo reports whether the configuration forwards any outside port to an inside one; port 0: to any of the host, protocol 0: by
// TCP or UDP.
func (p *Policy) ForwardsTo(protocol uint8, inside packet.Addr, insidePort uint16) bool {
	if protocol == 0 {
		return p.ForwardsTo(protocolTCP, inside, insidePort) || p.ForwardsTo(protocolUDP, inside, insidePort)
	}
	return slices.ContainsFunc(p.toward[endpointHost{protocol, inside}], func(i int) bool {
		_, covered := p.forwards[i].source(insidePort)
		return covered || insidePort == 0
	})
}

// admits reports whether a forward leads a sender there.
func (p *Policy) admits(class int, outside packet.Addr, port uint16, inside packet.Addr, insidePort uint16, sender packet.Addr) bool {
	at := p.addrs[outside]
	if at == nil {
		return false
	}
	for _, i := range at.ports[class].at(port) {
		if f := &p.forwards[i]; within(f.Source, sender) {
			to, toPort := f.target(port)
			return to == inside && toPort == insidePort
		}
	}
	return false
}

// forwardedAs is the outside endpoint that forwards give an inside port, so that what the host sends from there leaves
// by the same: only if there is exactly one forward for it that the rule's addresses allow. paired is the address that the host would
// otherwise have.
func (p *Policy) forwardedAs(r *rule, protocol uint8, inside packet.Addr, insidePort uint16, paired packet.Addr) (packet.Addr, uint16, bool) {
	if len(p.forwards) == 0 || r.blocks() {
		return 0, 0, false
	}
	var (
		found bool
		addr  packet.Addr
		port  uint16
	)
	for _, i := range p.toward[endpointHost{protocol, inside}] {
		f := &p.forwards[i]
		outside, covered := f.source(insidePort)
		if f.In != r.Out || !covered {
			continue
		}
		if found {
			return 0, 0, false // there are two: neither is the one
		}
		found, port = true, outside
		if f.has(paired) {
			addr = paired
		} else if j := slices.IndexFunc(f.Outside, r.has); j >= 0 {
			addr = f.Outside[j]
		}
	}
	if !found || addr == 0 || !p.forwardsTo(classMust(protocol), addr, port, inside, insidePort) {
		return 0, 0, false
	}
	// Where forwards overlap, the first one has the port.
	first := p.addrs[addr].ports[classMust(protocol)].at(port)[0]
	if to, toPort := p.forwards[first].target(port); to != inside || toPort != insidePort {
		return 0, 0, false
	}
	return addr, port, true
}

// classMust is classOf for a protocol that is known to have ports.
func classMust(protocol uint8) int {
	class, _ := classOf(protocol)
	return class
}
