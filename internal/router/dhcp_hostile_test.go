package router

import (
	"math/rand/v2"
	"strings"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

func TestARequestInPiecesIsServed(t *testing.T) {
	l := runHome(t, served)
	s := stationsOn(t, l, "lan").station(1)
	m := s.message(dhcp.Discover)
	m.Options[dhcp.OptionVendorSpecific] = make([]byte, 3000)
	frame := appendDatagram(nil, &datagram{dst: packet.Broadcast, srcPort: 68, dstPort: 67, ttl: 64, payload: m.Append(nil)})
	ip := packet.IPv4(frame[packet.EthernetLen:])
	const size = 1480
	for at := 0; at < len(ip.Payload()); at += size {
		data := ip.Payload()[at:min(at+size, len(ip.Payload()))]
		piece := make([]byte, packet.EthernetLen+packet.IPv4MinLen, packet.EthernetLen+packet.IPv4MinLen+len(data))
		copy(piece[packet.EthernetLen:], ip.Header())
		piece = append(piece, data...)
		p := packet.IPv4(piece[packet.EthernetLen:])
		p.SetTotalLen(len(p))
		flags := uint16(at / 8)
		if at+size < len(ip.Payload()) {
			flags |= packet.FlagMF
		}
		p.SetFlagsFragment(flags)
		p.UpdateHeaderChecksum()
		eth := packet.Ethernet(piece)
		eth.SetDst(packet.BroadcastMAC)
		eth.SetSrc(s.mac)
		eth.SetType(packet.EtherTypeIPv4)
		if err := s.w.h.SendFrame(piece); err != nil {
			t.Fatal(err)
		}
	}
	s.next(dhcp.Offer)
}

// What nobody sends to server, relay and client neither stops the router nor goes uncounted.
func TestNonsenseAtThePortsOfDHCPIsCountedAndHarmless(t *testing.T) {
	l, far := homeServed(t, uplink+`dhcp:
  lan: {range: 192.168.1.100-192.168.1.199, probe: false}
  srv: {relay: 203.0.113.9}
`, Options{})
	far.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	far.w.mu.Lock()
	far.w.lax = true
	far.w.mu.Unlock()
	mac := packet.MAC{}
	l.do(func() { mac = l.ports["wan"].cfg.MAC })
	lan, srv := stationsOn(t, l, "lan").station(1), stationsOn(t, l, "srv").station(2)
	rng := rand.New(rand.NewPCG(3, 4))
	sent := 0
	for i := range 6000 {
		m := lan.message(dhcp.Type(rng.UintN(12)))
		for range rng.UintN(6) {
			v := make([]byte, rng.UintN(40))
			for j := range v {
				v[j] = byte(rng.Uint32())
			}
			m.Options[uint8(1+rng.UintN(250))] = v
		}
		m.CIAddr, m.GIAddr = packet.Addr(rng.Uint32()&rng.Uint32()), packet.Addr(rng.Uint32()&rng.Uint32()&rng.Uint32())
		m.HLen, m.Flags = uint8(rng.UintN(18)), uint16(rng.Uint32())
		m.Op = uint8(1 + rng.UintN(2))
		if i%3 == 2 {
			m.Op = dhcp.BootReply
			copy(m.CHAddr[:], mac[:])
		}
		b := m.Append(nil)
		for range rng.UintN(8) {
			b[rng.UintN(uint(len(b)))] = byte(rng.Uint32())
		}
		b = b[:len(b)-int(rng.UintN(uint(len(b))))%100]
		switch i % 3 {
		case 0:
			lan.datagram(packet.BroadcastMAC, 0, packet.Broadcast, 68, 67, b)
		case 1:
			srv.datagram(packet.BroadcastMAC, 0, packet.Broadcast, 68, 67, b)
		case 2:
			far.datagram(packet.BroadcastMAC, far.addr, packet.Broadcast, 67, 68, b)
		}
		if sent++; sent%64 == 0 {
			l.do(func() {})
		}
		for len(lan.got) > 0 {
			<-lan.got
		}
		for len(far.got) > 0 {
			<-far.got
		}
	}
	eventually(t, "all of it is seen", func() bool { return l.counter("punts_waiting") == 0 })
	l.hasAddress("wan", "203.0.113.50/24")
	l.pings(l.host("lan"), "203.0.113.9")
	refused := uint64(0)
	for _, d := range l.Drops() {
		if strings.HasPrefix(d.Reason, "dhcp_") {
			refused += d.Packets
		}
	}
	if refused < uint64(sent)/3 {
		t.Errorf("of %d only %d are counted", sent, refused)
	}
}
