package router

import (
	"fmt"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/relay"
	"vrouterd/pkg/dhcp/server"
)

// dhcpService serves UDP port 67: the server for attached and relayed networks, and the relay.
//
//	punt -> server.Machine -> Store -> batch of this turn -> journal, off the loop -> durable -> Send
//	                       -> Send without a Store before it: at once
//
// An answer that tells of a lease leaves when the journal says that the lease is on disk. All that one turn of the control loop
// stores is one batch; what comes while the disk is busy makes the journal's next group larger.
type dhcpService struct {
	server  *server.Machine // nil: not configured
	relay   *relay.Machine  // nil: likewise
	journal leaseJournal    // nil: leases are kept in memory only
	retryAt time.Time       // when a journal that cannot be opened is tried again; zero: not at all

	waiting []server.Event // what came while a step was under way
	batch   *leaseBatch    // of this turn of the loop; nil: nothing was stored yet
	spare   []*leaseBatch
	written leasesWritten
	pending int // batches that the journal has

	relayPorts []dataplane.PortID
	names      map[packet.Addr]string // of reservations, as DNS was told
	inspect    map[dataplane.PortID]*inspection
	refused    []api.LeaseRefusal // of the import under way
	told       allowance          // of log lines about leases
	failing    string             // what the disk says while it refuses leases; "": it does not
	held       uint64             // messages that waited for the disk
	withheld   uint64             // and that never left, since it refused
}

// leaseBatch is what waits for one answer of the journal.
type leaseBatch struct {
	leases []server.Lease
	frames []byte // of the messages, one behind the other
	sends  []heldSend
	err    error
}

// heldSend is a message that waits for its lease to be durable.
type heldSend struct {
	port  dataplane.PortID
	mac   packet.MAC
	until int // its end in leaseBatch.frames
}

// dhcpReceive takes a datagram to UDP port 67; false: it is none, or nobody here serves.
func (r *Router) dhcpReceive(now time.Time, p *dataplane.Punt, ip packet.IPv4) bool {
	if r.dhcp.server == nil && r.dhcp.relay == nil || p.Own {
		return false
	}
	u, mine := r.datagram(ip, dhcp.ServerPort)
	if u == nil {
		return mine
	}
	var link packet.MAC
	if p.Ethernet {
		link = packet.Ethernet(p.Link[:]).Src()
	}
	payload := u.Payload()
	if r.relays(p.Port, payload) {
		r.relayStep(now, relay.Receive{
			Port: relay.PortID(p.Port), Link: link, Src: ip.Src(), Dst: ip.Dst(), SrcPort: u.SrcPort(), Payload: payload,
		})
		return true
	}
	if r.dhcp.server == nil {
		return false
	}
	r.serverStep(now, server.Receive{
		Port: server.PortID(p.Port), Link: link, Src: ip.Src(), Dst: ip.Dst(), SrcPort: u.SrcPort(), Payload: payload,
	})
	return true
}

// serverStep gives the server an event and does what it asks for.
func (r *Router) serverStep(now time.Time, e server.Event) {
	d := &r.dhcp
	if d.server == nil {
		return
	}
	d.waiting = append(d.waiting, e)
	if len(d.waiting) > 1 {
		return // from within a step: it is taken at its end
	}
	for i := 0; i < len(d.waiting); i++ {
		stored := false
		for _, a := range d.server.Step(now, d.waiting[i]) {
			switch a := a.(type) {
			case server.Store:
				stored = r.store(&a.Lease) || stored
			case server.Send:
				r.serverSend(&a, stored)
			case server.Probe:
				r.serverProbe(now, a)
			case server.LeaseEvent:
				r.leaseEvent(&a)
			case server.Exhausted:
				r.poolEvent(&a)
			case server.Refused: // counted by the machine, under the reason's own name
			}
		}
	}
	clear(d.waiting)
	d.waiting = d.waiting[:0]
}

