package dns

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxAliases is how many static aliases may follow one another.
const maxAliases = 8

// alias is a chain of static aliases that leads to a name that is asked upstream.
type alias struct {
	chain  []dns.RR
	target []byte // in lower case
}

// here answers a query from the names and zones here. Neither an answer nor an alias: the name is to be asked upstream, or nowhere if the
// reason says so.
func (m *Machine) here(q *question, from netip.Addr) (*entry, *alias, Reason) {
	name, text := q.name, textName(string(q.name))
	var chain []dns.RR
	for range maxAliases {
		found, target, exists := m.recordsOf(name, text, q.qtype, from)
		switch {
		case len(found) > 0:
			return m.compose(q, codeSuccess, append(chain, found...), nil), nil, ReasonNone
		case target != "":
			chain = append(chain, &dns.CNAME{Hdr: m.header(text, typeCNAME, m.ttlOf(name)), Target: target})
			wire, ok := wireName(target)
			if !ok {
				return nil, nil, ReasonAliasLoop
			}
			name, text = []byte(wire), target
			if q.qtype == typeCNAME || q.qtype == typeAny {
				return m.compose(q, codeSuccess, chain, nil), nil, ReasonNone
			}
			continue
		}
		z, g := m.whose(name)
		if exists {
			if z == nil || z.kind == zoneNoName {
				z = &zone{name: text}
			}
			return m.compose(q, codeSuccess, chain, m.soa(z)), nil, ReasonNone
		}
		if z != nil {
			return m.nobody(q, z, name, text, chain), nil, ReasonNone
		}
		if (g == nil || len(g.domain) == 1) && labels(name) == 1 && !infrastructure(q.qtype) {
			e := m.compose(q, codeNoName, chain, nil)
			e.reason = ReasonBareName
			return e, nil, ReasonNone
		}
		if len(chain) > 0 {
			return nil, &alias{chain, name}, ReasonNone
		}
		return nil, nil, ReasonNone
	}
	return nil, nil, ReasonAliasLoop
}

// infrastructure reports types that are asked of names of one label for the sake of the names below them.
func infrastructure(qtype uint16) bool {
	return qtype == typeNS || qtype == typeSOA || qtype == typeDS || qtype == typeDNSKEY
}

func (m *Machine) header(name string, rtype uint16, ttl time.Duration) dns.RR_Header {
	if ttl <= 0 {
		ttl = m.cfg.LocalTTL
	}
	return dns.RR_Header{Name: name, Rrtype: rtype, Class: classIN, Ttl: uint32(min(ttl/time.Second, 1<<31-1))}
}

// ttlOf is the TTL that a static name has of its own; 0: none.
func (m *Machine) ttlOf(name []byte) time.Duration {
	if n := m.nodeOf(name); n != nil && n.static != nil {
		return n.static.ttl
	}
	return 0
}

// recordsOf are the records of a type that somebody here has by a name, or the target if it is an alias; and whether the name exists here.
func (m *Machine) recordsOf(name []byte, text string, qtype uint16, from netip.Addr) (found []dns.RR, target string, exists bool) {
	wants := func(rtype uint16) bool { return qtype == rtype || qtype == typeAny }
	if a, is := reverseAddr(name); is {
		if owner, ttl := m.nameOf(a); owner != "" {
			if wants(typePTR) {
				found = append(found, &dns.PTR{Hdr: m.header(text, typePTR, ttl), Ptr: owner})
			}
			return found, "", true
		}
	}
	n := m.nodeOf(name)
	if n == nil {
		return nil, "", false
	}
	ttl := m.ttlOf(name)
	if n.static != nil && n.static.target != "" {
		return nil, n.static.target, true
	}
	for _, a := range m.inOrder(n.addresses(), from) {
		switch {
		case a.Is4() && wants(typeA):
			found = append(found, &dns.A{Hdr: m.header(text, typeA, ttl), A: a.AsSlice()})
		case a.Is6() && wants(typeAAAA):
			found = append(found, &dns.AAAA{Hdr: m.header(text, typeAAAA, ttl), AAAA: a.AsSlice()})
		}
	}
	if n.static != nil && wants(dns.TypeTXT) {
		for _, t := range n.static.text {
			found = append(found, &dns.TXT{Hdr: m.header(text, dns.TypeTXT, ttl), Txt: t})
		}
	}
	return found, "", true
}

// inOrder puts the addresses of a name that are in the asking client's own network first. The others take turns.
func (m *Machine) inOrder(all []netip.Addr, from netip.Addr) []netip.Addr {
	if len(all) < 2 {
		return all
	}
	m.turns++
	k := int(m.turns % uint64(len(all)))
	turned := append(append([]netip.Addr{}, all[k:]...), all[:k]...)
	for _, p := range m.cfg.Networks {
		if p.Contains(from) {
			slices.SortStableFunc(turned, func(a, b netip.Addr) int { return btoi(p.Contains(b)) - btoi(p.Contains(a)) })
			break
		}
	}
	return turned
}

