package nat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/nat"
)

const (
	ftpInside  = packet.Addr(0xc0a80105) // 192.168.1.5
	ftpOutside = packet.Addr(0xc6336402) // 198.51.100.2
	ftpRemote  = packet.Addr(0xcb007107) // 203.0.113.7
)

// ftpBehind is a sequence number long before the first.
const ftpBehind = 1<<32 + 1000 - 1<<24

// ftpLab is an FTP between two ends that a test plays.
type ftpLab struct {
	t       *testing.T
	f       *nat.FTP
	keys    [2]conntrack.Key
	now     conntrack.Tick
	asked   []nat.Explicit
	refuse  bool
	mapping uint16 // outside port of the next mapping; 0: as asked for
}

// ftpFromInside is a client inside with a server outside.
func ftpFromInside(t *testing.T) *ftpLab {
	return newFTPLab(t, conntrack.MakeKey(6, ftpInside, 40000, ftpRemote, 21), conntrack.MakeKey(6, ftpRemote, 21, ftpOutside, 4096))
}

// ftpToInside is a client outside with a forwarded server inside.
func ftpToInside(t *testing.T) *ftpLab {
	return newFTPLab(t, conntrack.MakeKey(6, ftpRemote, 40000, ftpOutside, 21), conntrack.MakeKey(6, ftpInside, 21, ftpRemote, 40000))
}

func newFTPLab(t *testing.T, original, reply conntrack.Key) *ftpLab {
	return &ftpLab{t: t, f: nat.NewFTP(1, original, reply), keys: [2]conntrack.Key{original, reply}, now: 100}
}

// ftpSegmentOf is a TCP segment in the words of a test.
type ftpSegmentOf struct {
	seq, ack uint32
	flags    uint8
	urgent   uint16
	options  []byte
	text     string
}

