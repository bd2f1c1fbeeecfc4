package dataplane

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// Consecutive datagrams of one flow that leave by a port whose device takes them leave as one train: a UDP
// super-frame, one write, and for the kernel end one packet to carry instead of many. Writing is what a small packet costs most
// (some nine tenths), so that a burst crosses the router in a third of the time.
//
//	transmit -> board: is it the next one of the train that waits? -> append
//	                |  no: depart, and
//	                +-> it is a datagram that others could follow: it waits
//	                +-> anything else is written
//	end of the port's turn -> depart
//
// The receiver gets the datagrams that were sent, one by one and unchanged: what makes up a train agrees in everything but
// payload, identification, which counts on by one, and checksum, which the sender had left open. Nothing waits longer than the
// worker's turn at the port of arrival, and nothing overtakes on its way to a port: whatever else leaves sends the
// train off first.

const (
	// trainMost is how many datagrams a train has: kernels refuse more than 64 in older versions.
	trainMost = 64
	// trainOctets bounds a train's IP packet.
	trainOctets = 65000
	udpHeaders  = packet.IPv4MinLen + packet.UDPLen
)

// train is the datagrams that wait. They stand in buf as they would as one packet: the
// headers of the first, and the payloads of all.
type train struct {
	buf   []byte // of bufferLen; exchanged with the worker's own when a datagram begins to wait
	end   int
	count int    // 0: nobody waits
	size  int    // octets of payload of each but the last
	last  bool   // the last was shorter: nobody may follow
	bytes uint64 // of IP, as if they had left one by one
	in    PortID
	at    *Attachment
	port  *Port // of the tables of the batch
	id    PortID
}

// TakesTrains tells that the device takes UDP super-frames (TUN_F_USO4), from Linux 6.2 on. Call it before the port is published.
func (a *Attachment) TakesTrains() { a.trains.Store(true) }

// board lets a datagram join the train or begin one; false: it is none that could.
func (w *worker) board(p *work, port *Port, id PortID) bool {
	at := port.Attachment
	t := &w.train
	if t.count > 0 && t.follows(p, at, port) {
		t.append(p)
		if t.last || t.count == trainMost {
			w.depart()
		}
		return true
	}
	if t.count > 0 {
		w.depart()
	}
	if &p.buf[0] != &w.buf[0] || !at.trains.Load() || !leads(p) {
		return false
	}
	if t.buf == nil {
		t.buf = make([]byte, bufferLen)
	}
	t.buf, w.buf = w.buf, t.buf
	*t = train{buf: t.buf, end: p.end, count: 1, size: p.len() - udpHeaders, bytes: uint64(p.len()), in: p.in, at: at, port: port, id: id}
	return true
}

// leads reports a whole UDP datagram without options, whose checksum is left to the device, and that says what it is.
func leads(p *work) bool {
	ip := p.ip()
	return p.partial() && !p.vnet.IsSuper() && ip[0] == 4<<4|packet.IPv4MinLen/4 && ip.Protocol() == packet.ProtoUDP &&
		!ip.IsFragment() && p.vnet.ChecksumAt == packet.IPv4MinLen && p.vnet.ChecksumOff == 6 &&
		len(ip) > udpHeaders && packet.UDP(ip[packet.IPv4MinLen:]).Length() == len(ip)-packet.IPv4MinLen
}

// follows reports that a datagram may be the next of the train.
func (t *train) follows(p *work, at *Attachment, port *Port) bool {
	if at != t.at || !leads(p) {
		return false
	}
	first, ip := packet.IPv4(t.buf[headroom:]), p.ip()
	size := len(ip) - udpHeaders
	// Version, type of service, flags, time to live, protocol, addresses and ports.
	if first[1] != ip[1] || first.FlagsFragment() != ip.FlagsFragment() || first.TTL() != ip.TTL() ||
		binary.BigEndian.Uint64(first[12:]) != binary.BigEndian.Uint64(ip[12:]) ||
		binary.BigEndian.Uint32(first[20:]) != binary.BigEndian.Uint32(ip[20:]) {
		return false
	}
	// The kernel counts the identification on. Of datagrams that are never fragmented it means nothing (RFC 6864 section 4.1).
	if !ip.DontFragment() && ip.ID() != first.ID()+uint16(t.count) {
		return false
	}
	if size > t.size || t.end+size > headroom+trainOctets {
		return false
	}
	return !port.Ethernet || string(t.buf[headroom-packet.EthernetLen:headroom]) == string(p.link())
}

// append adds a datagram's payload.
func (t *train) append(p *work) {
	payload := p.ip()[udpHeaders:]
	t.end += copy(t.buf[t.end:], payload)
	t.count++
	t.bytes += uint64(p.len())
	t.last = len(payload) < t.size
}

// depart writes the train, if there is one.
func (w *worker) depart() {
	t := &w.train
	if t.count == 0 {
		return
	}
	count, at := t.count, t.at
	p := t.couple()
	errno := writeFrame(at.fd, w.label(&p, t.port))
	switch {
	case errno == 0:
		w.countTrain(at, uint64(count), t.bytes)
		if count > 1 {
			w.counters.trains.Add(1)
			w.counters.aboard.Add(uint64(count))
		}
	case errno == unix.EINVAL && count > 1:
		w.unload(&p, t)
	default:
		for range count {
			w.txFailed(&p, at, errno)
		}
	}
}

// unload writes the datagrams of a train one by one: the kernel does not take trains after all.
func (w *worker) unload(p *work, t *train) {
	t.at.trains.Store(false)
	w.eachSegment(p, func(s *work) { w.transmit(s, t.port, t.id) })
}

// couple makes one packet of those that wait, and nobody waits any more. Its lengths and sums are those of the
// whole, from which the kernel derives those of each datagram.
func (t *train) couple() work {
	p := work{buf: t.buf, end: t.end, in: t.in}
	p.vnet = packet.Vnet{Flags: packet.VnetNeedsChecksum, ChecksumAt: packet.IPv4MinLen, ChecksumOff: 6}
	alone := t.count == 1
	t.count = 0
	if alone {
		return p
	}
	p.vnet.GSOType, p.vnet.GSOSize = packet.GSOUDPL4, uint16(t.size)
	ip := p.ip()
	udp := packet.UDP(ip[packet.IPv4MinLen:])
	was, is := uint64(udp.Length()), uint64(len(udp))
	// The open checksum is the sum of the pseudo-header, which holds the length.
	udp.SetChecksum(packet.Fold(uint64(udp.Checksum()) + (0xffff - was) + is))
	udp.SetLength(len(udp))
	ip.SetTotalLen(len(ip))
	ip.UpdateHeaderChecksum()
	return p
}
