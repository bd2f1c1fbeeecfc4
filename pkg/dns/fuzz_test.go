package dns

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzNames holds the reading of names against the library's.
func FuzzNames(f *testing.F) {
	head := make([]byte, 12)
	f.Add(append(head, 3, 'w', 'w', 'w', 0), 12)
	f.Add(append(head, 1, 'A', 0xc0, 16, 1, 'b', 0, 0xc0, 12), 19)
	f.Add(append(head, 0xc0, 12), 12)
	f.Add(append(head, 0xc0, 14, 0xc0, 12), 14)
	f.Add(append(head, bytes.Repeat([]byte{63}, 300)...), 12)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		if at < 0 || at > len(b) || len(b) > 4096 {
			return
		}
		next, ok := skipName(b, at, nil)
		if !ok {
			return
		}
		theirs, end, err := dns.UnpackDomainName(b, at)
		if err != nil || end != next {
			t.Fatalf("read a name up to %d; the library: up to %d, %v", next, end, err)
		}
		name := appendName(nil, b, at)
		if len(name) > maxName || name[len(name)-1] != 0 {
			t.Fatalf("the name is %x", name)
		}
		if again, ok := skipName(append(make([]byte, 12), name...), 12, nil); !ok || again != 12+len(name) {
			t.Fatalf("the name %x cannot be read again", name)
		}
		if text := textName(string(name)); text != strings.ToLower(theirs) && !strings.Contains(theirs, `\`) {
			t.Fatalf("the name is %s, the library's %s", text, theirs)
		}
		if wire, ok := wireName(textName(string(name))); !ok || wire != string(name) {
			t.Fatalf("%x as text is %s, and that %x", name, textName(string(name)), wire)
		}
		if n := labels(name); n != dns.CountLabel(theirs) {
			t.Fatalf("%s has %d labels", theirs, n)
		}
	})
}

// FuzzQuery gives any message as a client's: it is answered once, dropped for a reason, or asked upstream; the same from the fast path.
func FuzzQuery(f *testing.F) {
	for _, words := range []string{"www.example.com A", "printer A do", "nas.home.arpa ANY edns 512", "www.home.arpa A cd ad", "5.1.168.192.in-addr.arpa PTR norec", ". NS"} {
		f.Add(packed(f, message(words)), false)
		f.Add(packed(f, message(words)), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, stream bool) {
		if len(b) > maxMessage {
			return
		}
		s := newStation(t, records())
		s.step(lease("192.168.1.5", "printer"))
		c := s.sends("192.168.1.100:5000", stream, b)
		if asked := s.asks(); len(asked) > 0 {
			a := asked[0]
			if s.got[c] != nil || s.lost[c] != ReasonNone {
				t.Fatal("a question that went upstream has its answer already")
			}
			m := new(dns.Msg)
			if err := m.Unpack(a.Payload); err != nil || len(m.Question) != 1 {
				t.Fatalf("asked %x: %v", a.Payload, err)
			}
			reply := append([]byte{}, a.Payload...)
			reply[2] |= 0x80
			s.step(Reply{Ask: a.ID, From: a.Server, Payload: reply})
		}
		got, why := s.got[c], s.lost[c]
		if (got == nil) == (why == ReasonNone) {
			t.Fatalf("answered with %x and dropped for %v", got, why)
		}
		if got == nil {
			return
		}
		var q question
		q.read(b, stream)
		if get16(got, atID) != get16(b, atID) || got[2]&0x80 == 0 || len(got) > q.size || got[2]&0x79 != b[2]&0x79 {
			t.Fatalf("%x was answered with %x", b, got)
		}
		if q.raw != nil && !bytes.HasPrefix(got[headerLen:], q.raw) {
			t.Fatalf("%x was answered with %x: that repeats another question", b, got)
		}
		if m := new(dns.Msg); m.Unpack(got) != nil && q.raw == nil {
			t.Fatalf("%x cannot be read", got)
		}
		ev := Query{Client: 9, From: at("192.168.1.100:5000"), Stream: stream, Payload: b}
		if fast, done := s.m.Quick(s.now, &ev); done && !bytes.Equal(fast, got) {
			t.Fatalf("answered with %x, and then %x", got, fast)
		}
		checkWhole(t, s.m)
	})
}

// FuzzReply gives any message as an upstream's, with the right number and question: what is passed on is sound, and passed on again it is the same.
func FuzzReply(f *testing.F) {
	s := newStation(&testing.T{}, one())
	s.ask("www.example.com A")
	a := s.only()
	tail := headerLen + 17 + questionTail
	for _, records := range [][]string{
		{"www.example.com. 300 A 192.0.2.1", "www.example.com. 300 A 192.168.1.1"},
		{"www.example.com. 300 CNAME a.example.com.", "a.example.com. 300 AAAA ::1", "authority", "example.com. 3600 SOA ns.example.com. root.example.com. 1 2 3 4 5", "additional", "ns.example.com. 1 A 192.0.2.2"},
		{"www.example.com. 300 HTTPS 1 . alpn=h2 ipv4hint=192.168.1.1", "www.example.com. 300 MX 10 mail.example.com.", "www.example.com. 0 SRV 1 2 3 x.example.com.", `www.example.com. 300 TYPE65000 \# 2 c00c`},
		{"authority", "example.com. 300 NS ns.example.com."},
	} {
		b := packed(f, reply(f, a, 0, records...))
		f.Add(b[2:12], b[tail:])
	}
	f.Add([]byte{0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, []byte{0xc0, 33, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		if len(head) != 10 || len(rest) > maxMessage-tail {
			return
		}
		for _, words := range []string{"www.example.com A edns 1232", "www.home.arpa A"} {
			c := records()
			c.RebindProtection = len(rest)%2 == 0
			c.Records[len(c.Records)-1].CNAME = "www.example.com"
			s := newStation(t, c)
			client := s.sends("192.168.1.100:5000", true, packed(t, message(words)))
			a := s.only()
			b := append([]byte{}, a.Payload[:tail]...)
			copy(b[2:], head)
			b = append(b, rest...)
			s.step(Reply{Ask: a.ID, From: a.Server, Payload: b})
			checkWhole(t, s.m)
			for _, r := range s.kept("") {
				r.Records(4)
				r.State()
			}
			got := s.got[client]
			if got == nil {
				continue // not believed, or asked again in another way
			}
			if e, ok := newEntry(bytes.Clone(got), questionEnd(got), typeA, 0); !ok || len(e.wire) != len(got) {
				t.Fatalf("%x was passed on as %x", b, got)
			}
			if words == "www.home.arpa A" || got[3]&maskCode == codeFailure || got[3]&maskCode == codeRefused {
				continue
			}
			again := newStation(t, c)
			client = again.sends("192.168.1.100:5000", true, packed(t, message(words)))
			a = again.only()
			second := bytes.Clone(got)
			copy(second, a.Payload[:2])
			again.step(Reply{Ask: a.ID, From: a.Server, Payload: second})
			if !bytes.Equal(again.got[client], got) {
				t.Fatalf("%x was passed on as %x, and that as %x", b, got, again.got[client])
			}
		}
	})
}

func questionEnd(b []byte) int {
	next, _ := skipName(b, headerLen, nil)
	return next + questionTail
}

// FuzzCut cuts any message that is sound to any size.
func FuzzCut(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := newStation(&testing.T{}, one())
	s.ask("www.example.com A")
	b := packed(f, reply(f, s.only(), 0, "www.example.com. 300 A 192.0.2.1", "www.example.com. 300 A 192.0.2.2", "authority", "example.com. 300 NS ns.example.com."))
	for range 4 {
		f.Add(b, 512+rng.IntN(100))
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if size < 300 || size > maxMessage || len(b) > maxMessage || len(b) < headerLen || get16(b, atQuestions) != 1 {
			return
		}
		next, ok := skipName(b, headerLen, nil)
		if !ok || next+questionTail > len(b) {
			return
		}
		for _, c := range b[headerLen:next] {
			if c >= pointer {
				return
			}
		}
		e, ok := newEntry(bytes.Clone(b), next+questionTail, typeA, 0)
		if !ok {
			return
		}
		out, truncated := e.appendAnswer(nil, &asker{raw: b[headerLen : next+questionTail], size: size, edns: true}, 0)
		if len(out) > size {
			t.Fatalf("%d octets, of %d", len(out), size)
		}
		if again, ok := newEntry(bytes.Clone(out), next+questionTail, typeA, 0); !ok || len(again.wire) != len(out) {
			t.Fatalf("%x was cut to %x", b, out)
		}
		if whole := int(get16(b, atAnswers)) + int(get16(b, atAuthority)); truncated != (int(get16(out, atAnswers))+int(get16(out, atAuthority)) < whole) {
			t.Fatalf("%x was cut to %x, truncated: %v", b, out, truncated)
		}
	})
}
