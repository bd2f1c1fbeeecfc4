package controltest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vrouterd/internal/control/api"
)

func at(d time.Duration) *time.Time {
	t := started.Add(d)
	return &t
}

// dhcpRows and leaseRows are those of a home network: lan gives addresses away, core relays, and wan gets its own.
func dhcpRows() []api.DHCP {
	return []api.DHCP{
		{Name: "lan", Port: "lan", Role: "server", State: "up", Network: "10.1.0.0/24", Ranges: []string{"10.1.0.100-10.1.0.199"}, Size: 100, Free: 95,
			Leased: 4, Offered: 1, Declined: 1, Address: "10.1.0.1", Domain: "home.arpa",
			Messages: []api.DHCPMessages{{Type: "discover", Received: 40}, {Type: "offer", Sent: 38}, {Type: "request", Received: 510}, {Type: "ack", Sent: 500}, {Type: "nak", Sent: 3}},
			Refused:  9, Refusals: []api.Refusal{{Reason: "dhcp_other_server", Description: "the client has chosen another server's offer", Count: 7}, {Reason: "dhcp_exhausted", Description: "the network has no address to give", Count: 2}}},
		{Name: "core", Port: "core", Role: "relay", State: "up", Address: "10.0.0.1", Servers: []string{"10.0.0.2", "10.0.0.3"},
			Messages: []api.DHCPMessages{{Type: "discover", Received: 3, Sent: 6}, {Type: "offer", Received: 6, Sent: 6}}},
		{Name: "wan", Port: "wan", Role: "client", State: "bound", Address: "192.0.2.1/31", Server: "192.0.2.0", Gateway: "192.0.2.0", DNS: []string{"198.51.100.53"},
			Acquired: at(0), Renews: at(6 * time.Hour), Rebinds: at(10*time.Hour + 30*time.Minute), Expires: at(12 * time.Hour),
			Messages: []api.DHCPMessages{{Type: "discover", Sent: 1}, {Type: "offer", Received: 1}, {Type: "request", Sent: 1}, {Type: "ack", Received: 1}}},
	}
}

func leaseRows() []api.Lease {
	return []api.Lease{
		{Address: "10.1.0.5", MAC: "02:00:00:00:00:09", ClientID: "01:02:00:00:00:00:09", Hostname: "printer", State: "bound", Port: "lan", Subnet: "lan", Starts: at(time.Hour), Reserved: true},
		{Address: "10.1.0.100", MAC: "02:00:00:00:00:21", ClientID: "01:02:00:00:00:00:21", Hostname: "laptop", State: "bound", Expires: at(13 * time.Hour), Port: "lan", Subnet: "lan", Starts: at(time.Hour), Vendor: "MSFT 5.0"},
		{Address: "10.1.0.101", MAC: "02:00:00:00:00:22", State: "offered", Expires: at(61 * time.Minute), Port: "lan", Subnet: "lan", Starts: at(time.Hour)},
		{Address: "10.1.0.102", MAC: "02:00:00:00:00:23", Hostname: "phone", State: "expired", Expires: at(-time.Hour), Port: "lan", Subnet: "lan", Starts: at(-13 * time.Hour)},
		{Address: "10.1.0.103", MAC: "02:00:00:00:00:66", State: "declined", Expires: at(70 * time.Minute), Port: "lan", Subnet: "lan", Starts: at(time.Hour)},
	}
}

// manyLease is one of the Many.
func manyLease(i int) api.Lease {
	return api.Lease{Address: fmt.Sprintf("10.200.%d.%d", i>>8&0xff, i&0xff), MAC: fmt.Sprintf("02:01:00:%02x:%02x:%02x", i>>16&0xff, i>>8&0xff, i&0xff),
		Hostname: fmt.Sprintf("host-%d", i), State: "bound", Expires: at(12 * time.Hour), Subnet: "campus", Starts: at(0)}
}

func (f *Fake) DHCP() []api.DHCP { return table(f, f.dhcp) }

// leaseAsked tells whether a lease is what the query asks for.
func leaseAsked(q api.LeaseQuery, l *api.Lease) bool {
	if network, err := netip.ParsePrefix(q.Address); err == nil {
		if a, err := netip.ParseAddr(l.Address); err != nil || !network.Contains(a) {
			return false
		}
	} else if q.Address != "" && q.Address != l.Address {
		return false
	}
	for _, pair := range [][2]string{{q.MAC, l.MAC}, {q.Hostname, l.Hostname}, {q.Port, l.Port}, {q.Subnet, l.Subnet}, {q.State, l.State}} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return true
}

