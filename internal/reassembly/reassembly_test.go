package reassembly

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fragment builds one, with a header of hl octets.
func fragment(id uint16, offset int, more bool, data []byte, tos uint8, hl int) []byte {
	p := packet.IPv4(make([]byte, hl, hl+len(data)))
	p[0] = 0x40 | byte(hl/4)
	p.SetTOS(tos)
	p.SetTotalLen(hl + len(data))
	p.SetID(id)
	f := uint16(offset / 8)
	if more {
		f |= packet.FlagMF
	}
	p.SetFlagsFragment(f)
	p.SetTTL(64)
	p.SetProtocol(packet.ProtoUDP)
	p.SetSrc(0x0a000002)
	p.SetDst(0x0a000001)
	for i := 20; i < hl; i++ {
		p[i] = 1
	}
	p.UpdateHeaderChecksum()
	return append(p, data...)
}

func frag(id uint16, offset int, more bool, data []byte) []byte {
	return fragment(id, offset, more, data, 0, 20)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func expect(t *testing.T, m *Machine, ip []byte, want Verdict) []byte {
	t.Helper()
	whole, v := m.Add(start, ip)
	if v != want {
		t.Fatalf("the verdict is %v, want %v", v, want)
	}
	if (whole != nil) != (v == Whole) {
		t.Fatalf("the verdict %v comes with %d octets", v, len(whole))
	}
	return whole
}

func TestFragmentsInAnyOrderGiveTheDatagram(t *testing.T) {
	data := pattern(4001)
	for seed := range uint64(50) {
		m := New(Config{})
		rnd := rand.New(rand.NewPCG(seed, 1))
		var parts [][]byte
		for off := 0; off < len(data); {
			n := min((1+rnd.IntN(150))*8, len(data)-off)
			parts = append(parts, fragment(7, off, off+n < len(data), data[off:off+n], 0, 20+4*rnd.IntN(3)))
			off += n
		}
		first := bytes.Clone(parts[0])
		rnd.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		for _, p := range parts[:len(parts)-1] {
			expect(t, m, p, Held)
			expect(t, m, p, Duplicate)
		}
		whole := packet.IPv4(expect(t, m, parts[len(parts)-1], Whole))
		if whole.Validate() != packet.HeaderGood || whole.IsFragment() || whole.TotalLen() != len(whole) ||
			!bytes.Equal(whole.Payload(), data) || whole.HeaderLen() != packet.IPv4(first).HeaderLen() {
			t.Fatalf("seed %d: the datagram is wrong", seed)
		}
		if m.Waiting() != 0 || m.Bytes() != 0 || !m.Next().IsZero() {
			t.Fatalf("seed %d: %d datagrams with %d octets are left", seed, m.Waiting(), m.Bytes())
		}
	}
}

func TestAPacketThatIsNoFragmentComesBackWithoutPadding(t *testing.T) {
	ip := frag(1, 0, false, []byte("hello"))
	if got := expect(t, New(Config{}), append(bytes.Clone(ip), 0, 0, 0), Whole); !bytes.Equal(got, ip) {
		t.Errorf("it is %x, want %x", got, ip)
	}
}

func TestDatagramsAreKeptApart(t *testing.T) {
	m := New(Config{})
	expect(t, m, frag(1, 0, true, pattern(8)), Held)
	expect(t, m, frag(2, 8, false, pattern(8)), Held)
	other := packet.IPv4(frag(1, 8, false, pattern(8)))
	other.SetProtocol(packet.ProtoICMP)
	other.UpdateHeaderChecksum()
	expect(t, m, other, Held)
	other.SetProtocol(packet.ProtoUDP)
	other.SetSrc(0x0a000003)
	other.UpdateHeaderChecksum()
	expect(t, m, other, Held)
	expect(t, m, frag(1, 8, false, pattern(8)), Whole)
	if m.Waiting() != 3 {
		t.Errorf("%d wait, want 3", m.Waiting())
	}
}

func TestAnOverlapGivesUpTheDatagramAndWhatFollows(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  []byte
		want Verdict
	}{
		{"over the end of a fragment", frag(1, 8, true, pattern(16)), Overlap},
		{"over the start of a fragment", frag(1, 24, true, pattern(16)), Overlap},
		{"inside a fragment", frag(1, 32, true, pattern(8)), Overlap},
		{"around a fragment", frag(1, 24, true, pattern(80)), Overlap},
		{"same place, other data", frag(1, 0, true, make([]byte, 16)), Overlap},
		{"same place, now the last", frag(1, 32, false, pattern(16)), Overlap},
		{"an end before the last fragment", frag(1, 16, false, pattern(3)), Inconsistent},
	} {
		m := New(Config{})
		expect(t, m, frag(1, 0, true, pattern(16)), Held)
		expect(t, m, frag(1, 32, true, pattern(16)), Held)
		if _, v := m.Add(start, c.bad); v != c.want {
			t.Errorf("%s: the verdict is %v, want %v", c.name, v, c.want)
		}
		expect(t, m, frag(1, 16, true, pattern(16)), GivenUp)
		if m.Bytes() != datagramCost {
			t.Errorf("%s: %d octets are held", c.name, m.Bytes())
		}
		if got := m.Expire(start.Add(time.Minute)); len(got) != 0 || m.Waiting() != 0 || m.Bytes() != 0 {
			t.Errorf("%s: after its time it still is there, or is reported: %x", c.name, got)
		}
	}
}