// nobody answers for a zone that is answered here and a name in it that nobody has.
func (m *Machine) nobody(q *question, z *zone, name []byte, text string, chain []dns.RR) *entry {
	code, authority := codeNoName, m.soa(z)
	apex := strings.EqualFold(text, z.name)
	switch {
	case z.kind == zoneLocalhost:
		code = codeSuccess
		switch q.qtype {
		case typeA:
			chain = append(chain, &dns.A{Hdr: m.header(text, typeA, specialTTL*time.Second), A: []byte{127, 0, 0, 1}})
			authority = nil
		case typeAAAA:
			chain = append(chain, &dns.AAAA{Hdr: m.header(text, typeAAAA, specialTTL*time.Second), AAAA: netip.IPv6Loopback().AsSlice()})
			authority = nil
		}
	case z.kind == zoneReverse:
		if a, is := reverseAddr(name); is && a.IsLoopback() && (a.Is6() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1})) && (q.qtype == typePTR || q.qtype == typeAny) {
			chain = append(chain, &dns.PTR{Hdr: m.header(text, typePTR, specialTTL*time.Second), Ptr: "localhost."})
			code, authority = codeSuccess, nil
		} else if !is && labels(name) < reverseLabels(name) {
			code = codeSuccess // part of an address: there may be names below
		}
	case z.kind == zoneNoData, z.kind == zoneDomain && apex:
		code = codeSuccess
	}
	if apex && q.qtype == typeSOA && code == codeSuccess {
		chain, authority = append(chain, authority...), nil
	}
	e := m.compose(q, code, chain, authority)
	if authority != nil {
		e.reason = z.reason
	}
	return e
}

// soa is the record that tells how long a client may remember that there is nothing (RFC 2308 section 3).
func (m *Machine) soa(z *zone) []dns.RR {
	ttl := m.cfg.LocalTTL
	if z.kind == zoneNoName || z.kind == zoneNoData || z.kind == zoneLocalhost {
		ttl = specialTTL * time.Second
	}
	h := m.header(z.name, typeSOA, ttl)
	return []dns.RR{&dns.SOA{Hdr: h, Ns: z.name, Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: h.Ttl}}
}

// compose makes an answer of records; a failure if they fit no message.
func (m *Machine) compose(q *question, code int, answer, authority []dns.RR) *entry {
	msg := dns.Msg{Compress: true}
	msg.Response, msg.RecursionAvailable, msg.Authoritative, msg.Rcode = true, true, true, code
	msg.Question = []dns.Question{{Name: textName(string(q.name)), Qtype: q.qtype, Qclass: classIN}}
	msg.Answer, msg.Ns = answer, authority
	if wire, err := msg.Pack(); err == nil && len(wire) <= maxMessage {
		if e, ok := newEntry(wire, headerLen+len(q.raw), q.qtype, q.bits); ok {
			e.local = m.names.version
			return e
		}
	}
	e := bareEntry(q.name, q.qtype, q.bits, codeFailure)
	e.local, e.reason = m.names.version, ReasonTooLong
	return e
}

// bareEntry is an answer without records.
func bareEntry(name []byte, qtype uint16, b bits, code int) *entry {
	wire := make([]byte, headerLen, headerLen+len(name)+questionTail)
	put16(wire, atFlags, flagResponse|flagAvailable|uint16(code))
	put16(wire, atQuestions, 1)
	wire = append(append(wire, name...), byte(qtype>>8), byte(qtype), 0, classIN)
	return &entry{qtype: qtype, bits: b, wire: wire}
}

// varies reports whether a local answer is another one for each asker: one with several addresses.
func (e *entry) varies() bool { return get16(e.wire, atAnswers) > 1 }

const (
	reverse4 = "\x07in-addr\x04arpa\x00"
	reverse6 = "\x03ip6\x04arpa\x00"
)

// reverseLabels is how many labels the reverse name of an address has.
func reverseLabels(name []byte) int {
	if strings.HasSuffix(string(name), reverse6) {
		return 34
	}
	return 6
}

// reverseAddr is the address that a reverse name is of.
func reverseAddr(name []byte) (a netip.Addr, ok bool) {
	if rest, is := strings.CutSuffix(string(name), reverse4); is {
		var b [4]byte
		for i := range b {
			if len(rest) == 0 || 1+int(rest[0]) > len(rest) {
				return a, false
			}
			label := rest[1 : 1+int(rest[0])]
			n, err := strconv.ParseUint(label, 10, 8)
			if err != nil || label[0] == '0' && len(label) > 1 {
				return a, false
			}
			b[3-i], rest = byte(n), rest[1+int(rest[0]):]
		}
		return netip.AddrFrom4(b), rest == ""
	}
	if rest, is := strings.CutSuffix(string(name), reverse6); is && len(rest) == 64 {
		var digits [32]byte
		for i := range digits {
			if rest[2*i] != 1 {
				return a, false
			}
			digits[31-i] = rest[2*i+1]
		}
		var b [16]byte
		if _, err := hex.Decode(b[:], digits[:]); err != nil {
			return a, false
		}
		return netip.AddrFrom16(b), true
	}
	return a, false
}