// store adds a lease to what this turn makes durable; false: there is no disk to wait for.
func (r *Router) store(l *server.Lease) bool {
	if r.dhcp.journal == nil {
		return false
	}
	b := r.thisBatch()
	b.leases = append(b.leases, *l)
	return true
}

// thisBatch is what this turn of the loop stores.
func (r *Router) thisBatch() *leaseBatch {
	d := &r.dhcp
	if d.batch == nil {
		if n := len(d.spare); n > 0 {
			d.batch, d.spare = d.spare[n-1], d.spare[:n-1]
		} else {
			d.batch = &leaseBatch{}
		}
	}
	return d.batch
}

// serverSend sends an answer, or keeps it until its lease is durable.
func (r *Router) serverSend(s *server.Send, stored bool) {
	d := datagram{src: s.Src, srcPort: dhcp.ServerPort, dst: s.Dst, dstPort: s.DstPort, ttl: 64, mac: s.MAC, payload: s.Payload}
	if !stored {
		r.sendDatagram(r.byID[dataplane.PortID(s.Port)], &d)
		return
	}
	b := r.thisBatch()
	b.frames = appendDatagram(b.frames, &d)
	b.sends = append(b.sends, heldSend{dataplane.PortID(s.Port), s.MAC, len(b.frames)})
	r.dhcp.held++
}

// commitLeases hands what this turn has stored to the journal.
func (r *Router) commitLeases() {
	d := &r.dhcp
	b := d.batch
	if b == nil {
		return
	}
	d.batch = nil
	err := d.journal.Append(b.leases, func(err error) {
		b.err = err
		d.written.add(b)
	})
	if err != nil { // not even taken
		b.err = err
		r.release(b)
		return
	}
	d.pending++
}

// leasesDurable sends what has waited for the disk. It runs when the journal has answered.
func (r *Router) leasesDurable() {
	for _, b := range r.dhcp.written.take() {
		r.dhcp.pending--
		r.release(b)
	}
}

func (r *Router) release(b *leaseBatch) {
	d := &r.dhcp
	if b.err != nil {
		d.withheld += uint64(len(b.sends))
		r.journalFailed(b)
	} else {
		r.journalWorks()
		from := 0
		for i := range b.sends {
			s := &b.sends[i]
			r.sendFramed(r.byID[s.port], b.frames[from:s.until:s.until], s.mac)
			from = s.until
		}
	}
	const most = 8 // batches of a busy moment are not kept for ever
	if len(d.spare) < most {
		clear(b.leases)
		*b = leaseBatch{leases: b.leases[:0], frames: b.frames[:0], sends: b.sends[:0]}
		d.spare = append(d.spare, b)
	}
}

// journalFailed tells of leases that could not be made durable: nobody was told that he has them. That is an event when it begins; what follows is counted.
func (r *Router) journalFailed(b *leaseBatch) {
	if r.dhcp.failing == "" {
		r.event("dhcp_journal_failed", "dhcp", fmt.Sprintf(
			"%s could not be written to disk, and %s not acknowledged: %v", plural(len(b.leases), "lease"), isOrAre(len(b.sends)), b.err), nil)
	}
	r.dhcp.failing = b.err.Error()
	failed := server.StoreFailed{}
	for i := range b.leases {
		failed.Addrs = append(failed.Addrs, b.leases[i].Addr)
	}
	r.serverStep(time.Now(), failed)
}

// journalWorks tells that leases are durable again.
func (r *Router) journalWorks() {
	if r.dhcp.failing != "" {
		r.dhcp.failing = ""
		r.event("dhcp_journal_recovered", "dhcp", "leases are written to disk again, and acknowledged", nil)
	}
}

func isOrAre(n int) string {
	if n == 1 {
		return "one is"
	}
	return fmt.Sprintf("%d are", n)
}

// serverProbe asks for an address that is about to be offered.
func (r *Router) serverProbe(now time.Time, a server.Probe) {
	machine := r.dhcp.server
	r.askAddress(now, dataplane.PortID(a.Port), a.Addr, func(taken bool, mac packet.MAC) {
		if r.dhcp.server == machine {
			r.serverStep(time.Now(), server.Probed{Addr: a.Addr, Taken: taken, MAC: mac})
		}
	})
}

