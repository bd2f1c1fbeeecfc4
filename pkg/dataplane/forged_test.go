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
