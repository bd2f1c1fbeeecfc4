package dns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"vrouterd/internal/packet"
)

// station is a forwarder under test with its virtual clock. Messages go in and come out as text.
type station struct {
	t    *testing.T
	m    *Machine
	now  time.Time
	last ClientID
	open map[AskID]Ask       // with payloads of their own
	got  map[ClientID][]byte // answers
	lost map[ClientID]Reason
	down []UpstreamEvent
}

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newStation(t *testing.T, c Config) *station {
	return &station{
		t: t, m: New(c, rand.New(rand.NewChaCha8([32]byte{1}))), now: start,
		open: map[AskID]Ask{}, got: map[ClientID][]byte{}, lost: map[ClientID]Reason{},
	}
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// one is a configuration with one upstream server.
func one() Config {
	return Config{Domain: "home.arpa", Upstreams: []Upstream{{Servers: []netip.AddrPort{at("9.9.9.9:53")}}}}
}

// two has two upstream servers.
func two() Config {
	return Config{Domain: "home.arpa", Upstreams: []Upstream{{Servers: []netip.AddrPort{at("9.9.9.9:53"), at("1.1.1.1:53")}}}}
}

func (s *station) step(ev Event) {
	for _, a := range s.m.Step(s.now, ev) {
		switch a := a.(type) {
		case Answer:
			if s.got[a.Client] != nil || s.lost[a.Client] != 0 {
				s.t.Fatalf("client %d is answered twice", a.Client)
			}
			s.got[a.Client] = slices.Clone(a.Payload)
		case Dropped:
			s.lost[a.Client] = a.Reason
		case Ask:
			a.Payload = slices.Clone(a.Payload)
			s.open[a.ID] = a
		case Done:
			if _, has := s.open[a.ID]; !has {
				s.t.Fatalf("ask %d is done, and was not open", a.ID)
			}
			delete(s.open, a.ID)
		case UpstreamEvent:
			s.down = append(s.down, a)
		}
	}
}

// after lets time pass, stopping at every deadline.
func (s *station) after(d time.Duration) {
	s.t.Helper()
	end := s.now.Add(d)
	for n := 0; ; n++ {
		next := s.m.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if n > 100000 {
			s.t.Fatal("the machine never comes to rest")
		}
		if next.After(s.now) {
			s.now = next
		}
		s.step(Tick{})
	}
	s.now = end
	s.step(Tick{})
}

// message is a query; its words are: name, type, then any of: do, cd, ad, norec, edns SIZE.
func message(words string) *dns.Msg {
	f := strings.Fields(words)
	m := new(dns.Msg)
	qtype, known := dns.StringToType[f[1]]
	if !known {
		fmt.Sscanf(f[1], "TYPE%d", &qtype)
	}
	m.SetQuestion(dns.Fqdn(f[0]), qtype)
	m.Id = 4711
	for i := 2; i < len(f); i++ {
		switch f[i] {
		case "do":
			m.SetEdns0(1232, true)
		case "cd":
			m.CheckingDisabled = true
		case "ad":
			m.AuthenticatedData = true
		case "norec":
			m.RecursionDesired = false
		case "edns":
			size := 0
			fmt.Sscan(f[i+1], &size)
			m.SetEdns0(uint16(size), false)
			i++
		}
	}
	return m
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatalf("packing %v: %v", m, err)
	}
	return b
}

// sends gives a client's message to the machine.
func (s *station) sends(from string, stream bool, b []byte) ClientID {
	s.t.Helper()
	s.last++
	s.step(Query{Client: s.last, Port: 1, From: at(from), Stream: stream, Payload: b})
	return s.last
}

// ask sends a query from a client of UDP; each has another port.
func (s *station) ask(words string) ClientID {
	s.t.Helper()
	return s.sends(fmt.Sprintf("192.168.1.100:%d", 20000+s.last%40000), false, packed(s.t, message(words)))
}

// answer is a client's answer as text: code, flags, then the records without TTL.
func (s *station) answer(c ClientID) string {
	s.t.Helper()
	return describe(s.message(c))
}

func (s *station) message(c ClientID) *dns.Msg {
	s.t.Helper()
	b := s.got[c]
	if b == nil {
		s.t.Fatalf("client %d has no answer; dropped: %v", c, s.lost[c])
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		s.t.Fatalf("the answer %x cannot be read: %v", b, err)
	}
	return m
}

func describe(m *dns.Msg) string {
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.AuthenticatedData, "ad"}} {
		if f.set {
			words = append(words, f.name)
		}
	}
	for _, rr := range m.Answer {
		words = append(words, recordText(rr))
	}
	for _, rr := range m.Ns {
		words = append(words, "authority", recordText(rr))
	}
	return strings.Join(words, " ")
}

func recordText(rr dns.RR) string {
	h := rr.Header()
	if soa, is := rr.(*dns.SOA); is {
		return fmt.Sprintf("%s SOA %d", h.Name, soa.Minttl)
	}
	if odd, is := rr.(*dns.RFC3597); is {
		return fmt.Sprintf("%s %v %s", h.Name, dns.Type(h.Rrtype), odd.Rdata)
	}
	return h.Name + " " + dns.Type(h.Rrtype).String() + " " + strings.ReplaceAll(strings.TrimPrefix(rr.String(), h.String()), "\t", " ")
}

// asks are the open questions, in their order.
func (s *station) asks() (all []Ask) {
	for _, a := range s.open {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Ask) int { return int(a.ID) - int(b.ID) })
	return all
}

// only is the one open question.
func (s *station) only() Ask {
	s.t.Helper()
	all := s.asks()
	if len(all) != 1 {
		s.t.Fatalf("%d questions are open, expected one", len(all))
	}
	return all[0]
}

// reply makes a message that answers an ask, of a code and records as zone files write them; those after "authority" or "additional" go there.
func reply(t testing.TB, a Ask, code int, records ...string) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(a.Payload); err != nil {
		t.Fatalf("the question %x cannot be read: %v", a.Payload, err)
	}
	m := new(dns.Msg)
	m.SetRcode(q, code)
	m.RecursionAvailable, m.Compress = true, true
	into := &m.Answer
	for _, r := range records {
		switch r {
		case "authority":
			into = &m.Ns
			continue
		case "additional":
			into = &m.Extra
			continue
		}
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		*into = append(*into, rr)
	}
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(1232, o.Do())
	}
	return m
}

// replies answers an ask from its server.
func (s *station) replies(a Ask, code int, records ...string) {
	s.t.Helper()
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(s.t, reply(s.t, a, code, records...))})
}

// expect fails unless a client's answer is the wanted one.
func (s *station) expect(c ClientID, want string) {
	s.t.Helper()
	if got := s.answer(c); got != want {
		s.t.Fatalf("client %d got\n  %s\nexpected\n  %s", c, got, want)
	}
}

// silent fails if a client has been answered.
func (s *station) silent(c ClientID) {
	s.t.Helper()
	if s.got[c] != nil {
		s.t.Fatalf("client %d has already got %s", c, s.answer(c))
	}
}

func (s *station) refused(why Reason, want uint64) {
	s.t.Helper()
	if got := s.m.Counters().Refused[why]; got != want {
		s.t.Fatalf("%v is counted %d times, expected %d", why, got, want)
	}
}

func lease(address, name string) Name {
	return Name{Source: "lease " + address, Name: name, Addr: packet.AddrFrom(netip.MustParseAddr(address))}
}
