package dns

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxNames bounds the names that leases and reservations may bring.
const maxNames = 1 << 16

// unclaimable are names that hosts must not get by asking DHCP for them: programs trust whoever has them.
var unclaimable = []string{"localhost", "wpad", "isatap"}

// node is a name that somebody here has.
type node struct {
	name   string // as it was configured, with the last dot
	static *static
	claims []*claim // in the order in which they came
	below  int      // names below it: then it exists, if only for them (RFC 8020)
}

// static is what records say of a name.
type static struct {
	addresses []netip.Addr
	target    string // of an alias, with the last dot
	router    bool   // the router's own name
	text      [][]string
	ttl       time.Duration
}

// claim is a host's name, from a lease or a reservation.
type claim struct {
	source, label string
	addr          netip.Addr
	reserved      bool
	order         uint64
}

// names are the names here, forward and reverse.
type names struct {
	nodes   map[string]*node
	sorted  order                // of their names
	reverse map[netip.Addr]*node // its name is that of the first record; static is set with one
	claims  map[string]*claim
	order   uint64
	version uint64 // changes with every change
}

// settleNames builds the names anew from records and claims.
func (m *Machine) settleNames() {
	n := &m.names
	n.nodes, n.sorted, n.reverse = map[string]*node{}, order{}, map[netip.Addr]*node{}
	if n.claims == nil {
		n.claims = map[string]*claim{}
	}
	n.version++
	for _, r := range m.cfg.Records {
		m.addRecord(r)
	}
	m.addRouter()
	for _, c := range slices.SortedFunc(maps.Values(n.claims), func(a, b *claim) int { return cmp.Compare(a.order, b.order) }) {
		m.addClaim(c)
	}
}

// qualified is a configured name with the last dot: a bare label is completed.
func (m *Machine) qualified(name string) string {
	name = strings.TrimSuffix(name, ".")
	if !strings.Contains(name, ".") && m.cfg.Domain != "" {
		name += "." + strings.TrimSuffix(m.cfg.Domain, ".")
	}
	return name + "."
}

func (m *Machine) addRecord(r Record) {
	full := m.qualified(r.Name)
	wire, ok := wireName(full)
	if !ok {
		return
	}
	n := m.node(wire, full)
	if n.static == nil {
		n.static = &static{ttl: r.TTL}
	}
	s := n.static
	if r.TTL > 0 {
		s.ttl = r.TTL
	}
	if r.CNAME != "" {
		s.target = m.qualified(r.CNAME)
	}
	if len(r.TXT) > 0 {
		s.text = append(s.text, r.TXT)
	}
	for _, a := range r.Addresses {
		s.addresses = append(s.addresses, a.Unmap())
		if m.reverseNode(a.Unmap()).static == nil {
			back := m.reverseNode(a.Unmap())
			back.name, back.static = full, &static{ttl: r.TTL}
		}
	}
}

// addRouter adds the router's own name, where no record has it: hosts cannot have it then. A record's name of an address stays its name.
func (m *Machine) addRouter() {
	label := m.cfg.Router
	if label == "" || !claimable(label) || len(m.cfg.RouterAddresses) == 0 {
		return
	}
	full := m.qualified(label)
	wire, ok := wireName(full)
	if !ok || m.names.nodes[wire] != nil && m.names.nodes[wire].static != nil {
		return
	}
	m.node(wire, full).static = &static{addresses: m.cfg.RouterAddresses, router: true}
	for _, a := range m.cfg.RouterAddresses {
		if back := m.reverseNode(a); back.static == nil {
			back.name, back.static = full, &static{router: true}
		}
	}
}

// claimable reports whether a name is a sound label, and none that programs trust.
func claimable(label string) bool {
	return soundLabel(label) && !slices.Contains(unclaimable, strings.ToLower(label))
}

// node is that of a name; it is made, and with it that those above it in the router's domain exist.
func (m *Machine) node(wire, text string) *node {
	n := m.names.nodes[wire]
	if n == nil {
		n = m.names.add(wire)
	}
	if n.name == "" {
		n.name = text
		m.countAbove(wire, 1)
	}
	return n
}

func (n *names) add(wire string) *node {
	one := &node{}
	n.nodes[wire] = one
	n.sorted.add(wire)
	return one
}

func (n *names) remove(wire string) {
	delete(n.nodes, wire)
	n.sorted.remove(wire)
}

