package dns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Counters count what has happened since the start.
type Counters struct {
	Queries    uint64             // messages from clients
	QueriesTCP uint64             // of them by TCP
	Answered   [16]uint64         // answers by response code (RFC 1035 section 4.1.1); BADVERS counts as 0
	Local      uint64             // answers from names and zones here
	Cached     uint64             // answers from the cache
	Forwarded  uint64             // answers from upstream
	Failed     uint64             // answers with SERVFAIL
	Truncated  uint64             // answers that were too long for UDP
	Asked      uint64             // questions that went upstream
	AskedTCP   uint64             // messages upstream by TCP
	Joined     uint64             // queries that waited for a question that was on its way already
	Refused    [NumReasons]uint64 // by reason: of queries, names, and replies that were not believed
}

// Counters returns them.
func (m *Machine) Counters() Counters { return m.count }

func (m *Machine) countQuery(stream bool) {
	m.count.Queries++
	if stream {
		m.count.QueriesTCP++
	}
}

func (m *Machine) countAnswer(e *entry, truncated bool) {
	code := e.wire[atFlags+1] & maskCode
	m.count.Answered[code]++
	if code == codeFailure {
		m.count.Failed++
	}
	switch {
	case e.local != 0:
		m.count.Local++
	case e.hits > 0:
		m.count.Cached++
	default:
		m.count.Forwarded++
	}
	if truncated {
		m.count.Truncated++
	}
	if e.reason != ReasonNone {
		m.count.Refused[e.reason]++
	}
}

// CacheStats tell how full the cache is, and how useful.
type CacheStats struct {
	Entries, MaxEntries             int
	Octets, MaxOctets               int
	Hits, Misses                    uint64 // of questions that are not answered from here
	Kept                            uint64 // answers that came in
	Evicted                         uint64 // that went before their time
	Outstanding, MaximumOutstanding int    // questions upstream now, and their bound
}

// CacheStats returns them.
func (m *Machine) CacheStats() CacheStats {
	s := m.cache.stats
	s.Entries, s.MaxEntries, s.Octets, s.MaxOctets = m.cache.count, m.cfg.CacheSize, m.cache.octets, m.cfg.CacheOctets
	s.Outstanding, s.MaximumOutstanding = len(m.flights), m.cfg.MaxQueries
	return s
}

// UpstreamState is how a server does.
type UpstreamState uint8

// A server that nothing was asked yet is unknown.
const (
	UpstreamUnknown UpstreamState = iota
	UpstreamUp
	UpstreamSilent // it did not answer lately: others are asked first
	UpstreamDown   // it did not answer three times in a row
)

func (s UpstreamState) String() string {
	return [...]string{"unknown", "up", "silent", "down"}[min(s, UpstreamDown)]
}

// UpstreamRow is a server for a domain.
type UpstreamRow struct {
	Domain      string // without the last dot; "": everything
	Server      netip.AddrPort
	State       UpstreamState
	Latency     time.Duration // smoothed; 0: it has never answered
	LastAnswer  time.Duration // ago; below 0: there was none
	Outstanding int
	Queries     uint64
	Answers     uint64
	Timeouts    uint64
	Failures    uint64 // errors as answers, and of connections
	NoEDNS      bool   // it is asked without (RFC 6891 section 6.2.2)
}

// Upstreams lists the servers by domain, in the order of the configuration.
func (m *Machine) Upstreams(now time.Time) (rows []UpstreamRow) {
	at := max(m.now, now.Sub(m.epoch))
	if m.epoch.IsZero() {
		at = 0
	}
	for _, p := range m.places {
		if p.group == nil {
			continue
		}
		for _, s := range p.group.servers {
			row := UpstreamRow{
				Domain: strings.TrimSuffix(textName(p.group.domain), "."), Server: s.addr, Latency: s.latency, LastAnswer: -1, Outstanding: s.open,
				Queries: s.queries, Answers: s.answers, Timeouts: s.timeouts, Failures: s.failures, NoEDNS: at < s.plain,
			}
			switch {
			case s.down:
				row.State = UpstreamDown
			case s.silent > 0:
				row.State = UpstreamSilent
			case s.everHeard:
				row.State = UpstreamUp
			}
			if s.everHeard {
				row.LastAnswer = at - s.heard
			}
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b UpstreamRow) int { return cmp.Compare(a.Domain, b.Domain) })
	return rows
}

// NameRow is a name that is answered from here.
type NameRow struct {
	Name   string // without the last dot
	Type   string // A, AAAA, CNAME, TXT
	Value  string
	Source string // record, router, or what the Name event said
	Hidden bool   // another source has the name: this one counts when that has ended
}

// Names lists a part of the names here, in the order of the tree, and where the next part begins; "" at the end.
func (m *Machine) Names(p Part) (rows []NameRow, next string) {
	next = p.walk(&m.names.sorted, func(wire string) int {
		own := m.rowsOf(m.names.nodes[wire])
		rows = append(rows, own...)
		return len(own)
	})
	return rows, next
}