func TestWhatContradictsAKnownEndGivesUpTheDatagram(t *testing.T) {
	for _, bad := range [][]byte{frag(1, 48, true, pattern(8)), frag(1, 48, false, pattern(8)), frag(1, 8, false, pattern(8))} {
		m := New(Config{})
		expect(t, m, frag(1, 32, false, pattern(5)), Held)
		expect(t, m, bad, Inconsistent)
	}
}

func TestImpossibleFragmentsAreRefusedAlone(t *testing.T) {
	m := New(Config{})
	expect(t, m, frag(1, 0, true, pattern(8)), Held)
	expect(t, m, frag(1, 8, true, pattern(7)), BadLength)
	expect(t, m, frag(1, 8, true, nil), BadLength)
	expect(t, m, frag(1, 8, false, nil), BadLength)
	expect(t, m, frag(1, 65528, false, pattern(8)), TooLong)
	expect(t, m, []byte("nonsense"), Malformed)
	expect(t, m, frag(1, 8, false, pattern(7)), Whole)
}

func TestTheLongestDatagramIsTakenAndNothingLonger(t *testing.T) {
	for _, c := range []struct {
		hl   int
		want Verdict
	}{{20, Whole}, {24, TooLong}} { // options of the first fragment count
		m := New(Config{})
		expect(t, m, frag(1, 32768, false, pattern(65535-20-32768)), Held)
		expect(t, m, fragment(1, 0, true, pattern(32768), 0, c.hl), c.want)
	}
}

func TestTimeRunsFromTheFirstFragmentAndTheFirstIsQuoted(t *testing.T) {
	m := New(Config{})
	first := frag(1, 0, true, pattern(24))
	expect(t, m, first, Held)
	if _, v := m.Add(start.Add(20*time.Second), frag(1, 48, true, pattern(8))); v != Held {
		t.Fatal(v)
	}
	if _, v := m.Add(start.Add(time.Second), frag(2, 8, true, pattern(8))); v != Held {
		t.Fatal(v)
	}
	if got := m.Next(); !got.Equal(start.Add(30 * time.Second)) {
		t.Errorf("next is %v after the start, want 30 s", got.Sub(start))
	}
	if got := m.Expire(start.Add(30*time.Second - 1)); got != nil || m.Waiting() != 2 {
		t.Errorf("something expired too early: %x", got)
	}
	got := m.Expire(start.Add(30 * time.Second))
	if len(got) != 1 || !bytes.Equal(got[0], first) {
		t.Errorf("expired %x, want %x", got, first)
	}
	if got := m.Expire(start.Add(time.Minute)); got != nil {
		t.Errorf("without the first fragment nothing may be quoted, but %x is", got)
	}
	if m.Count(TimedOut) != 2 || m.Bytes() != 0 {
		t.Errorf("%d timed out with %d octets left", m.Count(TimedOut), m.Bytes())
	}
}

func TestCongestionMarksAreMerged(t *testing.T) {
	m := New(Config{})
	expect(t, m, fragment(1, 0, true, pattern(8), 0xb8|2, 20), Held)
	if whole := packet.IPv4(expect(t, m, fragment(1, 8, false, pattern(8), 0xb8|3, 20), Whole)); whole.TOS() != 0xb8|3 {
		t.Errorf("the type of service is %#x, want congestion marked", whole.TOS())
	}
	expect(t, m, fragment(2, 0, true, pattern(8), 0, 20), Held)
	expect(t, m, fragment(2, 8, false, pattern(8), 3, 20), BadECN)
}