func (l *ftpLab) packet(d conntrack.Direction, s ftpSegmentOf) packet.IPv4 {
	k := l.keys[d]
	b := make([]byte, 40+len(s.options)+len(s.text))
	b[0], b[8], b[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	packet.IPv4(b).SetSrc(k.Src)
	packet.IPv4(b).SetDst(k.Dst)
	header.IPv4(b).SetChecksum(^header.IPv4(b).CalculateChecksum())
	t := b[20:]
	binary.BigEndian.PutUint16(t, k.SrcPort)
	binary.BigEndian.PutUint16(t[2:], k.DstPort)
	binary.BigEndian.PutUint32(t[4:], s.seq)
	binary.BigEndian.PutUint32(t[8:], s.ack)
	t[12], t[13] = byte((20+len(s.options))/4)<<4, s.flags
	t[14], t[15] = 1, 0
	binary.BigEndian.PutUint16(t[18:], s.urgent)
	copy(t[20:], s.options)
	copy(t[20+len(s.options):], s.text)
	pseudo := header.PseudoHeaderChecksum(6, netAddr(k.Src), netAddr(k.Dst), uint16(len(t)))
	binary.BigEndian.PutUint16(t[16:], ^checksum.Checksum(t, pseudo))
	return b
}

func (l *ftpLab) ask(want nat.Explicit) (nat.Explicit, bool) {
	l.asked = append(l.asked, want)
	if l.refuse {
		return nat.Explicit{}, false
	}
	if l.mapping != 0 {
		want.OutsidePort = l.mapping
	}
	return want, true
}

// pass gives a segment to the FTP and reads what comes out, with its sums checked and its input unharmed.
func (l *ftpLab) pass(d conntrack.Direction, s ftpSegmentOf) ftpSegmentOf {
	l.t.Helper()
	in := l.packet(d, s)
	before := bytes.Clone(in)
	out := l.f.Segment(l.now, d, in, l.ask)
	if !bytes.Equal(in, before) {
		l.t.Fatal("the packet that was handed in was written to")
	}
	k := l.keys[d]
	ip := header.IPv4(out)
	if int(ip.TotalLength()) != len(out) || ip.CalculateChecksum() != 0xffff || out.Src() != k.Src || out.Dst() != k.Dst {
		l.t.Fatalf("the IP header is wrong: %x", out[:20])
	}
	t := header.TCP(out[20:])
	if !t.IsChecksumValid(netAddr(k.Src), netAddr(k.Dst), checksum.Checksum(t.Payload(), 0), uint16(len(t.Payload()))) {
		l.t.Fatalf("the TCP sum is wrong: %x", out[20:])
	}
	return ftpSegmentOf{t.SequenceNumber(), t.AckNumber(), uint8(t.Flags()), binary.BigEndian.Uint16(t[18:]), t.Options(), string(t.Payload())}
}

// open shakes hands: the client's numbers begin at 1000, the server's at 5000.
func (l *ftpLab) open() *ftpLab {
	l.pass(conntrack.Original, ftpSegmentOf{seq: 999, flags: packet.TCPSyn})
	l.pass(conntrack.Reply, ftpSegmentOf{seq: 4999, ack: 1000, flags: packet.TCPSyn | packet.TCPAck})
	return l
}

func (l *ftpLab) says(d conntrack.Direction, seq, ack uint32, text string) ftpSegmentOf {
	l.t.Helper()
	return l.pass(d, ftpSegmentOf{seq: seq, ack: ack, flags: packet.TCPAck | packet.TCPPsh, text: text})
}

func (l *ftpLab) expect(what string, got ftpSegmentOf, seq, ack uint32, text string) {
	l.t.Helper()
	if got.seq != seq || got.ack != ack || got.text != text {
		l.t.Fatalf("%s: seq %d ack %d %q, expected seq %d ack %d %q", what, got.seq, got.ack, got.text, seq, ack, text)
	}
}

func TestActiveFTPFromInsideIsAnnouncedWithItsOutsideAddress(t *testing.T) {
	l := ftpFromInside(t).open()
	l.mapping = 20000
	l.expect("greeting", l.says(conntrack.Reply, 5000, 1000, "220 hello\r\n"), 5000, 1000, "220 hello\r\n")
	l.expect("PORT grows by two", l.says(conntrack.Original, 1000, 5011, "PORT 192,168,1,5,200,10\r\n"), 1000, 5011, "PORT 198,51,100,2,78,32\r\n")
	want := nat.Explicit{Protocol: 6, Inside: ftpInside, InsidePort: 200*256 + 10, Outside: ftpOutside, OutsidePort: 200*256 + 10,
		Remote: ftpRemote, Expires: l.now + conntrack.Ticks(nat.FTPLife), By: nat.ByHelper, Owner: "ftp"}
	if len(l.asked) != 1 || l.asked[0] != want {
		t.Fatalf("asked for %+v, expected %+v", l.asked, want)
	}
	if l.f.Counts() != (nat.FTPCounts{Rewritten: 1}) || l.f.Last() != l.now {
		t.Fatalf("counted %+v", l.f.Counts())
	}
}

func TestNumbersFollowATextThatGrowsAndOneThatShrinks(t *testing.T) {
	for _, c := range []struct{ name, said, heard string }{
		{"grows", "PORT 192,168,1,5,4,0\r\n", "PORT 198,51,100,2,255,255\r\n"},
		{"shrinks", "PORT 192,168,001,005,255,255\r\n", "PORT 198,51,100,2,4,1\r\n"},
		{"extended", "EPRT |1|192.168.1.5|5282|\r\n", "EPRT |1|198.51.100.2|65535|\r\n"},
		{"extended, other marks, small letters", "eprt !1!192.168.1.5!52820!  \r\n", "eprt !1!198.51.100.2!1025!  \r\n"},
		{"a bare line feed", "port   192,168,1,5,4,0\n", "port   198,51,100,2,4,1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := ftpFromInside(t).open()
			l.mapping = map[bool]uint16{true: 65535, false: 1025}[strings.Contains(c.heard, "255,255") || strings.Contains(c.heard, "65535")]
			end, heard := 1000+uint32(len(c.said)), 1000+uint32(len(c.heard))
			l.expect("announcement", l.says(conntrack.Original, 1000, 5000, c.said), 1000, 5000, c.heard)
			l.expect("sent again", l.says(conntrack.Original, 1000, 5000, c.said), 1000, 5000, c.heard)
			l.expect("a reply that acknowledges nothing yet", l.says(conntrack.Reply, 5000, 1000, "1"), 5000, 1000, "1")
			l.expect("the reply", l.says(conntrack.Reply, 5001, heard, "200 ok\r\n"), 5001, end, "200 ok\r\n")
			l.expect("what follows", l.says(conntrack.Original, end, 5009, "LIST\r\n"), heard, 5009, "LIST\r\n")
			l.expect("its reply", l.says(conntrack.Reply, 5009, heard+6, "150 go\r\n"), 5009, end+6, "150 go\r\n")
			fin := l.pass(conntrack.Original, ftpSegmentOf{seq: end + 6, ack: 5017, flags: packet.TCPFin | packet.TCPAck})
			l.expect("FIN", fin, heard+6, 5017, "")
			l.expect("its acknowledgement", l.says(conntrack.Reply, 5017, heard+7, ""), 5017, end+7, "")
			if len(l.asked) != 1 || !l.f.Adjusts() && end != heard {
				t.Fatalf("asked %d times, adjusts %t", len(l.asked), l.f.Adjusts())
			}
		})
	}
}