// rowsOf are those of a name. A claim that does not count and says what another row does already is left out: the lease of a reservation's host.
func (m *Machine) rowsOf(n *node) (rows []NameRow) {
	bare := func(s string) string { return strings.TrimSuffix(s, ".") }
	name := bare(n.name)
	if s := n.static; s != nil {
		if s.target != "" {
			rows = append(rows, NameRow{name, "CNAME", bare(s.target), "record", false})
		}
		source := "record"
		if s.router {
			source = "router"
		}
		for _, a := range s.addresses {
			rows = append(rows, NameRow{name, addressType(a), a.String(), source, s.target != ""})
		}
		for _, t := range s.text {
			rows = append(rows, NameRow{name, "TXT", strings.Join(t, " "), "record", s.target != ""})
		}
	}
	count := holders(n.claims)
	for _, c := range n.claims {
		hidden := n.static != nil || !slices.Contains(count, c)
		rows = append(rows, NameRow{bare(m.qualified(c.label)), "A", c.addr.String(), c.source, hidden})
	}
	slices.SortFunc(rows, func(a, b NameRow) int {
		return cmp.Or(cmp.Compare(btoi(a.Hidden), btoi(b.Hidden)), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Source, b.Source))
	})
	told := rows[:0]
	for _, r := range rows {
		if !r.Hidden || !slices.ContainsFunc(told, func(o NameRow) bool { return o.Type == r.Type && o.Value == r.Value }) {
			told = append(told, r)
		}
	}
	return told
}

// waiting is how many claims of a name do not count, and would say something else.
func (n *node) waiting() (count int) {
	if n.static == nil && len(n.claims) < 2 {
		return 0
	}
	told := slices.Clone(n.addresses())
	for _, c := range n.claims {
		if !slices.Contains(told, c.addr) {
			told = append(told, c.addr)
			count++
		}
	}
	return count
}

// NameCount is how many rows of names are answered from here, and how many claims wait behind those.
func (m *Machine) NameCount() (answered, hidden int) {
	for _, n := range m.names.nodes {
		switch s := n.static; {
		case s == nil:
			answered += len(holders(n.claims))
		case s.target != "":
			answered++
		default:
			answered += len(s.addresses) + len(s.text)
		}
		hidden += n.waiting()
	}
	return answered, hidden
}

func addressType(a netip.Addr) string {
	if a.Is4() {
		return "A"
	}
	return "AAAA"
}

// CacheRow is an answer that is kept.
type CacheRow struct {
	Name  string // without the last dot
	Type  string
	Code  string // NOERROR, NXDOMAIN, SERVFAIL …
	TTL   time.Duration
	Hits  uint64
	entry *entry
}

// State is answer, no_data, no_name or failure.
func (r CacheRow) State() string {
	switch {
	case r.Code == "NXDOMAIN":
		return "no_name"
	case r.Code != "NOERROR":
		return "failure"
	case get16(r.entry.wire, atAnswers) == 0:
		return "no_data"
	}
	return "answer"
}

// Records writes out what the answer holds, as zone files do: at most so many records.
func (r CacheRow) Records(most int) (out []string) {
	var msg dns.Msg
	if msg.Unpack(r.entry.wire) != nil {
		return nil
	}
	for _, rr := range msg.Answer[:min(most, len(msg.Answer))] {
		h := rr.Header()
		text := strings.TrimPrefix(rr.String(), h.String())
		if odd, is := rr.(*dns.RFC3597); is {
			text = fmt.Sprintf(`\# %d %s`, len(odd.Rdata)/2, odd.Rdata)
		}
		out = append(out, dns.Type(h.Rrtype).String()+" "+text)
	}
	return out
}

// Cache lists a part of the answers that are kept and hold, in the order of the tree, and where the next part begins; "" at the end.
func (m *Machine) Cache(now time.Time, p Part) (rows []CacheRow, next string) {
	at := max(m.now, now.Sub(m.epoch))
	next = p.walk(&m.cache.order, func(wire string) int {
		before := len(rows)
		for _, e := range m.cache.names[wire].entries {
			ttl := e.expires - at
			if e.local != 0 || ttl <= 0 {
				continue // what is answered from here is among the names
			}
			rows = append(rows, CacheRow{
				Name: strings.TrimSuffix(textName(wire), "."), Type: dns.Type(e.qtype).String(), Code: dns.RcodeToString[int(e.wire[atFlags+1]&maskCode)],
				TTL: ttl, Hits: e.hits, entry: e,
			})
		}
		own := rows[before:]
		slices.SortStableFunc(own, func(a, b CacheRow) int { return cmp.Compare(a.Type, b.Type) })
		return len(own)
	})
	return rows, next
}
