package dataplane

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/firewall"
)

// What comes with addresses that its sender cannot have, where NAT would lend it a way in.

func TestForgedInsideSourceFromOutsideIsOfNoSession(t *testing.T) {
	for name, rules := range map[string]*firewall.Config{"nat alone": nil, "home": home()} {
		t.Run(name, func(t *testing.T) {
			b := newNATbed(t, natOptions{rules: masquerade(), firewall: rules})
			e := ends{inner, hostB, 40000, 80}
			seen := b.connect(e, portA, portB)
			// A reset in the client's name, from the outside: the server would believe the router's address.
			b.refused(portB, tcpPacket(e, packet.TCPRst|packet.TCPAck, 101, 901, nil), DropNATUnsolicited)
			b.cross(portB, tcpPacket(seen.back(), packet.TCPAck, 901, 101, []byte("x")), portA)
			b.cross(portA, tcpPacket(e, packet.TCPAck, 101, 902, []byte("y")), portB)
			b.sessionsAre(1)
		})
	}
}

func TestForgedOwnSourceIsNotForwarded(t *testing.T) { // the host behind it would take it for the router
	for _, src := range []packet.Addr{addr("10.1.0.1"), wan} {
		b := newNATbed(t, natOptions{rules: masquerade(), forwards: web(), firewall: home()})
		b.refused(portB, tcpPacket(ends{src, wan, 3333, 80}, packet.TCPSyn, 1, 0, nil), DropSourceMartian)
		b.sessionsAre(0)
	}
}

func TestInsideCannotTakeTheRoutersPortsInItsName(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	b.refused(portA, udpPacket(ends{wan, hostB, 5000, 53}, nil), DropSourceMartian)
	if n := b.mappings.Counts().Mappings; n != 0 {
		t.Errorf("%d mappings", n)
	}
	// Nor join what the router itself has opened.
	b.d.Control().Output(udpPacket(ends{wan, hostB, 5000, 53}, nil))
	b.one(portB)
	b.refused(portA, udpPacket(ends{wan, hostB, 5000, 53}, nil), DropSourceMartian)
	b.sessionsAre(1)
}

func TestFragmentsFromDifferentSidesAreNotPutTogether(t *testing.T) {
	for name, o := range map[string]natOptions{"zones": {firewall: home()}, "nat": {rules: masquerade()}} {
		t.Run(name, func(t *testing.T) {
			b := newNATbed(t, o)
			datagram := udpPacket(ends{inner, addr("10.4.0.2"), 5000, 53}, numbered(64))
			header := datagram.HeaderLen()
			piece := func(from, to int, flags uint16) packet.IPv4 {
				f := append(append(packet.IPv4{}, datagram[:header]...), datagram[header+from:header+to]...)
				f.SetTotalLen(len(f))
				f.SetFlagsFragment(flags | uint16(from/8))
				f.UpdateHeaderChecksum()
				return f
			}
			b.arrive(portB, piece(0, 40, packet.FlagMF)) // from outside, in the name of the inside host
			b.arrive(portA, piece(40, 72, 0))
			b.none()
			b.arrive(portA, piece(0, 40, packet.FlagMF))
			good(t, b.one(portPlain).ip)
		})
	}
}