func TestPassiveFTPTowardsAForwardedServerIsAnnouncedWithItsOutsideAddress(t *testing.T) {
	for _, c := range []struct{ said, heard string }{
		{"227 Entering Passive Mode (192,168,1,5,80,3).\r\n", "227 Entering Passive Mode (198,51,100,2,78,32).\r\n"},
		{"227 =192,168,1,5,80,3\r\n", "227 =198,51,100,2,78,32\r\n"},
		{"227 mode 2 is 192,168,1,5,80,3\r\n", "227 mode 2 is 198,51,100,2,78,32\r\n"},
		{"229 Entering Extended Passive Mode (|||20483|)\r\n", "229 Entering Extended Passive Mode (|||20000|)\r\n"},
		{"229 mode (|||2048|)\r\n", "229 mode (|||20000|)\r\n"},
	} {
		l := ftpToInside(t).open()
		l.mapping = 20000
		l.says(conntrack.Original, 1000, 5000, "PASV\r\n")
		l.expect(c.said, l.says(conntrack.Reply, 5000, 1006, c.said), 5000, 1006, c.heard)
		end, heard := 5000+uint32(len(c.said)), 5000+uint32(len(c.heard))
		l.expect("next command", l.says(conntrack.Original, 1006, heard, "RETR x\r\n"), 1006, end, "RETR x\r\n")
		l.expect("next reply", l.says(conntrack.Reply, end, 1014, "150 go\r\n"), heard, 1014, "150 go\r\n")
		if len(l.asked) != 1 || l.asked[0].Inside != ftpInside || l.asked[0].Outside != ftpOutside || l.asked[0].Remote != ftpRemote {
			t.Fatalf("%q asked for %+v", c.said, l.asked)
		}
	}
}

func TestAServerThatAlreadyNamesItsOutsideAddressGetsItsMapping(t *testing.T) {
	l := ftpToInside(t).open()
	said := "227 Passive (198,51,100,2,80,3)\r\n"
	l.expect("reply", l.says(conntrack.Reply, 5000, 1000, said), 5000, 1000, said)
	if len(l.asked) != 1 || l.asked[0].Inside != ftpInside {
		t.Fatalf("asked for %+v", l.asked)
	}
}

