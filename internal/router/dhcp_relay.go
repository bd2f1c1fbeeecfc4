package router

import (
	"slices"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/relay"
)

// relays reports a message that the relay carries: requests that come in by one of its ports, and answers of servers.
func (r *Router) relays(in dataplane.PortID, payload []byte) bool {
	if r.dhcp.relay == nil || len(payload) == 0 {
		return false
	}
	return payload[0] == dhcp.BootReply || slices.Contains(r.dhcp.relayPorts, in)
}

// relayStep gives the relay an event and does what it asks for.
func (r *Router) relayStep(now time.Time, e relay.Event) {
	if r.dhcp.relay == nil {
		return
	}
	for _, a := range r.dhcp.relay.Step(now, e) {
		switch a := a.(type) {
		case relay.Send:
			r.sendDatagram(r.byID[dataplane.PortID(a.Port)], &datagram{
				src: a.Src, srcPort: dhcp.ServerPort, dst: a.Dst, dstPort: a.DstPort, ttl: 64, mac: a.MAC, payload: a.Payload,
			})
		case relay.Refused: // counted by the machine, under the reason's own name
		}
	}
}

// relayConfig is what the relay does with the addresses that its ports have now. A port without one relays nothing.
func (r *Router) relayConfig(c *config.DHCP) (out relay.Config) {
	for i := range c.Relays {
		one := &c.Relays[i]
		p := r.ports[one.Port]
		if p == nil {
			continue
		}
		to := relay.Port{
			Port: relay.PortID(p.id), Name: one.Port, Servers: addrs(one.Servers), MaxHops: uint8(one.MaxHops),
			Agent: one.Agent, CircuitID: []byte(one.CircuitID), RemoteID: []byte(one.RemoteID), TrustAgent: one.TrustAgent,
		}
		if own := p.usable(); len(own) > 0 {
			to.Addr = packet.AddrFrom(own[0].Addr())
		}
		out.Ports = append(out.Ports, to)
	}
	for _, p := range r.inOrder() {
		for _, own := range p.usable() {
			out.Own = append(out.Own, packet.AddrFrom(own.Addr()))
		}
	}
	return out
}

// changeRelay follows the configuration, and the addresses of the relay's ports.
func (r *Router) changeRelay() {
	d, c := &r.dhcp, r.config.DHCP
	d.relayPorts = d.relayPorts[:0]
	if c == nil || len(c.Relays) == 0 {
		d.relay = nil
		return
	}
	for i := range c.Relays {
		if p := r.ports[c.Relays[i].Port]; p != nil {
			d.relayPorts = append(d.relayPorts, p.id)
		}
	}
	want := r.relayConfig(c)
	if d.relay == nil {
		d.relay = relay.New(want, r.opt.Rand)
		return
	}
	r.relayStep(time.Now(), relay.Configure{Config: want})
}
