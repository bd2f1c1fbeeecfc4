package router

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/client"
	"vrouterd/pkg/dhcp/relay"
	"vrouterd/pkg/dhcp/server"
)

// DHCP are the rows of `show dhcp`: networks that are served, ports that are relayed, ports that get their own address.
// The server counts messages for all its networks together; the numbers stand in the first row.
func (r *Router) DHCP() (rows []api.DHCP) {
	r.do(func() {
		now := time.Now()
		if c := r.config.DHCP; c != nil {
			status := map[string]server.SubnetStatus{}
			if r.dhcp.server != nil {
				for _, s := range r.dhcp.server.Subnets(now) {
					status[s.Name] = s
				}
			}
			for i := range c.Subnets {
				row := r.subnetRow(&c.Subnets[i], status[c.Subnets[i].Name])
				if i == 0 && r.dhcp.server != nil {
					n := r.dhcp.server.Counters()
					row.Messages = messages(n.Received[:], n.Sent[:])
					row.Refusals, row.Refused = refusals(n.Refused[:], server.Reason.String, server.Reason.Description)
					bad, all := refusals(n.Bad[:], dhcp.BadReason.String, dhcp.BadReason.Description)
					row.Refusals, row.Refused = append(row.Refusals, bad...), row.Refused+all
				}
				rows = append(rows, row)
			}
			for i := range c.Relays {
				rows = append(rows, r.relayRow(&c.Relays[i]))
			}
		}
		for i := range r.config.Ports {
			if p := r.ports[r.config.Ports[i].Name]; p != nil && p.client != nil {
				rows = append(rows, clientRow(p))
			}
		}
	})
	return rows
}

func (r *Router) subnetRow(c *config.DHCPSubnet, s server.SubnetStatus) api.DHCP {
	row := api.DHCP{
		Name: c.Name, Port: c.Port, Role: "server", State: "up", Network: c.Network.String(), Size: int(s.Size), Free: int(s.Free),
		Leased: s.Bound, Offered: s.Offered, Declined: s.Declined, Domain: c.Domain,
	}
	for _, one := range c.Ranges {
		row.Ranges = append(row.Ranges, one.First.String()+"-"+one.Last.String())
	}
	if c.Server.IsValid() {
		row.Address = c.Server.String()
	}
	switch p := r.ports[c.Port]; {
	case r.dhcp.server == nil:
		row.State, row.Reason = "down", r.dhcp.failing+"; it is tried again every 10 seconds"
	case c.Port != "" && p != nil && !p.up:
		word, _ := p.state()
		row.State, row.Reason = "down", fmt.Sprintf("port %s is %s", c.Port, word)
	case r.dhcp.failing != "":
		row.Reason = "the disk refuses leases, and none is acknowledged: " + r.dhcp.failing
	case s.Exhausted:
		row.Reason = "no address is left to give"
	}
	return row
}

func (r *Router) relayRow(c *config.DHCPRelay) api.DHCP {
	row := api.DHCP{Name: c.Port, Port: c.Port, Role: "relay", State: "up"}
	for _, a := range c.Servers {
		row.Servers = append(row.Servers, a.String())
	}
	p := r.ports[c.Port]
	if p == nil || r.dhcp.relay == nil {
		row.State = "down"
		return row
	}
	if own := p.usable(); len(own) > 0 {
		row.Address = own[0].Addr().String()
	}
	if word, _ := p.state(); !p.up {
		row.State, row.Reason = "down", fmt.Sprintf("port %s is %s", c.Port, word)
	} else if row.Address == "" {
		row.State, row.Reason = "down", "the port has no address yet"
	}
	if n, ok := r.dhcp.relay.Counters(relay.PortID(p.id)); ok {
		row.Refusals, row.Refused = refusals(n.Refused[:], relay.Reason.String, relay.Reason.Description)
		for _, one := range []api.DHCPMessages{{Type: "requests", Received: n.Requests, Sent: n.Requests}, {Type: "answers", Received: n.Answers, Sent: n.Answers}} {
			if one.Received > 0 {
				row.Messages = append(row.Messages, one)
			}
		}
	}
	return row
}