func TestOnlyTheSpeakersOwnAddressIsTranslated(t *testing.T) {
	for _, c := range []struct {
		name     string
		lab      func(*testing.T) *ftpLab
		d        conntrack.Direction
		said     string
		bounced  uint64
		asks     int
		unmapped bool
	}{
		{"another's address (RFC 2577)", ftpFromInside, conntrack.Original, "PORT 192,168,1,6,200,10\r\n", 1, 0, false},
		{"another's address, extended", ftpFromInside, conntrack.Original, "EPRT |1|192.168.1.6|6000|\r\n", 1, 0, false},
		{"another's address, passive", ftpToInside, conntrack.Reply, "227 (192,168,1,6,200,10)\r\n", 1, 0, false},
		{"a privileged port", ftpFromInside, conntrack.Original, "PORT 192,168,1,5,0,22\r\n", 1, 0, false},
		{"a privileged port, passive", ftpToInside, conntrack.Reply, "229 (|||445|)\r\n", 1, 0, false},
		{"a command from the server", ftpToInside, conntrack.Reply, "PORT 192,168,1,5,200,10\r\n", 0, 0, false},
		{"a reply from the client", ftpFromInside, conntrack.Original, "227 (192,168,1,5,200,10)\r\n", 0, 0, false},
		{"a command of a client that nobody translates", ftpToInside, conntrack.Original, "PORT 203,0,113,7,200,10\r\n", 0, 0, false},
		{"a reply of a server that nobody translates", ftpFromInside, conntrack.Reply, "227 (203,0,113,7,200,10)\r\n", 0, 0, false},
		{"IPv6", ftpFromInside, conntrack.Original, "EPRT |2|1080::8|5282|\r\n", 0, 0, false},
		{"a number too large", ftpFromInside, conntrack.Original, "PORT 192,168,1,5,256,10\r\n", 0, 0, false},
		{"a number too many", ftpFromInside, conntrack.Original, "PORT 192,168,1,5,200,10,1\r\n", 0, 0, false},
		{"a number too few", ftpFromInside, conntrack.Original, "PORT 192,168,1,5,200\r\n", 0, 0, false},
		{"words behind", ftpFromInside, conntrack.Original, "PORT 192,168,1,5,200,10 x\r\n", 0, 0, false},
		{"a port too large", ftpFromInside, conntrack.Original, "EPRT |1|192.168.1.5|65536|\r\n", 0, 0, false},
		{"marks that differ", ftpFromInside, conntrack.Original, "EPRT |1!192.168.1.5|6000|\r\n", 0, 0, false},
		{"an extended reply of a kind that is none", ftpToInside, conntrack.Reply, "229 (||1|6000|)\r\n", 0, 0, false},
		{"a reply that goes on", ftpToInside, conntrack.Reply, "227-(192,168,1,5,200,10)\r\n", 0, 0, false},
		{"no port to be had", ftpFromInside, conntrack.Original, "PORT 192,168,1,5,200,10\r\n", 0, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := c.lab(t).open()
			l.refuse = true
			seq := map[conntrack.Direction]uint32{conntrack.Original: 1000, conntrack.Reply: 5000}[c.d]
			l.expect("line", l.says(c.d, seq, 6000-seq, c.said), seq, 6000-seq, c.said)
			n := l.f.Counts()
			if n.Bounced != c.bounced || len(l.asked) != c.asks || n.Rewritten != 0 || (n.Unmapped == 1) != c.unmapped || l.f.Adjusts() {
				t.Fatalf("asked %d times, counted %+v", len(l.asked), n)
			}
		})
	}
}

