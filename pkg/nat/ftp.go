package nat

import (
	"bytes"
	"encoding/binary"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// FTP looks after one FTP control connection (RFC 959, 2428) through a NAT: the addresses that it speaks of are
// those of the side which translates, and the connections that they announce find a mapping.
//
//	client inside:   PORT 192,168,1,5,200,10    -> a mapping for the server alone -> PORT 198,51,100,2,78,32
//	server inside:   227 ... (192,168,1,5,80,3) -> a mapping for the client alone -> 227 ... (198,51,100,2,80,3)
//
// EPRT and 229 likewise. As the text may grow or shrink, all later sequence numbers, acknowledgements and SACK blocks of the connection
// are moved, in both directions, for the rest of its life: a session once edited cannot do without its FTP ([FTP.Adjusts]).
//
// It is a pure machine: segments in, segments out, time handed in. It is not safe for concurrent use. Which sessions get one is for the
// configuration to say; nothing here knows of port 21. Sequence windows of such a session must not be checked (conntrack.Liberal).
//
// # What is rewritten, and what is not
//
//   - PORT and EPRT only from who opened the connection; 227 and 229 only from who was called.
//   - Only the speaker's own address, as it has it or as the other side sees it. Any other is a bounce (RFC 2577 section 3): the line
//     passes as it is, nothing is mapped, and that is counted. So are ports below 1024, which no FTP listens on for data, and
//     which a page in a browser might have written into our connection (NAT slipstreaming); for the same reason a connection that speaks HTTP
//     is never looked at again.
//   - The mapping is for the other end's address alone, and short-lived: it has to see the opening of one connection.
//   - Only lines that arrive whole, in order, and of which no octet has passed before. A line split over segments passes as it is; the
//     next one is looked at again. After a hole, what fills it passes as it is, too.
//   - After the server's 234 (AUTH accepted, RFC 4217) nothing is text any more.
//   - A segment whose checksum is wrong passes unchanged and teaches nothing, as its sum would have to be made anew.
type FTP struct {
	keys    [2]conntrack.Key
	streams [2]ftpStream // by the direction in which the octets travel
	opaque  bool         // encrypted, or not FTP: nothing is text
	over    bool         // a FIN or RST has passed: a SYN is the next connection's
	last    conntrack.Tick
	counts  FTPCounts
}

// FTPCounts is what an FTP has done and left undone.
type FTPCounts struct {
	Rewritten uint64 // commands and replies whose address was replaced
	Bounced   uint64 // not the speaker's own address, or a port below 1024
	Unmapped  uint64 // no mapping was to be had
	Split     uint64 // lines that were split over segments
	Unordered uint64 // segments behind a hole, or nowhere near the stream
	Crowded   uint64 // more announcements at once than are kept
	BadSums   uint64 // segments with a wrong checksum
	Opaque    uint64 // 1 when the connection turned out to be encrypted, or not to be FTP
}

// FTPLife is how long a mapping for a data connection waits for its opening. A transfer that has begun needs it no longer.
const FTPLife = 2 * time.Minute

// The first port that is nobody's privilege, and the longest line that is looked at: no announcement is nearly as long.
const (
	ftpFirstPort = 1024
	ftpLongest   = 512
)

// NewFTP begins with a session whose packets arrive with these keys; its SYN should be the first segment that it is given. Without one
// (a connection picked up in the middle) it begins with the next whole line.
func NewFTP(now conntrack.Tick, original, reply conntrack.Key) *FTP {
	return &FTP{keys: [2]conntrack.Key{original, reply}, last: now}
}

// Last is when the last segment came by. Who keeps FTPs may drop those that do not Adjust first.
func (f *FTP) Last() conntrack.Tick { return f.last }

// Adjusts reports that sequence numbers are being moved: without its FTP the connection would hang.
func (f *FTP) Adjusts() bool {
	for i := range f.streams {
		if s := &f.streams[i]; s.shift != 0 || len(s.edits) > 0 {
			return true
		}
	}
	return false
}

// Counts since the beginning.
func (f *FTP) Counts() FTPCounts { return f.counts }

// Segment takes a packet of the session as it has arrived, before any translation, whole and with a finished checksum, and returns
// the one to be sent on in its place, still untranslated: ip itself if nothing is to be changed, otherwise a new one with right sums.
// ip is never written to, so a packet that comes by twice, because it waited for a neighbour or because TCP
// sent it again, becomes the same both times. The result may be longer than ip (by at most 12 octets for each announcement in it), and so longer than
// the MTU, but not than 65,535 octets: what does not fit is left for TCP to send again.
//
// ask is called once for each announcement, and makes the mapping; false refuses. Only Protocol, Inside, InsidePort, Outside, OutsidePort (a
// wish), Remote, Expires, By and Owner are set. The answer's Outside has to be the one asked for: it is the address that
// the other end knows.
func (f *FTP) Segment(now conntrack.Tick, d conntrack.Direction, ip packet.IPv4, ask func(want Explicit) (Explicit, bool)) (out packet.IPv4) {
	f.last = now
	at, end, ok := ftpSegment(ip)
	if !ok {
		return ip
	}
	ip, given := ip[:end], ip
	t := packet.TCP(ip[at:])
	if packet.Fold(packet.Sum(t, packet.PseudoHeaderSum(ip.Src(), ip.Dst(), packet.ProtoTCP, len(t)))) != 0xffff {
		f.counts.BadSums++
		return given
	}

	own, other := &f.streams[d], &f.streams[d.Other()]
	seq, payload := t.Seq(), t[t.HeaderLen():]
	first := seq // sequence number of the payload
	if t.Flags()&packet.TCPSyn != 0 {
		first++
		f.open(d, first)
	} else if t.Flags()&(packet.TCPFin|packet.TCPRst) != 0 {
		f.over = true
	}
	if len(payload) > 0 {
		f.read(now, d, first, payload, ask)
	}

	text := own.rewrite(first, payload)
	s := ftpHeader{seq: own.forward(seq), ack: t.Ack(), urgent: binary.BigEndian.Uint16(t[18:])}
	if t.Flags()&packet.TCPUrg != 0 {
		s.urgent = uint16(own.forward(seq+uint32(s.urgent)) - s.seq)
	}
	if t.Flags()&packet.TCPAck != 0 {
		s.ack = other.back(t.Ack(), false)
	}
	if s.seq == seq && s.ack == t.Ack() && bytes.Equal(text, payload) && other.still() {
		return given
	}
	out = s.build(ip, at, text, other)
	if t.Flags()&packet.TCPAck != 0 {
		other.settle(t.Ack())
	}
	return out
}

// open begins the streams with a SYN. In the middle of a connection that lives, where numbers are being moved, it is not believed: whoever
// sent it could not be told from a stranger, and forgetting the shift would end the connection.
func (f *FTP) open(d conntrack.Direction, first uint32) {
	own := &f.streams[d]
	if own.known && (own.first == first || f.Adjusts() && !f.over) {
		return
	}
	own.begin(first, true)
	if d == conntrack.Original {
		f.streams[conntrack.Reply], f.opaque, f.over = ftpStream{}, false, false
	}
}

// ftpSegment finds where the TCP segment of a packet begins and ends.
func ftpSegment(ip packet.IPv4) (at, end int, ok bool) {
	if len(ip) < packet.IPv4MinLen || ip.Protocol() != packet.ProtoTCP || ip.IsFragment() {
		return 0, 0, false
	}
	at, end = ip.HeaderLen(), ip.TotalLen()
	if at < packet.IPv4MinLen || end > len(ip) || end < at+packet.TCPMinLen {
		return 0, 0, false
	}
	header := packet.TCP(ip[at:end]).HeaderLen()
	return at, end, header >= packet.TCPMinLen && header <= end-at
}

// read looks at what is new in a segment, line by line.
func (f *FTP) read(now conntrack.Tick, d conntrack.Direction, first uint32, payload []byte, ask func(Explicit) (Explicit, bool)) {
	s := &f.streams[d]
	if !s.known {
		s.begin(first, false)
	}
	fresh, at, ordered := s.fresh(first, payload)
	if !ordered {
		f.counts.Unordered++
		return
	}
	for len(fresh) > 0 {
		n := bytes.IndexByte(fresh, '\n') + 1
		if n == 0 {
			if s.atLine {
				f.counts.Split++
			}
			s.atLine = false
			return
		}
		if s.atLine {
			f.line(now, d, at, fresh[:n], ask)
		}
		s.atLine = true
		fresh, at = fresh[n:], at+uint32(n)
	}
}

// line looks at one whole line, at sequence number at.
func (f *FTP) line(now conntrack.Tick, d conntrack.Direction, at uint32, line []byte, ask func(Explicit) (Explicit, bool)) {
	line = bytes.TrimRight(line, "\r\n")
	if !f.opaque && ftpOpaque(d, line) {
		f.opaque = true
		f.counts.Opaque++
	}
	mine, seen := f.keys[d].Src, f.keys[d.Other()].Dst
	if f.opaque || mine == seen || len(line) > ftpLongest {
		return
	}
	a, ok := ftpReply(line)
	if d == conntrack.Original {
		a, ok = ftpCommand(line)
	}
	switch {
	case !ok:
		return
	case a.form != ftpPortOnly && a.addr != mine && a.addr != seen, a.port < ftpFirstPort:
		f.counts.Bounced++
		return
	case len(f.streams[d].edits) >= ftpEdits:
		f.counts.Crowded++
		return
	}
	got, ok := ask(Explicit{
		Protocol: packet.ProtoTCP, Inside: mine, InsidePort: a.port, Outside: seen, OutsidePort: a.port,
		Remote: f.keys[d.Other()].Src, Expires: now + conntrack.Ticks(FTPLife), By: ByHelper, Owner: "ftp",
	})
	if !ok || got.Outside != seen || got.OutsidePort == 0 {
		f.counts.Unmapped++
		return
	}
	f.counts.Rewritten++
	f.streams[d].edit(at+uint32(a.from), a.to-a.from, a.text(seen, got.OutsidePort))
}

// ftpOpaque reports a line after which nothing can be understood: the server's consent to encryption, or a client that speaks HTTP.
func ftpOpaque(d conntrack.Direction, line []byte) bool {
	if d == conntrack.Reply {
		return bytes.HasPrefix(line, []byte("234 ")) || bytes.HasPrefix(line, []byte("234-"))
	}
	const version = " HTTP/1."
	return len(line) > len(version) && bytes.HasSuffix(line[:len(line)-1], []byte(version))
}

// ftpHeader is what changes in a TCP header.
type ftpHeader struct {
	seq, ack uint32
	urgent   uint16
}

// build makes the packet with another header and text. acked is the stream that the segment's acknowledgements speak of.
func (s ftpHeader) build(ip packet.IPv4, at int, text []byte, acked *ftpStream) packet.IPv4 {
	headers := at + packet.TCP(ip[at:]).HeaderLen()
	cut := len(text) > 0xffff-headers
	if cut {
		text = text[:0xffff-headers]
	}
	out := packet.IPv4(make([]byte, headers+len(text)))
	copy(out, ip[:headers])
	copy(out[headers:], text)
	out.SetChecksum(packet.UpdateChecksum16(ip.Checksum(), uint16(ip.TotalLen()), uint16(len(out))))
	out.SetTotalLen(len(out))

	t := packet.TCP(out[at:])
	t.SetSeq(s.seq)
	if t.Flags()&packet.TCPAck != 0 {
		binary.BigEndian.PutUint32(t[8:], s.ack)
		acked.moveSACK(t[packet.TCPMinLen:t.HeaderLen()])
	}
	binary.BigEndian.PutUint16(t[18:], s.urgent)
	if cut {
		t.SetFlags(t.Flags() &^ (packet.TCPFin | packet.TCPPsh))
	}
	t.SetChecksum(0)
	t.SetChecksum(^packet.Fold(packet.Sum(t, packet.PseudoHeaderSum(out.Src(), out.Dst(), packet.ProtoTCP, len(t)))))
	return out
}
