package relay

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

const (
	defaultHops = 10
	mostHops    = 16   // RFC 1542 section 4.1.1
	maxPayload  = 1472 // of a UDP datagram in a frame of 1500 octets
)

// Machine is the relay agent of one router. It is not safe for concurrent use.
type Machine struct {
	ports   map[PortID]*port
	order   []*port // as configured
	own     map[packet.Addr]bool
	other   Counters
	actions []Action
	buf     []byte // what the Send actions of this Step point into
}

// port is a configured port.
type port struct {
	Port
	agent []byte // what option 82 says
	count Counters
}

// Counters count since the port was configured first; they never decrease.
type Counters struct {
	Requests, Answers uint64             // relayed, each once however many servers there are
	AgentAdded        uint64             // requests to which option 82 was added
	AgentTooLong      uint64             // requests that had no room for it and left without
	Refused           [NumReasons]uint64 // not relayed
}

// New makes a relay agent. It takes a source of random numbers as all machines do, and needs none.
func New(c Config, _ *rand.Rand) *Machine {
	m := &Machine{}
	m.configure(c)
	return m
}

// Next is when Step is to be called again at the latest: never, as nothing here waits.
func (m *Machine) Next() time.Time { return time.Time{} }

// Counters are those of a port; false: it has no relay agent.
func (m *Machine) Counters(id PortID) (Counters, bool) {
	if p := m.ports[id]; p != nil {
		return p.count, true
	}
	return Counters{}, false
}

// Other counts what belongs to no port: requests on ports without a relay agent, and answers whose giaddr is not ours.
func (m *Machine) Other() Counters { return m.other }

// Step carries a datagram. The actions are to be carried out in order; they are valid until the next Step.
func (m *Machine) Step(_ time.Time, ev Event) []Action {
	clear(m.actions)
	m.actions, m.buf = m.actions[:0], m.buf[:0]
	switch e := ev.(type) {
	case Receive:
		m.receive(e)
	case Configure:
		m.configure(e.Config)
	}
	return m.actions
}

func (m *Machine) configure(c Config) {
	old := m.ports
	m.ports, m.order, m.own = map[PortID]*port{}, m.order[:0], map[packet.Addr]bool{}
	for _, a := range c.Own {
		m.own[a] = true
	}
	for _, conf := range c.Ports {
		p := &port{Port: conf}
		if p.MaxHops == 0 {
			p.MaxHops = defaultHops
		}
		p.MaxHops = min(p.MaxHops, mostHops)
		if len(p.CircuitID) == 0 {
			p.CircuitID = []byte(p.Name)
		}
		subs := dhcp.SubOptions{dhcp.RelayCircuitID: p.CircuitID}
		if len(p.RemoteID) > 0 {
			subs[dhcp.RelayRemoteID] = p.RemoteID
		}
		p.agent = subs.Append(nil)
		if before := old[p.Port.Port]; before != nil {
			p.count = before.count
		}
		m.own[p.Addr] = true
		m.ports[p.Port.Port] = p
		m.order = append(m.order, p)
	}
}

// receive lets a datagram climb the ladder.
func (m *Machine) receive(e Receive) {
	p, v := m.ports[e.Port], view(e.Payload)
	if len(v) < offCookie {
		m.refuse(p, e.Port, ReasonShort)
		return
	}
	l, ok := layoutOf(v)
	switch {
	case !ok:
		m.refuse(p, e.Port, ReasonOptions)
	case v[offOp] == dhcp.BootRequest:
		if why := m.request(p, v, &l); why != ReasonNone {
			m.refuse(p, e.Port, why)
		}
	case v[offOp] == dhcp.BootReply:
		if q, why := m.reply(e.Src, v, &l); why != ReasonNone {
			m.refuse(q, e.Port, why)
		}
	default:
		m.refuse(p, e.Port, ReasonOp)
	}
}

// refuse counts a message that is not relayed, at the port that it concerns.
func (m *Machine) refuse(p *port, arrival PortID, why Reason) {
	if p == nil {
		m.other.Refused[why]++
	} else {
		p.count.Refused[why]++
		arrival = p.Port.Port
	}
	m.actions = append(m.actions, Refused{Port: arrival, Reason: why})
}