func TestASplitCommandPassesAsItIsAndTheNextOneIsLookedAt(t *testing.T) {
	command, next := "PORT 192,168,1,5,200,10\r\n", "EPRT |1|192.168.1.5|6000|\r\n"
	for cut := 1; cut < len(command); cut++ {
		l := ftpFromInside(t).open()
		l.expect("first part", l.says(conntrack.Original, 1000, 5000, command[:cut]), 1000, 5000, command[:cut])
		l.expect("second part", l.says(conntrack.Original, 1000+uint32(cut), 5000, command[cut:]), 1000+uint32(cut), 5000, command[cut:])
		l.expect("sent again in one piece", l.says(conntrack.Original, 1000, 5000, command), 1000, 5000, command)
		end := 1000 + uint32(len(command))
		l.expect("the next", l.says(conntrack.Original, end, 5000, next), end, 5000, "EPRT |1|198.51.100.2|6000|\r\n")
		if n := l.f.Counts(); n.Split != 1 || n.Rewritten != 1 {
			t.Fatalf("cut at %d: counted %+v", cut, n)
		}
	}
}

func TestTheRestOfASplitLineIsNoLine(t *testing.T) {
	l := ftpFromInside(t).open()
	l.says(conntrack.Original, 1000, 5000, "STOR x")
	said := "PORT 192,168,1,5,200,10\r\n"
	l.expect("rest", l.says(conntrack.Original, 1006, 5000, said), 1006, 5000, said)
	if len(l.asked) != 0 {
		t.Fatal("the tail of another command was taken for one")
	}
}

func TestWhatFillsAHolePassesAsItIs(t *testing.T) {
	l := ftpFromInside(t).open()
	port := "PORT 192,168,1,5,200,10\r\n"
	end := 1000 + uint32(len(port))
	l.expect("behind the hole", l.says(conntrack.Original, end, 5000, port), end, 5000, port)
	l.expect("the hole", l.says(conntrack.Original, 1000, 5000, port), 1000, 5000, port)
	l.expect("after it", l.says(conntrack.Original, end+25, 5000, port), end+25, 5000, "PORT 198,51,100,2,200,10\r\n")
	if n := l.f.Counts(); n.Unordered != 1 || n.Rewritten != 1 {
		t.Fatalf("counted %+v", n)
	}
}

func TestSegmentsSentAgainWithOtherBordersFitTogether(t *testing.T) {
	l := ftpFromInside(t).open()
	l.mapping = 65535
	said, heard := "PORT 192,168,1,5,4,0\r\nNOOP\r\n", "PORT 198,51,100,2,255,255\r\nNOOP\r\n"
	l.expect("first", l.says(conntrack.Original, 1000, 5000, said), 1000, 5000, heard)
	for a := 0; a <= len(said); a++ {
		for b := a; b <= len(said); b++ {
			one, two, three := l.says(conntrack.Original, 1000, 5000, said[:a]), l.says(conntrack.Original, 1000+uint32(a), 5000, said[a:b]), l.says(conntrack.Original, 1000+uint32(b), 5000, said[b:])
			if one.text+two.text+three.text != heard {
				t.Fatalf("cut at %d and %d: %q %q %q", a, b, one.text, two.text, three.text)
			}
			if two.seq != one.seq+uint32(len(one.text)) || three.seq != two.seq+uint32(len(two.text)) {
				t.Fatalf("cut at %d and %d: the numbers do not follow each other", a, b)
			}
		}
	}
}