// Leases are the few, and then as many more as Many. The cursor is the address that the page begins with.
func (f *Fake) Leases(q api.LeaseQuery) (p api.LeasePage, err error) {
	few := table(f, f.leases)
	p.Total = len(few) + f.Many
	seen := q.Cursor == ""
	for i := range p.Total {
		var l api.Lease
		if i < len(few) {
			l = few[i]
		} else {
			l = manyLease(i - len(few))
		}
		if seen = seen || l.Address == q.Cursor; !seen || !leaseAsked(q, &l) {
			continue
		}
		if len(p.Leases) == q.Limit {
			p.Next = l.Address
			return p, nil
		}
		p.Leases = append(p.Leases, l)
	}
	if !seen {
		return p, &api.Error{Code: api.Usage, Message: fmt.Sprintf("cursor=%.40q: no page has told it", q.Cursor)}
	}
	return p, nil
}

func (f *Fake) DeleteLease(_ api.Peer, address string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Empty {
		return &api.Error{Code: api.Conflict, Message: "no DHCP server is configured: a section `dhcp:` starts it"}
	}
	before := len(f.leases)
	f.leases = slices.DeleteFunc(f.leases, func(l api.Lease) bool { return l.Address == address })
	if len(f.leases) == before {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("%s has no lease", address)}
	}
	return nil
}

// FlushLeases forgets those of the few that match; the many stay.
func (f *Fake) FlushLeases(_ api.Peer, which api.LeaseFlush) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Empty {
		return 0, &api.Error{Code: api.Conflict, Message: "no DHCP server is configured: a section `dhcp:` starts it"}
	}
	if which.Subnet != "" && which.Subnet != "lan" {
		return 0, &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no subnet %q under dhcp", which.Subnet)}
	}
	before := len(f.leases)
	f.leases = slices.DeleteFunc(f.leases, func(l api.Lease) bool {
		return leaseAsked(api.LeaseQuery{Subnet: which.Subnet, State: which.State}, &l)
	})
	return before - len(f.leases), nil
}

// ImportLeases takes what has four words and more; addresses outside 10.1.0.0/24 are refused, and lines of duid skipped.
func (f *Fake) ImportLeases(_ api.Peer, text string) (done api.LeaseImport, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Empty {
		return done, &api.Error{Code: api.Conflict, Message: "no DHCP server is configured: a section `dhcp:` starts it"}
	}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		switch words := strings.Fields(line); {
		case len(words) == 2 && words[0] == "duid":
			done.Skipped++
		case len(words) < 4:
			return api.LeaseImport{}, &api.Error{Code: api.Usage, Message: fmt.Sprintf("line %d: 5 words are wanted, and there are %d", i+1, len(words))}
		case !strings.HasPrefix(words[2], "10.1.0."):
			done.Refused++
			done.Refusals = append(done.Refusals, api.LeaseRefusal{Address: words[2], Reason: "the address is in no network under dhcp"})
		default:
			done.Imported++
			f.leases = append(f.leases, api.Lease{Address: words[2], MAC: words[1], Hostname: words[3], State: "bound", Port: "lan", Subnet: "lan"})
		}
	}
	return done, nil
}

func (f *Fake) client(port string, do func(*api.DHCP)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.ports, func(p api.Port) bool { return p.Name == port }) {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q", port)}
	}
	i := slices.IndexFunc(f.dhcp, func(d api.DHCP) bool { return d.Role == "client" && d.Name == port })
	if f.Empty || i < 0 {
		return &api.Error{Code: api.Conflict, Message: fmt.Sprintf("port %s does not get its address by DHCP: `address: dhcp` makes it", port)}
	}
	do(&f.dhcp[i])
	return nil
}

func (f *Fake) DHCPRelease(_ api.Peer, port string) error {
	return f.client(port, func(d *api.DHCP) {
		*d = api.DHCP{Name: d.Name, Port: d.Port, Role: d.Role, State: "released", Reason: "the address was given back by command"}
	})
}

func (f *Fake) DHCPRenew(_ api.Peer, port string) error {
	return f.client(port, func(d *api.DHCP) { d.State = "renewing" })
}