func clientRow(p *portState) api.DHCP {
	c := p.client
	n := c.machine.Counters()
	row := api.DHCP{Name: p.cfg.Name, Port: p.cfg.Name, Role: "client", State: c.machine.State().String(), Messages: messages(n.Received[:], n.Sent[:])}
	ignored := n.Reasons // the first reasons are those for which leases end
	clear(ignored[:client.IgnoredPort])
	row.Refusals, row.Refused = refusals(ignored[:], client.Reason.String, client.Reason.Description)
	l := c.lease
	if l == nil {
		row.Reason = cmp.Or(c.reason, "no server has answered yet")
		if c.reason == "" && c.machine.State() == client.Released {
			row.Reason = "it asks for none: `vrctl dhcp renew " + p.cfg.Name + "` makes it ask again"
		}
		return row
	}
	if word, _ := p.state(); !p.up {
		row.Reason = fmt.Sprintf("port %s is %s; the address is kept until it expires", p.cfg.Name, word)
	}
	row.Address, row.Server, row.Domain, row.Network = l.Addr.String(), l.Server.String(), l.Domain, l.Addr.Masked().String()
	if len(l.Gateways) > 0 {
		row.Gateway = l.Gateways[0].String()
	}
	for _, a := range l.DNS {
		row.DNS = append(row.DNS, a.String())
	}
	row.Acquired, row.Renews, row.Rebinds, row.Expires = moment(l.Acquired), moment(l.T1), moment(l.T2), moment(l.Expires)
	return row
}

// moment is a time for people; nil: never, or unknown.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// messages are counts by type.
func messages(received, sent []uint64) (out []api.DHCPMessages) {
	for i := range received {
		one := api.DHCPMessages{Type: dhcp.Type(i).String(), Received: received[i]}
		if i < len(sent) {
			one.Sent = sent[i]
		}
		if one.Received+one.Sent > 0 {
			out = append(out, one)
		}
	}
	return out
}

// refusals are counts by reason, the most frequent first; reason 0 is none.
func refusals[R ~uint8](counts []uint64, name, description func(R) string) (out []api.Refusal, all uint64) {
	for i, n := range counts {
		if i > 0 && n > 0 {
			out = append(out, api.Refusal{Reason: name(R(i)), Description: description(R(i)), Count: n})
			all += n
		}
	}
	slices.SortStableFunc(out, func(a, b api.Refusal) int { return cmp.Compare(b.Count, a.Count) })
	return out, all
}

// Leases is a page of `show dhcp leases`. The cursor is the address that the page begins with.
func (r *Router) Leases(q api.LeaseQuery) (page api.LeasePage, err error) {
	match, err := leaseMatch(&q)
	if err != nil {
		return page, err
	}
	var from packet.Addr
	if q.Cursor != "" {
		a, err := parseAddress(q.Cursor)
		if err != nil {
			return page, err
		}
		from = packet.AddrFrom(a)
	}
	r.do(func() {
		if r.dhcp.server == nil {
			return
		}
		all := r.dhcp.server.Leases(time.Now())
		page.Total = len(all)
		at, _ := slices.BinarySearchFunc(all, from, func(l server.Lease, a packet.Addr) int { return cmp.Compare(l.Addr, a) })
		for i := at; i < len(all); i++ {
			row := r.leaseRow(&all[i])
			if !match(&row) {
				continue
			}
			if len(page.Leases) == q.Limit {
				page.Next = row.Address
				return
			}
			page.Leases = append(page.Leases, row)
		}
	})
	return page, nil
}

// leaseMatch is what a query asks for.
func leaseMatch(q *api.LeaseQuery) (func(*api.Lease) bool, error) {
	network, exact := netip.Prefix{}, netip.Addr{}
	var err error
	if strings.Contains(q.Address, "/") {
		if network, err = netip.ParsePrefix(q.Address); err != nil {
			return nil, &api.Error{Code: api.Usage, Message: fmt.Sprintf("%q is not an IPv4 prefix; write it like 192.168.1.0/24", q.Address)}
		}
	} else if q.Address != "" {
		if exact, err = parseAddress(q.Address); err != nil {
			return nil, err
		}
	}
	same := func(want, is string) bool { return want == "" || want == is }
	return func(l *api.Lease) bool {
		a, _ := netip.ParseAddr(l.Address)
		return (!network.IsValid() || network.Contains(a)) && (!exact.IsValid() || exact == a) &&
			same(q.MAC, l.MAC) && same(q.Hostname, l.Hostname) && same(q.Port, l.Port) && same(q.Subnet, l.Subnet) && same(q.State, l.State)
	}, nil
}

