package dataplane

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/firewall"
)

// bootReply is the beginning of an answer of DHCP to a client.
func bootReply(opcode byte, mac packet.MAC) []byte {
	m := make([]byte, 240)
	m[0] = opcode
	copy(m[28:], mac[:])
	return m
}

func TestAnswersToTheDHCPClientComeInWhateverTheirDestination(t *testing.T) {
	b := newNATbed(t, natOptions{
		rules:    masquerade(),
		firewall: &firewall.Config{Zones: []firewall.Zone{{Name: "in", Ports: []uint16{uint16(portA)}}, {Name: "out", Ports: []uint16{uint16(portB)}}}},
		tables: func(tables *Tables) {
			tables.Ports[portB].DHCPClient = true
			tables.Ports[portB].ReversePath = ReversePathStrict
		},
	})
	server := addr("198.51.100.1") // which no route leads to by that port
	for _, dst := range []packet.Addr{packet.Broadcast, addr("10.2.0.77"), addr("192.168.77.7"), wan, addr("10.2.0.255")} {
		b.arrive(portB, udpPacket(ends{server, dst, 67, 68}, bootReply(2, routerMAC[portB])))
		if p := b.punt(); p.Reason != PuntDHCPClient || p.Port != portB || packet.IPv4(p.Packet).Dst() != dst {
			t.Errorf("to %v: %v", dst, p.Reason)
		}
	}
	if d := b.drops(); len(d) != 0 {
		t.Errorf("dropped: %v", d)
	}
}

func TestWhatIsForOtherDHCPClientsIsNotTheRouters(t *testing.T) {
	b := newTestbed(t, func(tables *Tables) { tables.Ports[portB].DHCPClient = true })
	to := ends{addr("10.2.0.2"), hostA, 67, 68}
	short := udpPacket(to, bootReply(2, routerMAC[portB])[:33])
	for what, c := range map[string]struct {
		in PortID
		ip packet.IPv4
	}{
		"for another hardware address": {portB, udpPacket(to, bootReply(2, hostMAC[portA]))},
		"a request":                    {portB, udpPacket(to, bootReply(1, routerMAC[portB]))},
		"to another port":              {portB, udpPacket(ends{to.src, to.dst, 67, 69}, bootReply(2, routerMAC[portB]))},
		"short":                        {portB, short},
	} {
		b.arrive(c.in, c.ip)
		if got := b.one(portA); got.ip.Dst() != hostA {
			t.Errorf("%s: %v", what, got)
		}
		b.noPunt()
	}
	b.arrive(portA, udpPacket(ends{hostA, hostB, 67, 68}, bootReply(2, routerMAC[portA]))) // no client there
	b.one(portB)
	b.noPunt()
}
