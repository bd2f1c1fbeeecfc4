package router

import (
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/internal/simhost"
)

// limited is a router between two networks that owes nobody more than five errors a second.
const limited = `name: r1
ports:
  lan1: {address: 10.1.0.1/24}
  lan2: {address: 10.2.0.1/24}
icmp: {rate: 1000, per_destination: 5}
`

// unreachables collects the ICMP errors that a host gets.
func unreachables(h *simhost.Host) <-chan packet.IPv4 {
	seen := make(chan packet.IPv4, 1024)
	h.OnFrame(func(f []byte) bool {
		if packet.Ethernet(f).Type() != packet.EtherTypeIPv4 {
			return false
		}
		ip := append(packet.IPv4{}, f[packet.EthernetLen:]...)
		if ip.Protocol() == packet.ProtoICMP && packet.ICMP(ip.Payload()).IsError() {
			seen <- ip
		}
		return false
	})
	return seen
}

// The errors of the router as a host obey the same limits as those of the packet path.
func TestRefusalsOfClosedPortsAreLimited(t *testing.T) {
	l := run(t, twoHosts(), limited)
	a := l.host("lan1")
	l.pings(a, "10.1.0.1")
	seen := unreachables(a)
	begun := time.Now()
	for range 300 {
		a.SendPacket(probe(a, "10.1.0.1", 64)) // nothing listens at its port
	}
	eventually(t, "all are served", func() bool {
		return l.counter("icmp_errors_sent")+l.counter("icmp_errors_limited")+l.dropped("punt_queue") == 300
	})
	most := 5 * (1 + int(time.Since(begun)/time.Second) + 1)
	l.pings(a, "10.1.0.1") // behind everything that was sent before
	if n := len(seen); n == 0 || n > most {
		t.Errorf("%d port unreachables came, expected 1 to %d", n, most)
	}
	l.pings(a, "10.2.0.2")
}

// So do its resets: whoever forges the source of a segment is no better off for the router's help.
func TestResetsOfNoConnectionAreLimited(t *testing.T) {
	for _, flags := range []uint8{packet.TCPAck, packet.TCPSyn, packet.TCPSyn | packet.TCPAck} {
		l := run(t, twoHosts(), limited)
		a := l.host("lan1")
		l.pings(a, "10.1.0.1")
		seen := taken(a, ofProtocol(packet.ProtoTCP))
		begun := time.Now()
		for range 300 {
			a.SendPacket(tcp("10.1.0.2:5000", "10.1.0.1:9", flags))
		}
		eventually(t, "all are served", func() bool {
			return l.counter("icmp_errors_sent")+l.counter("icmp_errors_limited")+l.dropped("punt_queue") == 300
		})
		most := 5 * (1 + int(time.Since(begun)/time.Second) + 1)
		l.pings(a, "10.1.0.1") // behind everything that was sent before
		if n := len(seen); n == 0 || n > most {
			t.Errorf("flags %#x: %d resets came, expected 1 to %d", flags, n, most)
		}
	}
}

func TestFragmentsThatNeverMakeAWholeAreAnsweredFromTheirDestination(t *testing.T) {
	l := run(t, twoHosts(), two)
	a := l.host("lan2")
	l.pings(a, "10.1.0.1")
	seen := unreachables(a)
	first := packet.IPv4(probe(a, "10.2.0.1", 64))
	first.SetFlagsFragment(packet.FlagMF)
	first.UpdateHeaderChecksum()
	a.SendPacket(first)
	eventually(t, "the fragment waits", func() bool {
		waiting := 0
		l.do(func() { waiting = l.pieces.Waiting() })
		return waiting == 1
	})
	l.do(func() { l.expireFragments(time.Now().Add(31 * time.Second)) })
	select {
	case ip := <-seen:
		m := packet.ICMP(ip.Payload())
		if m.Type() != packet.ICMPTimeExceeded || m.Code() != packet.ICMPReassembly {
			t.Errorf("type %d, code %d", m.Type(), m.Code())
		}
		if ip.Src() != first.Dst() {
			t.Errorf("the error comes from %v, expected %v", ip.Src(), first.Dst())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no time exceeded")
	}
}

// Whoever gets the answer to a change finds it in force.
func TestAChangeIsInForceWhenItIsAnswered(t *testing.T) {
	l := run(t, twoHosts(), two)
	for i := range 200 {
		on := i%2 == 0
		text := two
		if on {
			text += "forwarding: {class_e: true}\n"
		}
		l.apply(text)
		if got := l.dp.Tables().ClassE; got != on {
			t.Fatalf("change %d: the packet path has class E %v, expected %v", i, got, on)
		}
	}
}
