package simnet

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"vrouterd/internal/packet"
	"vrouterd/pkg/rip"
)

// Expected is what a table must say of a prefix: the metric, and the next hops, all of them.
type Expected struct {
	Metric uint8
	Hops   []packet.Addr // in order
}

// Oracle finds what every router's table must say once the network has come to rest, by breadth-first
// search from the routers that a network belongs to: slow, and obviously right. It knows
// nothing of how RIP works, only that a route goes where updates come from.
func (l *Lab) Oracle(prefix netip.Prefix, owners []int) map[int]Expected {
	distance := map[int]uint8{}
	queue := slices.Clone(owners)
	for _, o := range owners {
		distance[o] = 1
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if distance[at] == rip.Infinity-1 {
			continue
		}
		for _, h := range l.hearers(at) {
			if _, known := distance[h.router]; !known {
				distance[h.router] = distance[at] + 1
				queue = append(queue, h.router)
			}
		}
	}
	want := map[int]Expected{}
	for at := range distance {
		for _, h := range l.hearers(at) {
			d, known := distance[h.router]
			if !known || slices.Contains(owners, h.router) || d != distance[at]+1 {
				continue
			}
			e := want[h.router]
			e.Metric = d
			e.Hops = append(e.Hops, h.from)
			want[h.router] = e
		}
	}
	for i, e := range want {
		slices.Sort(e.Hops)
		want[i] = e
	}
	return want
}

// hearer is a router that hears another, from which address.
type hearer struct {
	router int
	from   packet.Addr
}

func (l *Lab) hearers(at int) (list []hearer) {
	r := l.routers[at]
	if !r.host.Running() {
		return nil
	}
	for port, e := range r.host.ports {
		for to, other := range e.link.ends {
			if to == e.place || !e.link.Carries(e.place, to) || !other.host.Running() {
				continue
			}
			list = append(list, hearer{other.host.node.(*Router).index, packet.AddrFrom(r.addrs[port].Addr())})
		}
	}
	return list
}

// networks are all prefixes with the routers that they belong to.
func (l *Lab) networks() map[netip.Prefix][]int {
	all := map[netip.Prefix][]int{}
	for i, r := range l.routers {
		if !r.host.Running() {
			continue
		}
		all[r.stub] = append(all[r.stub], i)
		for port, a := range r.addrs {
			if !l.options.StubsOnly && r.host.ports[port].link.carrier {
				all[a.Masked()] = append(all[a.Masked()], i)
			}
		}
	}
	return all
}

// Compare holds every router's table against the oracle.
func (l *Lab) Compare() error {
	var wrong []string
	networks := l.networks()
	prefixes := slices.SortedFunc(maps.Keys(networks), netip.Prefix.Compare)
	entries := make([]int, len(l.routers))
	for _, p := range prefixes {
		want := l.Oracle(p, networks[p])
		for i, r := range l.routers {
			if !r.host.Running() || slices.Contains(networks[p], i) {
				if _, has := r.table[p]; has {
					entries[i]++ // what neighbours say of an own network: the RIB has a better source
				}
				continue
			}
			got, has := r.table[p]
			e, should := want[i]
			if has {
				entries[i]++
			}
			switch {
			case has != should:
				wrong = append(wrong, fmt.Sprintf("%s: %v is in the table: %v (metric %d), expected %v (metric %d)", l.Name(i), p, has, got.Metric, should, e.Metric))
			case has && (got.Metric != e.Metric || !slices.Equal(hopsOf(got), e.Hops)):
				wrong = append(wrong, fmt.Sprintf("%s: %v by %v at metric %d, expected %v at %d", l.Name(i), p, hopsOf(got), got.Metric, e.Hops, e.Metric))
			}
			if len(wrong) > 5 {
				return errors.New(strings.Join(wrong, "\n"))
			}
		}
	}
	for i, r := range l.routers {
		if r.host.Running() && len(r.table) != entries[i] {
			wrong = append(wrong, fmt.Sprintf("%s: the table has %d prefixes, %d of which exist", l.Name(i), len(r.table), entries[i]))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n"))
}

// hopsOf are the next hops of a route, in order.
func hopsOf(i rip.Install) (hops []packet.Addr) {
	for _, p := range i.Paths {
		hops = append(hops, p.NextHop)
	}
	slices.Sort(hops)
	return hops
}
