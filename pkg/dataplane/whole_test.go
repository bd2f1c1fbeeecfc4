package dataplane

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/internal/reassembly"
)

// cut makes fragments of a packet with so many octets of payload each.
func cut(ip packet.IPv4, size int) []packet.IPv4 {
	var out []packet.IPv4
	body := ip.Payload()
	for from := 0; from < len(body); from += size {
		n := min(size, len(body)-from)
		f := append(append(packet.IPv4{}, ip.Header()...), body[from:from+n]...)
		f.SetTotalLen(len(f))
		flags := uint16(from / 8)
		if from+n < len(body) {
			flags |= packet.FlagMF
		}
		f.SetFlagsFragment(flags)
		f.UpdateHeaderChecksum()
		out = append(out, f)
	}
	return out
}

// join puts what left together again.
func join(t *testing.T, frames []sent) packet.IPv4 {
	t.Helper()
	m := reassembly.New(reassembly.Config{})
	for _, s := range frames {
		if whole, v := m.Add(time.Unix(1, 0), s.ip); v == reassembly.Whole {
			return whole
		}
	}
	t.Fatalf("%d frames make no whole packet", len(frames))
	return nil
}

func TestREQ14_FragmentsInAnyOrderAreTranslated(t *testing.T) { // RFC 4787 REQ-14
	b := newNATbed(t, natOptions{rules: masquerade()})
	r := rand.New(rand.NewPCG(1, 1))
	e := ends{inner, hostB, 5000, 53}
	seen := endsOf(b.cross(portA, udpPacket(e, nil), portB))
	for i := range 40 {
		id := func(ip packet.IPv4) packet.IPv4 { ip.SetID(uint16(100 + i)); return ip }
		there, in, out, want := udpPacket(e, numbered(4000), id), portA, portB, seen
		if i%2 == 1 {
			there, in, out, want = udpPacket(seen.back(), numbered(4000), id), portB, portA, e.back()
		}
		pieces := cut(there, 8*(50+r.IntN(130)))
		r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		for _, f := range pieces[1:] {
			b.arrive(in, f)
			b.none() // nothing leaves before all are there
		}
		b.arrive(in, pieces[0])
		got := join(t, b.all(out))
		good(t, got)
		if endsOf(got) != want || !bytes.Equal(got.Payload()[packet.UDPLen:], numbered(4000)) {
			t.Fatalf("came out as %+v", endsOf(got))
		}
	}
	if n := len(b.drops()); n != 0 {
		t.Errorf("drops: %v", b.drops())
	}
}

func TestFragmentsOpenASession(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	for _, f := range cut(echo(inner, hostB, packet.ICMPEchoRequest, 9, numbered(3000)), 1480) {
		b.arrive(portA, f)
	}
	got := join(t, b.all(portB))
	good(t, got)
	if got.Src() != wan {
		t.Errorf("left from %v", got.Src())
	}
	b.sessionsAre(1)
}

func TestFragmentsToTheRouterArriveWhole(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	for _, f := range cut(udpPacket(ends{inner, addr("10.1.0.1"), 1, 2}, numbered(3000)), 1480) {
		b.arrive(portA, f)
	}
	p := b.punt()
	if ip := packet.IPv4(p.Packet); p.Reason != PuntLocal || ip.IsFragment() || len(ip) != 3028 {
		t.Errorf("punted for %v, %d octets", p.Reason, len(p.Packet))
	}
}

func TestFragmentsInTransitAreBoundedAndCounted(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	pieces := cut(udpPacket(ends{inner, hostB, 5000, 53}, numbered(3000)), 1480)
	b.arrive(portA, pieces[0])
	overlapping := append(packet.IPv4{}, pieces[1]...)
	overlapping.SetFlagsFragment(overlapping.FlagsFragment() - 1)
	overlapping.UpdateHeaderChecksum()
	b.refused(portA, overlapping, DropFragmentLost)

	// A datagram that is never complete: its source can be told after half a minute.
	other := cut(udpPacket(ends{inner, hostB, 5001, 53}, numbered(3000), func(ip packet.IPv4) packet.IPv4 { ip.SetID(7); return ip }), 1480)
	b.arrive(portA, other[0])
	if firsts := b.d.ExpireFragments(); len(firsts) != 0 {
		t.Fatal("too early")
	}
	b.clock += 31e9
	firsts := b.d.ExpireFragments()
	if len(firsts) != 1 || endsOf(packet.IPv4(firsts[0])) != (ends{inner, hostB, 5001, 53}) {
		t.Fatalf("%d first fragments", len(firsts))
	}
	if n, octets := b.d.FragmentsWaiting(); n != 0 || octets != 0 {
		t.Errorf("%d datagrams wait, %d octets", n, octets)
	}
	if n := b.d.FragmentCount(reassembly.TimedOut); n != 2 {
		t.Errorf("%d timed out", n)
	}

	// A flood of them takes no more than its share of memory, and not what comes by another port.
	quiet := cut(udpPacket(ends{hostB, wan, 53, 5000}, numbered(3000)), 1480)
	b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB)
	b.arrive(portB, quiet[0])
	for i := range 6000 {
		f := append(packet.IPv4{}, other[0]...)
		f.SetID(uint16(i))
		f.UpdateHeaderChecksum()
		b.arrive(portA, f)
	}
	if n, octets := b.d.FragmentsWaiting(); octets > 4<<20 || n > 6000 {
		t.Errorf("%d datagrams take %d octets", n, octets)
	}
	if got, want := b.drops()[DropFragmentLost.String()], 1+2+b.d.FragmentCount(reassembly.Evicted); got != want {
		t.Errorf("%d losses counted, want %d", got, want)
	}
	b.arrive(portB, quiet[1])
	b.arrive(portB, quiet[2])
	for range quiet {
		if got, ok := b.take(portA); !ok || got.ip.Dst() != inner {
			t.Error("the quiet port's datagram was lost")
		}
	}
}