func TestTheBoundsAreFourMebibytesAndThirtySeconds(t *testing.T) {
	m := New(Config{})
	most := 0
	for i := range 10000 { // each first fragment is a datagram of its own
		m.Add(start, frag(uint16(i), 0, true, pattern(1024)))
		most = max(most, m.Bytes())
	}
	if limit := 4 << 20; most > limit || most < limit-4096 {
		t.Errorf("%d octets were held at the most, the bound is %d", most, limit)
	}
	if got := m.Next(); !got.Equal(start.Add(30 * time.Second)) {
		t.Errorf("the first is due %v after it came, expected 30 s", got.Sub(start))
	}
}

func TestFragmentsOfOneDatagramAreBounded(t *testing.T) {
	m := New(Config{MaxFragments: 3})
	for i := range 3 {
		expect(t, m, frag(1, 16*i, true, pattern(8)), Held)
	}
	expect(t, m, frag(1, 48, true, pattern(8)), TooMany)
}

func TestAFloodThatNeverCompletesTakesBoundedMemory(t *testing.T) {
	const limit = 64 << 10
	m := New(Config{MaxBytes: limit})
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 50000 {
		m.Add(start, frag(uint16(rnd.IntN(5000)), 8*rnd.IntN(4000), true, pattern(8*(1+rnd.IntN(180)))))
		if m.Bytes() > limit {
			t.Fatalf("after %d fragments %d octets are held, the limit is %d", i, m.Bytes(), limit)
		}
	}
	sum := 0
	for _, d := range m.datagrams {
		c := datagramCost
		for _, x := range d.pieces {
			c += fragmentCost + len(x.data)
		}
		sum += c + len(d.header)
	}
	if sum != m.Bytes() || m.order.Len() != len(m.datagrams) {
		t.Errorf("%d octets are held and %d are charged", sum, m.Bytes())
	}
	if m.Count(Evicted) == 0 {
		t.Error("nothing was evicted")
	}
	// The newest still gets through.
	expect(t, m, frag(60000, 0, true, pattern(1480)), Held)
	expect(t, m, frag(60000, 1480, false, pattern(20)), Whole)
}

// A flood from one source pushes out its own: what another source has begun stays, up to its share.
func TestAFloodFromOneSourceLeavesOthersTheirShare(t *testing.T) {
	m := New(Config{MaxBytes: 64 << 10})
	flood := func(from uint32, n int) {
		for i := range n {
			f := packet.IPv4(frag(uint16(i), 0, true, pattern(64)))
			f.SetSrc(packet.Addr(from))
			f.UpdateHeaderChecksum()
			if _, v := m.AddFrom(start, from, f); v != Held && v != Duplicate {
				t.Fatalf("fragment %d of source %d: %v", i, from, v)
			}
		}
	}
	flood(1, 1000)
	if free := 64<<10 - m.Bytes(); free > 1000 {
		t.Errorf("one source alone has not all the memory: %d octets are free", free)
	}
	const some = 20
	flood(2, some)
	flood(1, 1000)
	flood(3, 1000)
	flood(1, 1000)
	done := 0
	for i := range some {
		f := packet.IPv4(frag(uint16(i), 64, false, pattern(8)))
		f.SetSrc(2)
		f.UpdateHeaderChecksum()
		if _, v := m.AddFrom(start, 2, f); v == Whole {
			done++
		}
	}
	if done != some {
		t.Errorf("%d of %d datagrams of the quiet source were completed", done, some)
	}
	if m.Expire(start.Add(time.Minute)); m.Bytes() != 0 || len(m.sources) != 0 {
		t.Errorf("%d octets of %d sources are left", m.Bytes(), len(m.sources))
	}
}

func TestADatagramLargerThanTheMemoryIsGivenUp(t *testing.T) {
	m := New(Config{MaxBytes: 4000})
	expect(t, m, frag(1, 0, true, pattern(1480)), Held)
	expect(t, m, frag(1, 1480, true, pattern(1480)), Held)
	expect(t, m, frag(1, 2960, true, pattern(1480)), Full)
	expect(t, New(Config{MaxBytes: 100}), frag(1, 0, true, pattern(8)), Full)
}

func TestVerdictsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Verdicts() {
		if v.String() == "" || seen[v.String()] {
			t.Errorf("verdict %d is called %q", v, v)
		}
		seen[v.String()] = true
	}
	if Held.Lost() || !Overlap.Lost() || Verdict(99).String() != "unknown" {
		t.Error("the order of the verdicts is wrong")
	}
}

// twin is the slow and obvious one: an owner for every octet.
type twin struct {
	frags [][]byte
	dead  bool
}

