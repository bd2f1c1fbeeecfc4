package router

import (
	cryptorand "crypto/rand"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"vrouterd/internal/hoststack"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dns"
)

// dnsPort is where DNS is served, by UDP and TCP (RFC 1035 section 4.2).
const dnsPort = 53

// resolver is what stands between the machine of pkg/dns and the router (docs/dns.md).
//
//	punt -> host stack -> datagram service, UDP port 53 --> Query              Answer -> datagram -> dataplane
//	                   -> netstack, TCP port 53 ----------> Query   machine -> Answer -> connection
//	                   -> datagram service of an Ask -----> Reply              Ask    -> datagram -> dataplane
//	DHCP: names of leases and reservations ---------------> Name               Ask    -> connection (truncated answers)
//
// The machine runs on the control goroutine, and so does everything of this type. Datagrams come there by themselves; the
// goroutines of connections hand over what they have read ([Router.post]) and get answers by a channel that never blocks.
type resolver struct {
	machine *dns.Machine // nil: not configured
	rand    *rand.Rand
	listens map[dataplane.PortID]bool  // ports whose hosts are served
	served  map[netip.Addr]*dnsAddress // addresses that are listened at
	waiting map[dns.ClientID]dnsClient // who waits for an answer
	asks    map[dns.AskID]*dnsAsk      // what was asked upstream
	names   map[string]dns.Name        // what DHCP has said, by source
	hand    dnsClient                  // who sent the query in hand
	handID  dns.ClientID               // its number; 0: it has its answer
	last    dns.ClientID               // the newest number
	flushed int                        // by the flush in hand
	failed  []dns.AskFailed            // of asks that could not be sent, for the machine's next step
	packet  []byte                     // the datagram on its way out
	streams map[*dnsStream]struct{}    // connections of clients
	clients map[netip.Addr]int         // how many each has
	refused [numDNSRefusals]uint64     // what the router itself has refused
	queued  atomic.Int64               // octets of answers that wait in connections
	idle    time.Duration              // dnsIdle, but in tests
}

// dnsClient is somebody who waits for an answer: by a datagram, or on a connection.
type dnsClient struct {
	at     *hoststack.DatagramPort
	to     netip.AddrPort
	stream *dnsStream
}

// dnsSeed is what the numbers and ports of questions follow from: RFC 5452 section 9.2 wants them unpredictable, so that only tests, which
// want a run to repeat, give it.
func dnsSeed(given *rand.Rand) (seed [32]byte) {
	if given == nil {
		cryptorand.Read(seed[:])
		return seed
	}
	for i := range seed {
		seed[i] = byte(given.Uint32())
	}
	return seed
}

func newResolver(seed [32]byte) *resolver {
	return &resolver{
		rand: rand.New(rand.NewChaCha8(seed)), idle: dnsIdle,
		listens: map[dataplane.PortID]bool{}, served: map[netip.Addr]*dnsAddress{},
		waiting: map[dns.ClientID]dnsClient{}, asks: map[dns.AskID]*dnsAsk{}, names: map[string]dns.Name{},
		streams: map[*dnsStream]struct{}{}, clients: map[netip.Addr]int{},
	}
}

// dnsRefusal is why the router did not even show something to the machine.
type dnsRefusal uint8

const (
	dnsNotListed dnsRefusal = iota
	dnsConnectionLimit
	dnsClientConnectionLimit
	dnsSlowReader
	numDNSRefusals
)

var dnsRefusals = [numDNSRefusals]struct{ name, sentence string }{
	dnsNotListed:             {"dns_port_not_listed", "a question came by a port that `dns.listen` does not name: it was answered as at a closed port"},
	dnsConnectionLimit:       {"dns_connections", "a connection was closed at once: there are as many as there may be"},
	dnsClientConnectionLimit: {"dns_connections_of_client", "a connection was closed at once: its client has as many as one may have"},
	dnsSlowReader:            {"dns_slow_reader", "a connection was closed: its client does not read its answers"},
}

// dnsStep gives the machine an event, does what it says, and tells it of asks that failed at once.
func (r *Router) dnsStep(now time.Time, e dns.Event) {
	d := r.dns
	if d.machine == nil {
		return
	}
	r.dnsActions(d.machine.Step(now, e))
	for len(d.failed) > 0 && d.machine != nil {
		failed := d.failed
		d.failed = nil
		for _, f := range failed {
			r.dnsActions(d.machine.Step(now, f))
		}
	}
}