func (r *Router) leaseRow(l *server.Lease) api.Lease {
	row := api.Lease{
		Address: l.Addr.String(), Hostname: l.Hostname, State: l.State.String(), Subnet: l.Subnet, Vendor: l.Vendor,
		Expires: moment(l.Expires), Starts: moment(l.Start), ClientID: octets(l.ClientID),
	}
	if len(l.CHAddr) > 0 {
		row.MAC = octets(l.CHAddr)
	}
	if c := r.config.DHCP; c != nil {
		for i := range c.Subnets {
			if s := &c.Subnets[i]; s.Name == l.Subnet {
				row.Port = s.Port
				row.Reserved = slices.ContainsFunc(s.Reservations, func(v config.DHCPReservation) bool { return v.Address == l.Addr.Netip() })
			}
		}
	}
	return row
}

// octets are written in hexadecimal with colons.
func octets(b []byte) string {
	var out strings.Builder
	for i, c := range b {
		if i > 0 {
			out.WriteByte(':')
		}
		fmt.Fprintf(&out, "%02x", c)
	}
	return out.String()
}

// dhcpDrops are the messages that DHCP refused, by reason.
func (r *Router) dhcpDrops() (rows []api.Drop) {
	add := func(prefix string, i int, name, description string, n uint64) {
		if i > 0 {
			rows = append(rows, api.Drop{Reason: prefix + name, Description: description, Packets: n})
		}
	}
	if d := &r.dhcp; d.server != nil {
		n := d.server.Counters()
		for i, count := range n.Refused {
			add("dhcp_", i, server.Reason(i).String(), server.Reason(i).Description(), count)
		}
		for i, count := range n.Bad {
			add("dhcp_bad_", i, dhcp.BadReason(i).String(), dhcp.BadReason(i).Description(), count)
		}
	}
	if d := &r.dhcp; d.relay != nil {
		sum := d.relay.Other().Refused
		for _, id := range d.relayPorts {
			n, _ := d.relay.Counters(relay.PortID(id))
			for i, count := range n.Refused {
				sum[i] += count
			}
		}
		for i, count := range sum {
			add("dhcp_relay_", i, relay.Reason(i).String(), relay.Reason(i).Description(), count)
		}
	}
	var ignored [client.NumReasons]uint64
	clients := 0
	for _, p := range r.ports {
		if p.client == nil {
			continue
		}
		clients++
		n := p.client.machine.Counters()
		for i := client.IgnoredPort; i < client.NumReasons; i++ {
			ignored[i] += n.Reasons[i]
		}
	}
	for i := client.IgnoredPort; clients > 0 && i < client.NumReasons; i++ {
		add("dhcp_client_", int(i), i.String(), i.Description(), ignored[i])
	}
	return rows
}

// dhcpCounters are what else DHCP counts.
func (r *Router) dhcpCounters(add func(name, description string, v uint64)) {
	d := &r.dhcp
	if d.server != nil {
		n := d.server.Counters()
		for kind, count := range n.Received {
			add("dhcp_received_"+dhcp.Type(kind).String(), "DHCP messages of a type that the server received", count)
		}
		for kind, count := range n.Sent {
			add("dhcp_sent_"+dhcp.Type(kind).String(), "DHCP messages of a type that the server sent", count)
		}
		add("dhcp_probes", "addresses asked for before an offer", n.Probes)
		add("dhcp_probes_taken", "of them, those that somebody had", n.ProbesTaken)
		add("dhcp_probes_skipped", "offers without asking: too many questions were under way", n.ProbesSkipped+r.probes.skipped)
		add("dhcp_answers_held", "answers that waited until their lease was on disk", d.held)
		add("dhcp_answers_withheld", "answers that never left, since the disk refused their lease", d.withheld)
		add("dhcp_conflicts", "addresses seen in use by somebody without a lease of it", n.Conflicts)
	}
	if d.journal != nil {
		n := d.journal.Counters()
		add("dhcp_journal_records", "leases written to the journal", n.Records)
		add("dhcp_journal_groups", "writes to the disk that they took", n.Groups)
		add("dhcp_journal_lost", "leases that the disk refused", n.Lost+n.Refused)
		add("dhcp_journal_rewrites", "times that the journal was written anew", n.Rewrites)
		add("dhcp_journal_bytes", "octets of the journal", uint64(n.Octets))
	}
	found := uint64(0)
	for _, one := range d.inspect {
		found += one.found
	}
	if len(d.inspect) > 0 {
		add("dhcp_arp_contradictions", "ARP packets that contradict the leases", found)
	}
}