// countAbove tells the names between one and the router's domain that they have one more below, or fewer.
func (m *Machine) countAbove(wire string, by int) {
	if m.domain == "" || !strings.HasSuffix(wire, m.domain) {
		return
	}
	for at := wire[1+int(wire[0]):]; len(at) > len(m.domain); at = at[1+int(at[0]):] {
		n := m.names.nodes[at]
		if n == nil {
			n = m.names.add(at)
		}
		if n.below += by; n.below == 0 && n.name == "" {
			m.names.remove(at)
		}
	}
}

func (m *Machine) reverseNode(a netip.Addr) *node {
	n := m.names.reverse[a]
	if n == nil {
		n = &node{}
		m.names.reverse[a] = n
	}
	return n
}

// learn takes what a lease or a reservation says of a name.
func (m *Machine) learn(ev Name) {
	old := m.names.claims[ev.Source]
	label := strings.TrimSuffix(ev.Name, ".")
	if old != nil && strings.EqualFold(old.label, label) && old.addr == ev.Addr.Netip() {
		old.label = label
		return
	}
	if old != nil {
		m.dropClaim(old)
	}
	if label == "" {
		return
	}
	reserved := strings.HasPrefix(ev.Source, "reservation")
	switch {
	case !soundLabel(label) || !reserved && !claimable(label):
		m.count.Refused[ReasonNameInvalid]++
		return
	case len(m.names.claims) >= maxNames:
		m.count.Refused[ReasonNameLimit]++
		return
	}
	m.names.order++
	c := &claim{source: ev.Source, label: label, addr: ev.Addr.Netip(), reserved: reserved, order: m.names.order}
	m.names.claims[ev.Source] = c
	m.addClaim(c)
}

// soundLabel reports whether a host may be called that (RFC 1123 section 2.1; with the underscore that many have).
func soundLabel(s string) bool {
	if len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

func (m *Machine) addClaim(c *claim) {
	full := m.qualified(c.label)
	wire, ok := wireName(full)
	if !ok {
		return
	}
	n := m.node(wire, full)
	n.claims = append(n.claims, c)
	back := m.reverseNode(c.addr)
	back.claims = append(back.claims, c)
	m.changed(wire, c)
}

func (m *Machine) dropClaim(c *claim) {
	delete(m.names.claims, c.source)
	is := func(other *claim) bool { return other == c }
	if wire, ok := wireName(m.qualified(c.label)); ok {
		if n := m.names.nodes[wire]; n != nil {
			if n.claims = slices.DeleteFunc(n.claims, is); len(n.claims) == 0 && n.static == nil && n.name != "" {
				n.name = ""
				m.countAbove(wire, -1)
				if n.below == 0 {
					m.names.remove(wire)
				}
			}
		}
		m.changed(wire, c)
	}
	if back := m.names.reverse[c.addr]; back != nil {
		if back.claims = slices.DeleteFunc(back.claims, is); len(back.claims) == 0 && back.static == nil {
			delete(m.names.reverse, c.addr)
		}
	}
}

// changed makes answers that were given without a claim, or with it, not be given again.
func (m *Machine) changed(wire string, c *claim) {
	m.names.version++
	m.cache.forget([]byte(wire))
	if back, err := dns.ReverseAddr(c.addr.String()); err == nil {
		if wire, ok := wireName(back); ok {
			m.cache.forget([]byte(wire))
		}
	}
}

// holders are the claims that count: all reservations, or else the first lease.
func holders(all []*claim) (count []*claim) {
	for _, c := range all {
		if c.reserved {
			count = append(count, c)
		}
	}
	if len(count) == 0 && len(all) > 0 {
		count = all[:1]
	}
	return count
}

// addresses are a name's.
func (n *node) addresses() (all []netip.Addr) {
	if n.static != nil {
		return n.static.addresses
	}
	for _, c := range holders(n.claims) {
		if !slices.Contains(all, c.addr) {
			all = append(all, c.addr)
		}
	}
	return all
}

// nameOf is the name of an address, with the last dot; "": it has none.
func (m *Machine) nameOf(a netip.Addr) (name string, ttl time.Duration) {
	n := m.names.reverse[a]
	if n == nil {
		return "", 0
	}
	if n.static != nil {
		return n.name, n.static.ttl
	}
	for _, c := range holders(n.claims) {
		return m.qualified(c.label), 0
	}
	return "", 0
}

// nodeOf finds what somebody here has by a name; one label is completed with the router's domain.
func (m *Machine) nodeOf(name []byte) *node {
	if m.domain != "" && len(name) > 1 && len(parent(name)) == 1 {
		var room [maxName * 2]byte
		full := append(append(room[:0], name[:len(name)-1]...), m.domain...)
		return m.names.nodes[string(full)]
	}
	return m.names.nodes[string(name)]
}
