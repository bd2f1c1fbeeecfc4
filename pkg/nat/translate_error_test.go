package nat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"vrouterd/internal/packet"
	"vrouterd/pkg/nat"
)

// icmpError builds an error from scratch that quotes the octets of inner; options are the outer header's.
func icmpError(src, dst packet.Addr, icmpType uint8, inner, options []byte) packet.IPv4 {
	at := 20 + len(options)
	b := make([]byte, at+8+len(inner))
	copy(b[20:], options)
	copy(b[at+8:], inner)
	b[0], b[8], b[9] = 0x40|byte(at/4), 60, 1
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	ip := packet.IPv4(b)
	ip.SetSrc(src)
	ip.SetDst(dst)
	twin := header.IPv4(b)
	twin.SetChecksum(^twin.CalculateChecksum())
	m := b[at:]
	m[0], m[1] = icmpType, 1
	binary.BigEndian.PutUint16(m[2:], ^checksum.Checksum(m, 0))
	return ip
}

var routerBetween = packet.Addr(0x0a636301)

// errorCase is one direction of a translation as an error in the other direction meets it.
type errorCase struct {
	name           string
	arrived, known wireFlow    // the quoted packet: as it is quoted, and as its sender sent it
	from, leaves   packet.Addr // the error's source, before and after
}

func errorCases() []errorCase {
	forwarded, dialed := wireFlow{0xcb007107, 0xc0a80105, 51000, 8080}, wireFlow{0xcb007107, 0xc6336402, 51000, 80}
	hairpin, asked := wireFlow{0xc6336402, 0xc0a80105, 4096, 8080}, wireFlow{0xc0a80107, 0xc6336402, 51000, 80}
	return []errorCase{
		{"REQ-4: from the server outside", outsideFlow, insideFlow, outsideFlow.dst, outsideFlow.dst},
		{"REQ-4: from a router outside, which keeps its address", outsideFlow, insideFlow, routerBetween, routerBetween},
		{"REQ-5: from the forwarded server inside", forwarded, dialed, forwarded.dst, dialed.dst},
		{"REQ-5c: from a router inside, which gets the outside address", forwarded, dialed, routerBetween, dialed.dst},
		{"REQ-5: from the client inside, about a reply", insideFlow.reverse(), outsideFlow.reverse(), insideFlow.src, outsideFlow.src},
		{"REQ-7: from the server behind a hairpin", hairpin, asked, hairpin.dst, asked.dst},
		{"REQ-7: from a router behind a hairpin", hairpin, asked, routerBetween, asked.dst},
	}
}

func TestRFC5508REQ4And5And7ErrorsAreTranslatedInsideAndOutside(t *testing.T) {
	for _, c := range errorCases() {
		for _, s := range translateShapes() {
			if len(s.payload) > 1000 || s.partial {
				continue
			}
			for _, length := range []int{8, 12, 18, 20, 28, 1000} {
				for _, options := range [][]byte{nil, {7, 7, 4, 0, 0, 0, 0, 0}} {
					for _, icmpType := range []uint8{3, 11, 12, 4, 5} {
						cut := func(f wireFlow) []byte {
							whole := wireDatagram(f.of(s), s)
							return whole[:min(len(whole), 20+s.options+length)]
						}
						got := icmpError(c.from, c.arrived.src, icmpType, cut(c.arrived), options)
						want := icmpError(c.leaves, c.known.src, icmpType, cut(c.known), options)
						if !nat.ErrorGood(got) {
							t.Fatal("the test's error is not good")
						}
						nat.TranslateError(got, rewriteTo(c.arrived.of(s).reverse(), c.known.of(s).reverse()))
						if !bytes.Equal(got, want) {
							t.Fatalf("%s: protocol %d, quote of %d octets:\n%x, built from scratch it is\n%x", c.name, s.protocol, length, got, want)
						}
						if !nat.ErrorGood(got) {
							t.Fatal("the translated error is not good")
						}
					}
				}
			}
		}
	}
}

