// Package controltest is a daemon that routes nothing: an api.Backend with a
// small router's tables in memory, for tests of the control socket's two ends.
package controltest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"vrouterd/internal/control/api"
)

// Started is when every Fake says that it was started, and when its past events were.
var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Fake is the daemon. Its exported fields may be set before it is used; Lock guards them after.
type Fake struct {
	mu        sync.Mutex
	status    api.Status
	ports     []api.Port
	routes    []api.Route
	neighbors []api.Neighbor
	drops     []api.Drop
	events    []api.Event
	config    string
	revisions []api.Revision
	readers   map[*reader]bool

	ripRoutes    []api.RIPRoute
	ripNeighbors []api.RIPNeighbor
	ripPorts     []api.RIPPort

	natRules []api.NATRule
	sessions []api.Session
	mappings []api.NATMapping
	rules    []api.FirewallRule
	sets     []api.FirewallSet
	members  []api.SetMember

	dhcp     []api.DHCP
	leases   []api.Lease
	dns      []api.DNS
	dnsCache []api.DNSCacheEntry
	dnsNames []api.DNSName

	Packets  []byte // what a capture streams: pcapng
	EventsIn int    // events that a slow reader may have waiting; 0: 64
	Empty    bool   // every table is nil
	Many     int    // sessions, and leases, besides the few, of as many hosts
	NoReply  bool   // pings time out
}

// reader of events.
type reader struct {
	next chan api.Event
	lost int
}

// New is a Fake called name with two ports, five routes and a neighbour or three.
func New(name string) *Fake {
	f := &Fake{readers: map[*reader]bool{}, config: "name: " + name + "\n"}
	f.status = api.Status{
		Name: name, Version: "0.1.0", PID: 4242, Started: started, UptimeSeconds: 93784, Ready: true,
		Ports: 3, PortsUp: 2, Routes: 6, FIBRoutes: 9, FIBBytes: 12288, Neighbors: 3, Workers: 2,
		RxPackets: 1234567, TxPackets: 1230000, Drops: 57, Revision: 3, ConfigFile: "/etc/vrouterd/r1.yaml", MemoryBytes: 23 << 20,
	}
	f.ports = []api.Port{
		{Name: "lan", Kind: "tap", Netns: "h1", Device: "eth0", MAC: "02:00:5e:10:00:01", Addresses: []string{"10.1.0.1/24", "10.1.1.1/24"},
			MTU: 1500, Up: true, Offload: true, Queues: 2, RxPackets: 1234000, RxBytes: 1850000000, TxPackets: 999, TxBytes: 64000, State: "up"},
		{Name: "core", Kind: "tap", Device: "core", MAC: "02:00:5e:10:00:02", Addresses: []string{"10.0.0.1/29"},
			MTU: 9000, Up: true, Offload: true, Queues: 2, RxPackets: 567, RxBytes: 48195, RxDrops: 57, TxPackets: 1229001, TxBytes: 1850100000, State: "up", Bridge: "br-core"},
		{Name: "wan", Kind: "tun", Netns: "isp", Device: "tun0", Addresses: []string{"192.0.2.1/31"}, MTU: 1400, Queues: 1,
			State: "missing", Reason: "network namespace isp was deleted"},
	}
	f.routes = []api.Route{
		{Prefix: "0.0.0.0/0", NextHop: "192.0.2.0", Port: "wan", Protocol: "static", Type: "unicast", Distance: 1, AgeSeconds: 93000, Reason: "port wan is down"},
		{Prefix: "0.0.0.0/0", NextHop: "10.0.0.6", Port: "core", Protocol: "static", Type: "unicast", Distance: 50, Selected: true, Active: true, AgeSeconds: 30, Reason: "the only route that can be used"},
		{Prefix: "10.0.0.0/29", Port: "core", Protocol: "connected", Type: "unicast", Selected: true, Active: true, AgeSeconds: 93784, Reason: "connected"},
		{Prefix: "10.1.0.0/24", Port: "lan", Protocol: "connected", Type: "unicast", Selected: true, Active: true, AgeSeconds: 93784, Reason: "connected"},
		{Prefix: "10.9.0.0/16", NextHop: "10.0.0.2", Port: "core", Protocol: "static", Type: "unicast", Distance: 1, Metric: 5, Tag: 7, Selected: true, Active: true, AgeSeconds: 3700, Reason: "lowest distance"},
		{Prefix: "10.9.0.0/16", NextHop: "10.0.0.3", Port: "core", Protocol: "static", Type: "unicast", Distance: 1, Metric: 5, Tag: 7, Selected: true, Active: true, AgeSeconds: 3700, Reason: "lowest distance"},
		{Prefix: "198.51.100.0/24", Protocol: "static", Type: "blackhole", Distance: 1, Selected: true, Active: true, AgeSeconds: 5, Reason: "the only route"},
	}
	f.neighbors = []api.Neighbor{
		{Address: "10.0.0.2", Port: "core", MAC: "02:00:00:00:00:02", State: "reachable", AgeSeconds: 12.5},
		{Address: "10.0.0.6", Port: "core", State: "incomplete", AgeSeconds: 0.8, Waiting: 2},
		{Address: "10.1.0.9", Port: "lan", MAC: "02:00:00:00:00:09", State: "permanent", AgeSeconds: 93784},
	}
	f.drops = []api.Drop{
		{Reason: "ttl_exceeded", Description: "the packet's TTL ran out here", Packets: 12},
		{Reason: "bad_checksum", Description: "the IPv4 header's checksum is wrong", Packets: 0},
		{Reason: "no_route", Description: "no route covers the destination", Packets: 45},
	}
	f.events = []api.Event{
		{Sequence: 1, Time: started, Kind: "config_applied", Subject: "1", Message: "Revision 1 is running.", Fields: map[string]string{"author": "startup"}},
		{Sequence: 2, Time: started.Add(time.Second), Kind: "port_up", Subject: "lan", Message: "Port lan is up."},
		{Sequence: 3, Time: started.Add(time.Minute), Kind: "port_down", Subject: "wan", Message: "Port wan is down: its device is gone."},
	}
	f.ripRoutes, f.ripNeighbors, f.ripPorts = ripRoutes(), ripNeighbors(), ripPorts()
	f.natRules, f.sessions, f.mappings = natRules(), sessions(), natMappings()
	f.rules, f.sets, f.members = firewallRules(), firewallSets(), setMembers()
	f.dhcp, f.leases = dhcpRows(), leaseRows()
	f.dns, f.dnsCache, f.dnsNames = dnsRows(), dnsCacheRows(), dnsNameRows()
	f.revisions = []api.Revision{
		{Number: 1, Time: started, Author: "startup", Summary: "the configuration file"},
		{Number: 2, Time: started.Add(time.Hour), Author: "ann", Summary: "1 route added"},
		{Number: 3, Time: started.Add(2 * time.Hour), Author: "SIGHUP", Summary: "port wan added", Current: true},
	}
	return f
}