// request relays a client's message to every server (RFC 1542 section 4.1.1, RFC 3046 section 2.1).
func (m *Machine) request(p *port, v view, l *layout) Reason {
	giaddr := v.addr(offGIAddr)
	switch {
	case p == nil:
		return ReasonPort
	case p.Addr == 0:
		return ReasonAddress
	case len(p.Servers) == 0:
		return ReasonNoServer
	case v[offHops] > p.MaxHops:
		return ReasonHops
	case giaddr != 0 && m.own[giaddr]:
		return ReasonSpoofed
	case giaddr == 0 && len(l.agent) > 0 && !p.TrustAgent:
		return ReasonAgent
	}
	start := len(m.buf)
	switch {
	case !p.Agent || giaddr != 0 || len(l.agent) > 0 || !l.options || len(p.agent) > 255:
		m.buf = append(m.buf, v...)
	case len(v)+2+len(p.agent)+1 > maxPayload:
		p.count.AgentTooLong++
		m.buf = append(m.buf, v...)
	default:
		p.count.AgentAdded++
		m.buf = l.appendWith(m.buf, v, p.agent)
	}
	out := view(m.buf[start:])
	out[offHops]++
	if giaddr == 0 {
		out.setAddr(offGIAddr, p.Addr)
	}
	p.count.Requests++
	for _, server := range p.Servers {
		m.actions = append(m.actions, Send{Src: p.Addr, Dst: server, DstPort: dhcp.ServerPort, Payload: out})
	}
	return ReasonNone
}

// reply relays a server's answer to the client (RFC 1542 section 4.1.2).
func (m *Machine) reply(from packet.Addr, v view, l *layout) (*port, Reason) {
	value := l.agentInformation(v)
	p, why := m.portOf(v.addr(offGIAddr), from, value)
	if why != ReasonNone {
		return p, why
	}
	start := len(m.buf)
	if p.TrustAgent && !bytes.Equal(value, p.agent) { // a switch before the client has added it, and waits for it
		m.buf = append(m.buf, v...)
	} else {
		m.buf = l.appendWithout(m.buf, v)
	}
	out := Send{Port: p.Port.Port, MAC: packet.BroadcastMAC, Src: p.Addr, Dst: packet.Broadcast, DstPort: dhcp.ClientPort, Payload: m.buf[start:]}
	if dst, mac, ok := destination(v, l); ok {
		out.Dst, out.MAC = dst, mac
	}
	p.count.Answers++
	m.actions = append(m.actions, out)
	return p, ReasonNone
}

// portOf is the port that an answer is for: that of giaddr, and where several have that address, the one with the circuit id.
func (m *Machine) portOf(giaddr, server packet.Addr, agent []byte) (*port, Reason) {
	var candidates []*port
	for _, p := range m.order {
		if giaddr != 0 && p.Addr == giaddr {
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return nil, ReasonGIAddr
	}
	if len(candidates) > 1 {
		subs, _ := dhcp.DecodeSubOptions(agent)
		at := slices.IndexFunc(candidates, func(p *port) bool { return p.Agent && bytes.Equal(p.CircuitID, subs[dhcp.RelayCircuitID]) })
		if at < 0 {
			return nil, ReasonCircuit
		}
		candidates = candidates[at:]
	}
	if p := candidates[0]; !slices.Contains(p.Servers, server) {
		return p, ReasonNotServer
	}
	return candidates[0], ReasonNone
}

// destination is where an answer goes when it need not be broadcast: to the address that the client gets, or has, at its hardware address, as it cannot answer
// ARP yet (RFC 2131 section 4.1). A NAK is for one who has no right to its address.
func destination(v view, l *layout) (packet.Addr, packet.MAC, bool) {
	mac, ok := v.mac()
	dst := v.addr(offYIAddr)
	if dst == 0 {
		dst = v.addr(offCIAddr)
	}
	if !ok || v.broadcast() || l.kind == byte(dhcp.NAK) || dst.IsZeroNet() || dst.IsLoopback() || dst.IsMulticast() || dst.IsClassE() {
		return 0, packet.MAC{}, false
	}
	return dst, mac, true
}