// An unfinished sum is quoted as it stood: the error's own sum and the quoted header's must be right all the same.
func TestAnErrorAboutAPacketWithAnUnfinishedSumStaysGood(t *testing.T) {
	for _, s := range translateShapes() {
		inner := wireDatagram(outsideFlow.of(s), s)
		e := icmpError(routerBetween, outsideFlow.src, 3, inner[:min(len(inner), 548)], nil)
		nat.TranslateError(e, rewriteTo(outsideFlow.of(s).reverse(), insideFlow.of(s).reverse()))
		if !nat.ErrorGood(e) || e.Dst() != insideFlow.src || header.IPv4(e).CalculateChecksum() != 0xffff {
			t.Fatalf("protocol %d, partial %t: the error is no longer good", s.protocol, s.partial)
		}
	}
}

func TestRFC5508REQ3ErrorsWithWrongSumsAreNotGood(t *testing.T) {
	s := wireShape{protocol: packet.ProtoUDP, payload: []byte("x")}
	fresh := func() packet.IPv4 {
		return icmpError(routerBetween, outsideFlow.src, 3, wireDatagram(outsideFlow, s), nil)
	}
	reseal := func(e packet.IPv4) {
		m := e.Payload()
		m[2], m[3] = 0, 0
		binary.BigEndian.PutUint16(m[2:], packet.Checksum(m))
	}
	for _, c := range []struct {
		name  string
		spoil func(packet.IPv4) packet.IPv4
		good  bool
	}{
		{"as it is", func(e packet.IPv4) packet.IPv4 { return e }, true},
		{"REQ-3: the message's sum", func(e packet.IPv4) packet.IPv4 { e[len(e)-1]++; return e }, false},
		{"REQ-3a: the quoted header's sum", func(e packet.IPv4) packet.IPv4 { e[28+8]++; reseal(e); return e }, false},
		{"REQ-3c: the quoted transport sum is nobody's business", func(e packet.IPv4) packet.IPv4 { e[28+20+6]++; reseal(e); return e }, true},
		{"no message", func(e packet.IPv4) packet.IPv4 { return e[:24] }, false},
		{"no quote", func(e packet.IPv4) packet.IPv4 { e = e[:28]; reseal(e); return e }, false},
		{"a quoted header that is cut", func(e packet.IPv4) packet.IPv4 { e = e[:47]; reseal(e); return e }, false},
		{"a quoted header that lies", func(e packet.IPv4) packet.IPv4 { e[28] = 0x4f; reseal(e); return e }, false},
		{"a quote of IPv6", func(e packet.IPv4) packet.IPv4 { e[28] = 0x65; reseal(e); return e }, false},
		{"a quoted length below its header", func(e packet.IPv4) packet.IPv4 { e[30], e[31] = 0, 19; reseal(e); return e }, false},
	} {
		if got := nat.ErrorGood(c.spoil(fresh())); got != c.good {
			t.Errorf("%s: good is %t", c.name, got)
		}
	}
}

// REQ-3b is the options of quoted headers, in the table above; REQ-3d this one.
func TestRFC4884ExtensionsPassUntouched(t *testing.T) {
	s := wireShape{protocol: packet.ProtoTCP, options: 40, payload: make([]byte, 400)}
	extension := []byte{0x20, 0, 0xde, 0xad, 0, 8, 1, 1, 0, 3, 0x21, 0x40}
	build := func(f wireFlow, src, dst packet.Addr) packet.IPv4 {
		e := icmpError(src, dst, 11, append(append([]byte{}, wireDatagram(f, s)[:128]...), extension...), nil)
		m := e.Payload()
		m[5] = 32 // words of quote
		m[2], m[3] = 0, 0
		binary.BigEndian.PutUint16(m[2:], packet.Checksum(m))
		return e
	}
	got, want := build(outsideFlow, routerBetween, outsideFlow.src), build(insideFlow, routerBetween, insideFlow.src)
	nat.TranslateError(got, rewriteTo(outsideFlow.reverse(), insideFlow.reverse()))
	if !bytes.Equal(got, want) {
		t.Fatalf("got\n%x, want\n%x", got, want)
	}
}

func TestAWrongSumOfAnErrorStaysWrong(t *testing.T) {
	s := wireShape{protocol: packet.ProtoTCP, payload: []byte("abcd")}
	for _, at := range []int{21, 28 + 8, 28 + 20 + 17, 28 + 20 + 20} { // ICMP code, quoted TTL, quoted TCP sum, quoted data
		got := icmpError(routerBetween, outsideFlow.src, 3, wireDatagram(outsideFlow, s), nil)
		want := icmpError(routerBetween, insideFlow.src, 3, wireDatagram(insideFlow, s), nil)
		got[at] ^= 1
		nat.TranslateError(got, rewriteTo(outsideFlow.reverse(), insideFlow.reverse()))
		if nat.ErrorGood(got) {
			t.Errorf("octet %d: a damaged error was repaired", at)
		}
		if at != 28+20+17 { // there the quoted sum is another one
			want[at] ^= 1
			if !bytes.Equal(got, want) {
				t.Errorf("octet %d: got\n%x, want\n%x", at, got, want)
			}
		}
	}
}