func table[T any](f *Fake, rows []T) []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Empty {
		return nil
	}
	return slices.Clone(rows)
}

func (f *Fake) Status() api.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}
func (f *Fake) Ports() []api.Port         { return table(f, f.ports) }
func (f *Fake) Routes() []api.Route       { return table(f, f.routes) }
func (f *Fake) Neighbors() []api.Neighbor { return table(f, f.neighbors) }
func (f *Fake) Drops() []api.Drop         { return table(f, f.drops) }

func (f *Fake) Route(address string) (api.RouteLookup, error) {
	switch {
	case strings.HasPrefix(address, "10.9."):
		return api.RouteLookup{Address: address, Prefix: "10.9.0.0/16", Action: "forward", NextHops: []string{"10.0.0.2", "10.0.0.3"}, Ports: []string{"core", "core"},
			MAC: "02:00:00:00:00:02", Why: "10.9.0.0/16 is the longest prefix that covers 10.9.1.1; 2 equal routes share the traffic", Candidates: slices.Clone(f.routes[4:6])}, nil
	case strings.HasPrefix(address, "198.51.100."):
		return api.RouteLookup{Address: address, Prefix: "198.51.100.0/24", Action: "blackhole", Why: "198.51.100.0/24 is the longest prefix"}, nil
	}
	return api.RouteLookup{Address: address, Action: "none", Why: "no route covers it"}, nil
}

func (f *Fake) FIB() []api.FIBEntry {
	return table(f, []api.FIBEntry{
		{Prefix: "10.1.0.0/24", Action: "glean", Port: "lan"},
		{Prefix: "10.1.0.1/32", Action: "local", Port: "lan"},
		{Prefix: "10.9.0.0/16", Action: "forward", NextHop: "10.0.0.2", Port: "core", MAC: "02:00:00:00:00:02"},
	})
}

func (f *Fake) Counters() []api.Counter {
	return table(f, []api.Counter{
		{Name: "forwarded", Description: "packets sent on towards their destination", Value: 1229000},
		{Name: "fragments_made", Description: "fragments made of packets larger than the next link's MTU", Value: 0},
	})
}

// Events implements api.Backend as it promises: bounded, and a reader learns of its loss.
func (f *Fake) Events(ctx context.Context) ([]api.Event, <-chan api.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := f.EventsIn
	if size == 0 {
		size = 64
	}
	r := &reader{next: make(chan api.Event, size)}
	f.readers[r] = true
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.readers, r)
		close(r.next)
	})
	if f.Empty {
		return nil, r.next
	}
	return slices.Clone(f.events), r.next
}

// Readers of events at present.
func (f *Fake) Readers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers)
}

// Happen makes an event.
func (f *Fake) Happen(kind, subject, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.happen(kind, subject, message)
}

func (f *Fake) happen(kind, subject, message string) {
	seq := f.events[len(f.events)-1].Sequence + 1
	ev := api.Event{Sequence: seq, Time: started.Add(time.Duration(seq) * time.Minute), Kind: kind, Subject: subject, Message: message}
	f.events = append(f.events, ev)
	for r := range f.readers {
		if r.lost > 0 {
			lost := ev
			lost.Kind, lost.Subject, lost.Message = "events_lost", fmt.Sprint(r.lost), fmt.Sprintf("%d events were lost because the reader was slow.", r.lost)
			select {
			case r.next <- lost:
				r.lost = 0
			default:
				r.lost++
				continue
			}
		}
		select {
		case r.next <- ev:
		default:
			r.lost++
		}
	}
}
