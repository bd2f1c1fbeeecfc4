package router

import (
	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane"
)

// Protocols that need to know the port of arrival, or to speak to a group on one port, are served from the punt path
// and not by the host stack. What they have in common is UDP.

// datagram is UDP with what stands around it.
type datagram struct {
	src, dst         packet.Addr
	srcPort, dstPort uint16
	ttl, tos         uint8
	mac              packet.MAC // of a host that does not answer ARP yet; zero: ARP finds it
	payload          []byte     // only read
}

// datagram finds UDP to a port in a whole packet of the router's. mine: it is to that port, if only a bad one, which has
// been counted; then it is nil.
func (r *Router) datagram(ip packet.IPv4, port uint16) (u packet.UDP, mine bool) {
	if ip.Protocol() != packet.ProtoUDP {
		return nil, false
	}
	u = packet.UDP(ip.Payload())
	if len(u) < packet.UDPLen || u.DstPort() != port {
		return nil, false
	}
	if u.Length() < packet.UDPLen || u.Length() > len(u) {
		r.dp.CountDrop(dataplane.DropLocalUDP)
		return nil, true
	}
	u = u[:u.Length()]
	if u.Checksum() != 0 && packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(ip.Src(), ip.Dst(), packet.ProtoUDP, len(u)))) != 0xffff {
		r.dp.CountDrop(dataplane.DropLocalUDP)
		return nil, true
	}
	return u, true
}

// sendDatagram puts a datagram on the wire. What goes to a group or to everyone leaves by the port
// that is named; what goes to one host takes the way there, ARP and all, unless its link-layer address is named. p is nil where only the way counts.
func (r *Router) sendDatagram(p *portState, d *datagram) {
	r.scratch = appendDatagram(r.scratch[:0], d) // what is sent is copied on its way
	r.sendFramed(p, r.scratch, d.mac)
}

// appendDatagram writes a datagram as a frame whose link-layer header is yet to be filled in.
func appendDatagram(b []byte, d *datagram) []byte {
	start := len(b)
	b = append(b, make([]byte, packet.EthernetLen+packet.IPv4MinLen+packet.UDPLen)...)
	b = append(b, d.payload...)
	ip := packet.IPv4(b[start+packet.EthernetLen:])
	ip[0] = 4<<4 | packet.IPv4MinLen/4
	ip.SetTOS(d.tos)
	ip.SetTotalLen(len(ip))
	ip.SetTTL(d.ttl)
	ip.SetProtocol(packet.ProtoUDP)
	ip.SetSrc(d.src)
	ip.SetDst(d.dst)
	u := packet.UDP(ip[packet.IPv4MinLen:])
	u.SetSrcPort(d.srcPort)
	u.SetDstPort(d.dstPort)
	u.SetLength(len(u))
	sum := ^packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(d.src, d.dst, packet.ProtoUDP, len(u))))
	if sum == 0 {
		sum = 0xffff
	}
	u.SetChecksum(sum)
	ip.UpdateHeaderChecksum()
	return b
}

// sendFramed sends what appendDatagram has written.
func (r *Router) sendFramed(p *portState, frame []byte, mac packet.MAC) {
	ip := packet.IPv4(frame[packet.EthernetLen:])
	dst := ip.Dst()
	to, direct := groupMAC(dst)
	switch {
	case direct || p == nil:
	case !mac.IsZero():
		to, direct = mac, true
	case p.isBroadcast(dst):
		to, direct = packet.BroadcastMAC, true
	}
	switch {
	case !direct:
		r.send.Output(ip)
	case p == nil:
		r.dp.CountDrop(dataplane.DropTxPortDown)
	case p.cfg.Kind == config.TUN:
		r.send.SendFrame(p.id, ip)
	default:
		eth := packet.Ethernet(frame)
		eth.SetDst(to)
		eth.SetSrc(p.cfg.MAC)
		eth.SetType(packet.EtherTypeIPv4)
		r.send.SendFrame(p.id, frame)
	}
}

// groupMAC is the link-layer address of a multicast group (RFC 1112 section 6.4).
func groupMAC(a packet.Addr) (packet.MAC, bool) {
	if a == packet.Broadcast {
		return packet.BroadcastMAC, true
	}
	return packet.MAC{0x01, 0x00, 0x5e, byte(a>>16) & 0x7f, byte(a >> 8), byte(a)}, a.IsMulticast()
}

// isBroadcast reports the broadcast address of one of the port's networks.
func (p *portState) isBroadcast(a packet.Addr) bool {
	for _, prefix := range p.addresses() {
		if mask := packet.Mask(prefix.Bits()); prefix.Bits() <= 30 && a == packet.AddrFrom(prefix.Addr())|^mask {
			return true
		}
	}
	return false
}