func TestLyingQuotesAreNotTouchedBeyondTheirEnd(t *testing.T) {
	s := wireShape{protocol: packet.ProtoUDP, payload: []byte("tail")}
	for length := 20; length < 32; length++ {
		inner := wireDatagram(outsideFlow, s)
		inner.SetTotalLen(length)
		inner.UpdateHeaderChecksum()
		e := icmpError(routerBetween, outsideFlow.src, 3, inner, nil)
		before := bytes.Clone(e)
		nat.TranslateError(e, rewriteTo(outsideFlow.reverse(), insideFlow.reverse()))
		if !bytes.Equal(e[28+length:], before[28+length:]) {
			t.Fatalf("a quoted packet of %d octets was written beyond its end", length)
		}
		if !nat.ErrorGood(e) {
			t.Fatalf("a quoted packet of %d octets: the sums are wrong", length)
		}
	}
}

func FuzzTranslateError(f *testing.F) {
	for i, s := range translateShapes()[:30] {
		e := icmpError(routerBetween, outsideFlow.src, 3, wireDatagram(outsideFlow.of(s), s), nil)
		f.Add(uint64(i), []byte(e))
		f.Add(uint64(i), []byte(e[:28+20+8]))
		f.Add(uint64(i), []byte(e[:28+20+1]))
	}
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		if len(data) < packet.IPv4MinLen || packet.IPv4(data).HeaderLen() < packet.IPv4MinLen {
			return
		}
		r := rand.New(rand.NewPCG(seed, 2))
		// The packet's memory ends where it ends: reading beyond panics.
		e := packet.IPv4(bytes.Clone(data)[:len(data):len(data)])
		good := nat.ErrorGood(e)
		quoted := wireFlow{}
		if len(e) >= e.HeaderLen()+28 {
			inner := packet.IPv4(e.Payload()[8:])
			quoted.src, quoted.dst = inner.Src(), inner.Dst()
			at := inner.HeaderLen()
			switch {
			case inner.Protocol() == packet.ProtoICMP && len(inner) >= at+6:
				quoted.srcPort = binary.BigEndian.Uint16(inner[at+4:])
			case inner.Protocol() != packet.ProtoICMP && len(inner) >= at+4:
				quoted.srcPort, quoted.dstPort = binary.BigEndian.Uint16(inner[at:]), binary.BigEndian.Uint16(inner[at+2:])
			}
			if quoted.src != e.Dst() {
				return // nobody is told of packets that are not his
			}
		}
		known := quoted
		known.src, known.srcPort = packet.Addr(r.Uint32()), uint16(r.Uint32())
		if quoted.srcPort|quoted.dstPort == 0 {
			known.srcPort = 0
		}
		nat.TranslateError(e, rewriteTo(quoted.reverse(), known.reverse()))
		if nat.ErrorGood(e) != good {
			t.Fatalf("good before is %t, and after it %t:\n%x\n%x", good, !good, data, e)
		}
		// The way back of the identity is that of a message which travels as the sender's own packets do: its source is
		// the one that changes, so that only the source of the error must be put back by hand.
		outer := e.Src()
		nat.TranslateError(e, rewriteTo(known.reverse(), quoted.reverse()))
		if e.Src() != outer {
			t.Fatal("the outer source changed although the remote side is not translated")
		}
		if !sameModuloZero(e, data) {
			t.Fatalf("there and back is\n%x, it was\n%x", e, data)
		}
	})
}

func BenchmarkTranslateError(b *testing.B) {
	s := wireShape{protocol: packet.ProtoTCP, payload: make([]byte, 100)}
	e, back := icmpError(routerBetween, outsideFlow.src, 3, wireDatagram(outsideFlow, s), nil), rewriteTo(outsideFlow.reverse(), insideFlow.reverse())
	b.Run(fmt.Sprint(len(e)), func(b *testing.B) {
		for b.Loop() {
			nat.TranslateError(e, back)
		}
	})
}