func (r *Router) dnsActions(actions []dns.Action) {
	d := r.dns
	for _, a := range actions {
		switch a := a.(type) {
		case dns.Answer:
			if c, ok := d.take(a.Client); ok {
				r.dnsAnswer(&c, a.Client, a.Payload)
			}
		case dns.Dropped:
			if c, ok := d.take(a.Client); ok && c.stream != nil {
				c.stream.forget(a.Client)
			}
		case dns.Ask:
			r.dnsAsk(&a)
		case dns.Done:
			r.dnsDone(a.ID)
		case dns.UpstreamEvent:
			r.dnsUpstreamEvent(a)
		case dns.Flushed:
			d.flushed = a.Entries
		}
	}
}

// dnsQuery gives the machine what a client has sent. Most get their answer at once, and are never in the map.
func (r *Router) dnsQuery(now time.Time, c dnsClient, q dns.Query) (id dns.ClientID) {
	d := r.dns
	if answer, ok := d.machine.Quick(now, &q); ok {
		r.dnsAnswer(&c, 0, answer)
		return 0
	}
	d.last++
	id = d.last
	d.hand, d.handID = c, id
	q.Client = id
	r.dnsStep(now, q)
	if d.handID == id {
		d.waiting[id] = d.hand
	}
	d.hand, d.handID = dnsClient{}, 0
	return id
}

// take is who waits under a number. He waits no longer.
func (d *resolver) take(id dns.ClientID) (c dnsClient, ok bool) {
	if id == d.handID && id != 0 {
		d.handID = 0
		return d.hand, true
	}
	if c, ok = d.waiting[id]; ok {
		delete(d.waiting, id)
	}
	return c, ok
}

func (r *Router) dnsAnswer(c *dnsClient, id dns.ClientID, payload []byte) {
	if c.stream != nil {
		r.dnsStreamAnswer(c.stream, id, payload)
		return
	}
	r.dns.packet = c.at.Append(r.dns.packet[:0], c.to, payload)
	r.send.Output(r.dns.packet)
}

// dnsReceive takes a datagram to port 53 of an address that is listened at. Both count, the address and the port of arrival: the
// address of an inside port can be reached from outside too, and an open resolver is a weapon (RFC 5358).
func (r *Router) dnsReceive(at *dnsAddress, g hoststack.Datagram) bool {
	in := dataplane.PortID(g.Arrival)
	if !r.dns.listens[in] {
		r.dns.refused[dnsNotListed]++
		return false
	}
	r.dnsQuery(time.Now(), dnsClient{at: at.datagrams, to: g.From}, dns.Query{Port: dns.PortID(in), From: g.From, Payload: g.Payload})
	return true
}

// dnsKeepsOut answers TCP to an address that is listened at, from a port that is not, as a closed port does. The netstack
// would accept: it knows nothing of ports.
func (r *Router) dnsKeepsOut(now time.Time, p *dataplane.Punt, ip packet.IPv4) bool {
	d := r.dns
	if len(d.served) == 0 || ip.Protocol() != packet.ProtoTCP || len(ip.Payload()) < packet.TCPMinLen ||
		packet.TCP(ip.Payload()).DstPort() != dnsPort || p.Own || d.listens[p.Port] || d.served[ip.Dst().Netip()] == nil {
		return false
	}
	d.refused[dnsNotListed]++
	whole := *p
	whole.Packet = ip
	r.sendReset(now, &whole)
	return true
}

// changeDNS follows the configuration, the addresses of its ports, and the upstreams of leases; the host stack has the addresses already.
func (r *Router) changeDNS() {
	d, c := r.dns, r.config.DNS
	if c == nil {
		r.stopDNS()
		return
	}
	now := time.Now()
	wanted := r.dnsConfig(c)
	if d.machine == nil {
		d.machine = dns.New(wanted, d.rand)
		r.tellNames(now)
	} else {
		r.dnsStep(now, dns.Configure{Config: wanted})
	}
	clear(d.listens)
	at := map[netip.Addr]string{}
	for _, p := range r.inOrder() {
		if !slices.Contains(c.Listen, p.cfg.Name) {
			continue
		}
		d.listens[p.id] = true
		if p.holds {
			for _, a := range p.usable() {
				at[a.Addr()] = p.cfg.Name
			}
		}
	}
	for a, one := range d.served {
		if at[a] != one.port {
			r.leaveDNS(one)
		}
	}
	for a, port := range at {
		if d.served[a] == nil {
			r.serveDNS(a, port)
		}
	}
}

// stopDNS ends it: nobody is listened to any more, and who waits gets nothing.
func (r *Router) stopDNS() {
	d := r.dns
	for _, at := range d.served {
		r.leaveDNS(at)
	}
	for id := range d.asks {
		r.dnsDone(id)
	}
	for s := range d.streams {
		s.close()
	}
	clear(d.waiting)
	clear(d.listens)
	d.machine, d.failed = nil, nil
}