// leaseEvent tells of what became of a lease, and DNS of its name.
func (r *Router) leaseEvent(e *server.LeaseEvent) {
	l := &e.Lease
	if e.Change == server.LeaseImported && e.Reason != "" { // refused
		r.dhcp.refused = append(r.dhcp.refused, api.LeaseRefusal{Address: l.Addr.String(), Reason: e.Reason})
		return
	}
	switch e.Change {
	case server.LeaseBound, server.LeaseRenewed, server.LeaseImported:
		if l.Hostname != e.Before {
			r.dnsName(nameOfLease, l.Hostname, l.Addr)
		}
	case server.LeaseReleased, server.LeaseExpired, server.LeaseDeclined, server.LeaseDeleted:
		if e.Before != "" {
			r.dnsName(nameOfLease, "", l.Addr)
		}
	}
	who := hardwareText(l)
	fields := map[string]string{"address": l.Addr.String(), "mac": who, "subnet": l.Subnet}
	if l.Hostname != "" {
		fields["hostname"] = l.Hostname
		who += " (" + l.Hostname + ")"
	}
	var text string
	switch e.Change {
	case server.LeaseBound:
		text = fmt.Sprintf("%v is leased to %s", l.Addr, who)
	case server.LeaseRenewed:
		text = fmt.Sprintf("%v is leased to %s for longer", l.Addr, who)
		if e.Reason != "" { // it is not: only the name goes
			text = fmt.Sprintf("%v, leased to %s, is called %s no more", l.Addr, who, e.Before)
		}
	case server.LeaseReleased:
		text = fmt.Sprintf("%s has given %v back", who, l.Addr)
	case server.LeaseExpired:
		text = fmt.Sprintf("the lease of %v to %s has expired", l.Addr, who)
	case server.LeaseDeclined:
		text = fmt.Sprintf("%v is in use by someone else, says %s; it rests", l.Addr, who)
	case server.LeaseDeleted:
		text = fmt.Sprintf("the lease of %v to %s is forgotten", l.Addr, who)
	case server.LeaseImported:
		text = fmt.Sprintf("%v is leased to %s, as another server had it", l.Addr, who)
	case server.LeaseConflict:
		text = fmt.Sprintf("%v is used by somebody who has no lease of it", l.Addr)
	}
	if e.Reason != "" {
		fields["reason"] = e.Reason
		text += ": " + e.Reason
	}
	kind := "dhcp_lease_" + e.Change.String()
	if e.Change == server.LeaseRenewed || !r.dhcp.told.take(time.Now()) {
		r.note(kind, l.Addr.String(), text, fields)
		return
	}
	r.event(kind, l.Addr.String(), text, fields)
}

// hardwareText is who has a lease.
func hardwareText(l *server.Lease) string {
	if len(l.CHAddr) == 6 {
		return packet.MAC(l.CHAddr).String()
	}
	return fmt.Sprintf("%x", l.CHAddr)
}

// poolEvent tells of a network that has no address to give, or has again.
func (r *Router) poolEvent(e *server.Exhausted) {
	if e.Again {
		r.event("dhcp_pool_recovered", e.Subnet, fmt.Sprintf("dhcp %s has addresses to give again", e.Subnet), map[string]string{"subnet": e.Subnet})
		return
	}
	r.log.Warn("no address is left to give", "subnet", e.Subnet)
	r.event("dhcp_pool_exhausted", e.Subnet, fmt.Sprintf("dhcp %s has no address left to give: its range is too small, or leases are too long", e.Subnet),
		map[string]string{"subnet": e.Subnet})
}

// allowance bounds how often something is written to the log: so many a second; the event log has all of it.
type allowance struct {
	second time.Time
	used   int
}

const tellMost = 50

func (a *allowance) take(now time.Time) bool {
	if now.Sub(a.second) >= time.Second {
		a.second, a.used = now, 0
	}
	a.used++
	return a.used <= tellMost
}