func (w *twin) add(ip []byte) ([]byte, Verdict) {
	if w.dead {
		return nil, GivenUp
	}
	p := packet.IPv4(ip)
	var owned [70000]bool
	end := -1
	highest := 0
	for _, f := range w.frags {
		q := packet.IPv4(f)
		if bytes.Equal(q.Payload(), p.Payload()) && q.FlagsFragment() == p.FlagsFragment() {
			return nil, Duplicate
		}
		for i := range q.Payload() {
			owned[q.FragmentOffset()+i] = true
		}
		highest = max(highest, q.FragmentOffset()+len(q.Payload()))
		if !q.MoreFragments() {
			end = q.FragmentOffset() + len(q.Payload())
		}
	}
	mine := p.FragmentOffset() + len(p.Payload())
	for i := p.FragmentOffset(); i < mine; i++ {
		if owned[i] {
			w.dead = true
			return nil, Overlap
		}
	}
	if end >= 0 && (!p.MoreFragments() || mine > end) || !p.MoreFragments() && highest > mine {
		w.dead = true
		return nil, Inconsistent
	}
	w.frags = append(w.frags, bytes.Clone(ip))
	if !p.MoreFragments() {
		end = mine
	}
	if end < 0 {
		return nil, Held
	}
	payload := make([]byte, end)
	n := 0
	for _, f := range w.frags {
		q := packet.IPv4(f)
		n += copy(payload[q.FragmentOffset():], q.Payload())
	}
	if n < end {
		return nil, Held
	}
	w.frags = nil
	return payload, Whole
}

// Each four octets of the input are a fragment: offset, length, flags and data.
func FuzzReassemblyEqualsTheTwin(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 1, 1, 0, 0})
	f.Add([]byte{1, 1, 0, 0, 0, 1, 1, 0})
	f.Add([]byte{0, 2, 1, 0, 1, 2, 1, 0, 3, 1, 0, 0})
	f.Add([]byte{0, 2, 1, 0, 0, 2, 1, 0, 2, 1, 0x10, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		m, twins := New(Config{}), [2]twin{}
		for len(script) >= 4 {
			word := binary.BigEndian.Uint32(script)
			script = script[4:]
			offset, n, id := int(word>>24%16)*8, int(word>>16&7)*8, uint16(word>>4&1)
			more := word>>8&1 != 0
			if !more {
				n += int(word >> 12 & 7)
			}
			if n == 0 || offset == 0 && !more {
				continue
			}
			ip := frag(id, offset, more, bytes.Repeat([]byte{byte(word & 3)}, n))
			got, v := m.Add(start, ip)
			want, w := twins[id].add(ip)
			if v != w {
				t.Fatalf("fragment at %d of %d octets, more=%v: %v, the twin says %v", offset, n, more, v, w)
			}
			if v == Whole && (!bytes.Equal(packet.IPv4(got).Payload(), want) || packet.IPv4(got).Validate() != packet.HeaderGood) {
				t.Fatalf("the datagram is %x, want the payload %x", got, want)
			}
		}
	})
}

// Any octets: no panic, no memory beyond the limit, and what is whole is a good packet.
func FuzzAnything(f *testing.F) {
	f.Add(frag(1, 0, true, pattern(8)), frag(1, 8, false, pattern(8)))
	f.Add(frag(1, 65528, true, pattern(8)), fragment(1, 0, true, pattern(8), 3, 60))
	f.Add([]byte{}, []byte{0x4f})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		m := New(Config{MaxBytes: 2048})
		for i, given := range [][]byte{a, b, a, b} {
			raw := bytes.Clone(given)
			if p := packet.IPv4(raw); len(raw) >= 20 && p.HeaderLen() >= 20 && p.HeaderLen() <= len(raw) {
				raw[0] = 0x40 | raw[0]&0xf
				p.SetTotalLen(len(raw))
				p.UpdateHeaderChecksum()
			}
			now := start.Add(time.Duration(i) * 11 * time.Second)
			m.Expire(now)
			whole, v := m.Add(now, raw)
			if v == Whole && (packet.IPv4(whole).Validate() != packet.HeaderGood || packet.IPv4(whole).IsFragment()) {
				t.Fatalf("%x is called whole", whole)
			}
			if m.Bytes() > 2048 || m.Bytes() < 0 {
				t.Fatalf("%d octets are held", m.Bytes())
			}
		}
		m.Expire(start.Add(time.Hour))
		if m.Bytes() != 0 || m.Waiting() != 0 {
			t.Fatalf("%d octets are left at the end", m.Bytes())
		}
	})
}
