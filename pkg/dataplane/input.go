package dataplane

import (
	"vrouterd/internal/packet"
)

// etherInput takes a frame from a port: the frame stands in the worker's buffer so that the IP
// header, if it is one, begins at headroom.
func (w *worker) etherInput(p *work, port *Port) {
	if port.Down {
		w.drop(p, DropPortClosed)
		return
	}
	if port.Ethernet {
		if p.end < headroom {
			w.drop(p, DropFrameShort)
			return
		}
		eth := packet.Ethernet(p.link())
		dst := eth.Dst()
		if dst != port.MAC {
			if !dst.IsGroup() {
				w.drop(p, DropNotOurMAC)
				return
			}
			p.group = true
		}
		if eth[6]&1 != 0 || eth.Src().IsZero() {
			w.drop(p, DropSourceMAC)
			return
		}
		switch eth.Type() {
		case packet.EtherTypeIPv4:
		case packet.EtherTypeARP:
			w.punt(p, Punt{Reason: PuntARP})
			return
		default:
			w.drop(p, DropEtherType)
			return
		}
	}
	w.ip4Input(p, port)
}

var headerFaults = [...]DropReason{
	packet.HeaderShort:       DropHeaderShort,
	packet.HeaderVersion:     DropHeaderVersion,
	packet.HeaderLength:      DropHeaderLength,
	packet.HeaderChecksum:    DropHeaderChecksum,
	packet.HeaderTotalLength: DropTotalLength,
}

// ip4Input checks the packet (RFC 1812 section 5.2.2), its addresses (5.3.7) and
// its options, and sorts out what is for everyone on the wire.
func (w *worker) ip4Input(p *work, port *Port) {
	if p.end < headroom {
		w.drop(p, DropHeaderShort)
		return
	}
	ip := p.ip()
	if fault := ip.Validate(); fault != packet.HeaderGood {
		if fault == packet.HeaderVersion && !port.Ethernet && len(ip) > 0 && ip[0]>>4 == 6 {
			w.drop(p, DropEtherType) // IPv6 on a TUN port, which has no EtherType to tell
			return
		}
		w.drop(p, headerFaults[fault])
		return
	}
	p.end = headroom + ip.TotalLen() // Ethernet pads short frames
	if p.vnet != (packet.Vnet{}) && !p.checkVnet() {
		w.drop(p, DropVnetHeader)
		return
	}

	if port.DHCPClient && isClientDatagram(ip, port.MAC) {
		w.punt(p, Punt{Reason: PuntDHCPClient})
		return
	}

	src, dst := ip.Src(), ip.Dst()
	// One comparison for the common case: both in 1.0.0.0 to 223.255.255.255, neither loopback.
	if uint32(src)-1<<24 >= 223<<24 || uint32(dst)-1<<24 >= 223<<24 || src.IsLoopback() || dst.IsLoopback() {
		if reason := martian(src, dst, w.tables.ClassE); reason != dropNone {
			w.drop(p, reason)
			return
		}
		if dst == packet.Broadcast || dst.IsMulticast() {
			if w.tables.Stateful != nil && !w.admitGroup(p) {
				return
			}
			if dst == packet.Broadcast {
				w.punt(p, Punt{Reason: PuntBroadcast})
			} else {
				w.punt(p, Punt{Reason: PuntMulticast})
			}
			return
		}
	}
	if port.ReversePath != ReversePathOff && !w.reversePathGood(p, port) {
		w.drop(p, DropReversePath)
		return
	}
	if ip.HeaderLen() > packet.IPv4MinLen {
		if !w.ip4Options(p, port) {
			return
		}
	}
	if w.tables.Stateful != nil {
		w.track(p)
		return
	}
	w.ip4Lookup(p)
}

// isClientDatagram reports an answer of DHCP to the router's own client: UDP to port 68 with a BOOTREPLY that names the hardware
// address of the port (RFC 2131 section 4.1). Its destination may be an address that the router does not have yet, so no table knows it. What
// passes through to other clients is not meant.
func isClientDatagram(ip packet.IPv4, mac packet.MAC) bool {
	const opcode, hardwareAddress = 0, 28 // of the message (RFC 2131 section 2)
	if ip.Protocol() != packet.ProtoUDP || ip.IsFragment() || len(ip) < ip.HeaderLen()+packet.UDPLen+hardwareAddress+len(mac) {
		return false
	}
	u := packet.UDP(ip[ip.HeaderLen():])
	return u.DstPort() == 68 && u[packet.UDPLen+opcode] == 2 && packet.MAC(u[packet.UDPLen+hardwareAddress:][:len(mac)]) == mac
}

// ip4Forward sends a packet that may be forwarded on its way: past the sessions, where there are any.
func (w *worker) ip4Forward(p *work) {
	if w.tables.Stateful != nil {
		w.track(p)
		return
	}
	w.ip4Lookup(p)
}

// martian finds addresses that may not be where they stand. 0.0.0.0 may send to
// the limited broadcast, a host that has no address yet (RFC 2131), and report its groups
// (RFC 3376 section 4.2.13), as bridges do.
func martian(src, dst packet.Addr, classE bool) DropReason {
	switch {
	case src == 0 && (dst == packet.Broadcast || dst.IsLinkLocalMulticast()):
		return dropNone
	case src.IsZeroNet(), src.IsLoopback(), src.IsMulticast(), src == packet.Broadcast:
		return DropSourceMartian
	case src.IsClassE() && !classE:
		return DropSourceMartian
	case dst.IsZeroNet(), dst.IsLoopback():
		return DropDestinationMartian
	case dst.IsClassE() && dst != packet.Broadcast && !classE:
		return DropDestinationMartian
	}
	return dropNone
}

// reversePathGood is the check of RFC 3704: strict asks that the best route to
// the source leads through the arrival port, loose that there is one at all.
func (w *worker) reversePathGood(p *work, port *Port) bool {
	src := p.ip().Src()
	if src == 0 { // a host without an address yet
		return true
	}
	v := w.d.fib.Lookup(src)
	w.tables = w.d.tables.Load()
	a := w.adjacency(v)
	switch a.Kind {
	case Glean, Incomplete, Rewrite:
		return port.ReversePath == ReversePathLoose || a.Port == p.in
	case Multipath:
		if port.ReversePath == ReversePathLoose {
			return true
		}
		for _, m := range w.tables.Members[a.First : a.First+uint32(a.Count)] {
			if w.adjacency(m).Port == p.in {
				return true
			}
		}
	}
	return false
}