func TestSACKBlocksAndUrgentPointersFollow(t *testing.T) {
	l := ftpFromInside(t).open()
	l.mapping = 65535
	said, heard := "PORT 192,168,1,5,4,0\r\n", "PORT 198,51,100,2,255,255\r\n"
	end, late := 1000+uint32(len(said)), 1000+uint32(len(heard))
	out := l.pass(conntrack.Original, ftpSegmentOf{seq: 1000, ack: 5000, flags: packet.TCPAck | packet.TCPUrg, urgent: uint16(len(said)), text: said})
	if out.urgent != uint16(len(heard)) {
		t.Fatalf("the urgent pointer is %d", out.urgent)
	}
	sack := func(blocks ...uint32) []byte {
		b := []byte{1, 1, 5, byte(2 + 4*len(blocks))}
		for _, v := range blocks {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	l.says(conntrack.Original, end, 5000, "NOOP\r\nNOOP\r\n")
	for _, c := range []struct{ got, want []byte }{
		{sack(late, late+6), sack(end, end+6)},
		{sack(late+6, late+12, 1000, 1005), sack(end+6, end+12, 1000, 1005)},
		{sack(1005, late+6), sack(1005, end+6)},
		{sack(1000+23, 1000+24), bytes.Repeat([]byte{1}, 12)}, // a place that the sender never had
		{[]byte{1, 1, 5, 9, 0, 0, 0, 0}, []byte{1, 1, 5, 9, 0, 0, 0, 0}},
		{[]byte{2, 4, 5, 180, 8, 60, 0, 0}, []byte{2, 4, 5, 180, 8, 60, 0, 0}},
	} {
		out := l.pass(conntrack.Reply, ftpSegmentOf{seq: 5000, ack: 1000, flags: packet.TCPAck, options: c.got})
		if want := c.want; !bytes.Equal(out.options, want) && !bytes.Equal(bytes.TrimLeft(out.options, "\x01"), bytes.TrimLeft(want, "\x01")) {
			t.Fatalf("options %x became %x, expected %x", c.got, out.options, want)
		}
	}
}

func TestEncryptedConnectionsAndOtherProtocolsAreLeftAlone(t *testing.T) {
	port := "PORT 192,168,1,5,200,10\r\n"
	l := ftpFromInside(t).open()
	l.says(conntrack.Original, 1000, 5000, "AUTH TLS\r\n")
	l.says(conntrack.Reply, 5000, 1010, "234 go ahead\r\n")
	l.expect("after AUTH", l.says(conntrack.Original, 1010, 5014, port), 1010, 5014, port)

	l = ftpFromInside(t).open()
	page := "POST / HTTP/1.1\r\nHost: x\r\n\r\n" + port
	l.expect("a page", l.says(conntrack.Original, 1000, 5000, page), 1000, 5000, page)
	if n := l.f.Counts(); n.Opaque != 1 || len(l.asked) != 0 {
		t.Fatalf("counted %+v", n)
	}
}

func TestASegmentWithAWrongSumTeachesNothing(t *testing.T) {
	l := ftpFromInside(t).open()
	p := l.packet(conntrack.Original, ftpSegmentOf{seq: 1000, ack: 5000, flags: packet.TCPAck, text: "PORT 192,168,1,5,200,10\r\n"})
	p[len(p)-4]++
	if out := l.f.Segment(l.now, conntrack.Original, p, l.ask); &out[0] != &p[0] || len(l.asked) != 0 || l.f.Counts().BadSums != 1 {
		t.Fatal("a damaged segment was believed")
	}
}

func TestAnnouncementsAtOnceAreBounded(t *testing.T) {
	l := ftpFromInside(t).open()
	many := strings.Repeat("PORT 192,168,1,5,200,10\r\n", 2600)
	out := l.says(conntrack.Original, 1000, 5000, many)
	if len(l.asked) != 8 || l.f.Counts().Crowded != 2592 || strings.Count(out.text, "198,51,100,2") != 8 {
		t.Fatalf("asked %d times, counted %+v", len(l.asked), l.f.Counts())
	}
}

func TestASuperFrameThatWouldGrowTooLongIsCutForTCPToSendAgain(t *testing.T) {
	l := ftpFromInside(t).open()
	l.mapping = 65535
	said := "PORT 192,168,1,5,4,0\r\n"
	said += strings.Repeat("x", 65535-40-len(said))
	out := l.pass(conntrack.Original, ftpSegmentOf{seq: 1000, ack: 5000, flags: packet.TCPAck | packet.TCPFin, text: said})
	if len(out.text) != 65535-40 || out.flags&packet.TCPFin != 0 || !strings.HasPrefix(out.text, "PORT 198,51,100,2,255,255\r\n") {
		t.Fatalf("%d octets, flags %#x", len(out.text), out.flags)
	}
	rest := l.says(conntrack.Original, 1000+uint32(len(said))-5, 5000, "xxxxx")
	if rest.seq != 1000+uint32(len(said)) || rest.text != "xxxxx" {
		t.Fatalf("the rest comes at %d", rest.seq)
	}
}

func TestASegmentFromNowhereNearIsNotReadAndAnyLongPortIsNone(t *testing.T) {
	l := ftpFromInside(t).open()
	said := "PORT 192,168,1,5,200,10\r\n"
	l.expect("far ahead", l.says(conntrack.Original, 1000+1<<24, 5000, said), 1000+1<<24, 5000, said)
	l.expect("far behind", l.says(conntrack.Original, ftpBehind, 5000, said), ftpBehind, 5000, said)
	l.expect("in place", l.says(conntrack.Original, 1000, 5000, "EPRT |1|192.168.1.5|600000|\r\n"), 1000, 5000, "EPRT |1|192.168.1.5|600000|\r\n")
	if n := l.f.Counts(); n != (nat.FTPCounts{Unordered: 2}) {
		t.Fatalf("counted %+v", n)
	}
}

func TestAConnectionPickedUpInTheMiddleBeginsWithTheNextWholeLine(t *testing.T) {
	l := ftpFromInside(t)
	said := "PORT 192,168,1,5,200,10\r\n"
	l.expect("the first", l.says(conntrack.Original, 1000, 5000, said), 1000, 5000, said)
	l.expect("the second", l.says(conntrack.Original, 1025, 5000, said), 1025, 5000, "PORT 198,51,100,2,200,10\r\n")
}

func TestTheNextConnectionOfTheSameKeysBeginsAnew(t *testing.T) {
	l := ftpFromInside(t).open()
	l.mapping = 65535
	l.says(conntrack.Original, 1000, 5000, "PORT 192,168,1,5,4,0\r\n")
	l.expect("a stranger's SYN", l.pass(conntrack.Original, ftpSegmentOf{seq: 777, flags: packet.TCPSyn}), 777, 0, "")
	if !l.f.Adjusts() {
		t.Fatal("a SYN in the middle of a connection made it forget its numbers")
	}
	l.pass(conntrack.Reply, ftpSegmentOf{seq: 5000, ack: 1000, flags: packet.TCPRst | packet.TCPAck})
	l.pass(conntrack.Original, ftpSegmentOf{seq: 1 << 31, flags: packet.TCPSyn})
	if l.f.Adjusts() {
		t.Fatal("the next connection has the numbers of the last")
	}
	l.expect("PORT", l.says(conntrack.Original, 1<<31+1, 5000, "PORT 192,168,1,5,4,0\r\n"), 1<<31+1, 5000, "PORT 198,51,100,2,255,255\r\n")
}

func ExampleFTP() {
	original := conntrack.MakeKey(6, ftpInside, 40000, ftpRemote, 21)
	reply := conntrack.MakeKey(6, ftpRemote, 21, ftpOutside, 4096)
	l := &ftpLab{f: nat.NewFTP(1, original, reply), keys: [2]conntrack.Key{original, reply}, mapping: 20000}
	l.f.Segment(1, conntrack.Original, l.packet(conntrack.Original, ftpSegmentOf{seq: 999, flags: packet.TCPSyn}), l.ask)
	out := l.f.Segment(1, conntrack.Original, l.packet(conntrack.Original, ftpSegmentOf{seq: 1000, flags: packet.TCPAck, text: "PORT 192,168,1,5,200,10\r\n"}), l.ask)
	fmt.Printf("%s", out[40:])
	// Output: PORT 198,51,100,2,78,32
}
