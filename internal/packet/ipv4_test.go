package packet

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// example is an IPv4 packet with options, each field of its own value.
func example() IPv4 {
	p := IPv4{
		0x46, 0xb9, 0, 32, 0x12, 0x34, 0x60, 0x01, 0x40, 0x11, 0, 0,
		10, 1, 2, 3, 192, 168, 200, 4, 1, 1, 1, 0, 'p', 'a', 'y', 'l', 'o', 'a', 'd', '!',
	}
	p.UpdateHeaderChecksum()
	return p
}

func TestIPv4Fields(t *testing.T) {
	p := example()
	h := header.IPv4(p)
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"version", p.Version(), 4}, {"header length", p.HeaderLen(), int(h.HeaderLength())},
		{"TOS", p.TOS(), uint8(0xb9)}, {"total length", p.TotalLen(), int(h.TotalLength())},
		{"ID", p.ID(), h.ID()}, {"flags and offset", p.FlagsFragment(), uint16(0x6001)},
		{"DF", p.DontFragment(), true}, {"MF", p.MoreFragments(), h.More()},
		{"offset", p.FragmentOffset(), int(h.FragmentOffset())}, {"fragment", p.IsFragment(), true},
		{"TTL", p.TTL(), h.TTL()}, {"protocol", p.Protocol(), h.Protocol()},
		{"checksum", p.Checksum(), h.Checksum()},
		{"source", p.Src().String(), h.SourceAddress().String()}, {"destination", p.Dst().String(), h.DestinationAddress().String()},
		{"header", len(p.Header()), 24}, {"options", string(p.Options()), "\x01\x01\x01\x00"}, {"payload", string(p.Payload()), "payload!"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.what, c.got, c.want)
		}
	}
}

func TestIPv4SettersChangeTheirFieldAlone(t *testing.T) {
	for what, c := range map[string]struct {
		set      func(IPv4)
		get      func(IPv4) any
		want     any
		from, to int
	}{
		"TOS":          {func(p IPv4) { p.SetTOS(7) }, func(p IPv4) any { return p.TOS() }, uint8(7), 1, 2},
		"total length": {func(p IPv4) { p.SetTotalLen(999) }, func(p IPv4) any { return p.TotalLen() }, 999, 2, 4},
		"ID":           {func(p IPv4) { p.SetID(0xabcd) }, func(p IPv4) any { return p.ID() }, uint16(0xabcd), 4, 6},
		"flags":        {func(p IPv4) { p.SetFlagsFragment(0x2bcd) }, func(p IPv4) any { return p.FlagsFragment() }, uint16(0x2bcd), 6, 8},
		"TTL":          {func(p IPv4) { p.SetTTL(9) }, func(p IPv4) any { return p.TTL() }, uint8(9), 8, 9},
		"protocol":     {func(p IPv4) { p.SetProtocol(6) }, func(p IPv4) any { return p.Protocol() }, uint8(6), 9, 10},
		"checksum":     {func(p IPv4) { p.SetChecksum(0xfeed) }, func(p IPv4) any { return p.Checksum() }, uint16(0xfeed), 10, 12},
		"source":       {func(p IPv4) { p.SetSrc(0x01020304) }, func(p IPv4) any { return p.Src() }, Addr(0x01020304), 12, 16},
		"destination":  {func(p IPv4) { p.SetDst(0x05060708) }, func(p IPv4) any { return p.Dst() }, Addr(0x05060708), 16, 20},
	} {
		p, was := example(), example()
		c.set(p)
		if got := c.get(p); got != c.want {
			t.Errorf("%s is %v, want %v", what, got, c.want)
		}
		for i := range p {
			if p[i] != was[i] && (i < c.from || i >= c.to) {
				t.Errorf("setting %s changed octet %d", what, i)
			}
		}
	}
}

func TestTTLStepKeepsTheChecksumOfEveryValue(t *testing.T) {
	for ttl := range 256 {
		for proto := range 256 {
			p := example()
			p.SetTTL(uint8(ttl))
			p.SetProtocol(uint8(proto))
			p.UpdateHeaderChecksum()
			p.DecrementTTL()
			want := example()
			want.SetTTL(uint8(ttl - 1))
			want.SetProtocol(uint8(proto))
			want.UpdateHeaderChecksum()
			if string(p) != string(want) {
				t.Fatalf("TTL %d, protocol %d:\n%x\nwant\n%x", ttl, proto, p, want)
			}
		}
	}
}

// goodByGVisor is another opinion on a header.
func goodByGVisor(b []byte) bool {
	h := header.IPv4(b)
	return h.IsValid(len(b)) && h.IsChecksumValid() && int(h.TotalLength()) <= len(b)
}

func checkAgainstGVisor(t *testing.T, b []byte) {
	t.Helper()
	if got, want := IPv4(b).Validate() == HeaderGood, goodByGVisor(b); got != want {
		t.Fatalf("% x: fault %d, gVisor says %v", b[:min(len(b), 60)], IPv4(b).Validate(), want)
	}
}

func TestValidateAgreesWithGVisor(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	good := 0
	for range 50000 {
		b := make([]byte, r.IntN(90))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if len(b) >= IPv4MinLen && r.IntN(8) != 0 {
			b[0] = 0x40 | byte(r.IntN(16))
			if r.IntN(3) != 0 {
				b[0] = 0x45 + byte(r.IntN(3))
			}
			IPv4(b).SetTotalLen(r.IntN(len(b) + 5))
			if hl := IPv4(b).HeaderLen(); r.IntN(8) != 0 && hl >= IPv4MinLen && hl <= len(b) {
				IPv4(b).UpdateHeaderChecksum()
			}
		}
		checkAgainstGVisor(t, b)
		if IPv4(b).Validate() == HeaderGood {
			good++
		}
	}
	if good < 1000 {
		t.Errorf("only %d of the headers were good: the test tries too little", good)
	}
}

func TestValidateNamesTheFirstFault(t *testing.T) {
	change := func(f func(IPv4)) IPv4 { p := example(); f(p); return p }
	sum := func(p IPv4) { p.UpdateHeaderChecksum() }
	for what, c := range map[string]struct {
		p    IPv4
		want HeaderFault
	}{
		"good":                      {example(), HeaderGood},
		"with padding":              {append(example(), 0, 0, 0), HeaderGood},
		"nothing":                   {nil, HeaderShort},
		"19 octets":                 {example()[:19], HeaderShort},
		"version 6":                 {change(func(p IPv4) { p[0] = 0x66 }), HeaderVersion},
		"IHL 4":                     {change(func(p IPv4) { p[0] = 0x44 }), HeaderLength},
		"IHL beyond":                {change(func(p IPv4) { p[0] = 0x4f }), HeaderLength},
		"checksum":                  {change(func(p IPv4) { p[11]++ }), HeaderChecksum},
		"total length below header": {change(func(p IPv4) { p.SetTotalLen(23); sum(p) }), HeaderTotalLength},
		"total length beyond":       {change(func(p IPv4) { p.SetTotalLen(33); sum(p) }), HeaderTotalLength},
		"header alone":              {change(func(p IPv4) { p.SetTotalLen(24); sum(p) })[:24], HeaderGood},
	} {
		if got := c.p.Validate(); got != c.want {
			t.Errorf("%s: fault %d, want %d", what, got, c.want)
		}
	}
}

func FuzzIPv4Validate(f *testing.F) {
	f.Add([]byte(example()))
	f.Add([]byte(example()[:20]))
	f.Add([]byte{0x45})
	f.Fuzz(func(t *testing.T, b []byte) {
		checkAgainstGVisor(t, b)
		p := IPv4(b)
		if p.Validate() != HeaderGood {
			return
		}
		// What has passed the door can be read without another look.
		if len(p.Header())+len(p.Payload()) != len(p) || len(p.Options()) != p.HeaderLen()-IPv4MinLen {
			t.Fatal("header and payload do not make up the packet")
		}
		if p.TTL() > 0 {
			p.DecrementTTL()
			if p.Validate() != HeaderGood {
				t.Fatal("the TTL step broke the checksum")
			}
		}
	})
}

func TestAddressClasses(t *testing.T) {
	for _, c := range []struct {
		addr                                                        string
		multicast, local, loopback, zero, classE, private, wellKept bool
	}{
		{addr: "0.0.0.0", zero: true}, {addr: "0.255.255.255", zero: true}, {addr: "1.0.0.0"},
		{addr: "9.255.255.255"}, {addr: "10.0.0.0", private: true}, {addr: "10.255.255.255", private: true}, {addr: "11.0.0.0"},
		{addr: "126.255.255.255"}, {addr: "127.0.0.0", loopback: true}, {addr: "127.255.255.255", loopback: true}, {addr: "128.0.0.0"},
		{addr: "172.15.255.255"}, {addr: "172.16.0.0", private: true}, {addr: "172.31.255.255", private: true}, {addr: "172.32.0.0"},
		{addr: "192.167.255.255"}, {addr: "192.168.0.0", private: true}, {addr: "192.168.255.255", private: true}, {addr: "192.169.0.0"},
		{addr: "223.255.255.255"}, {addr: "224.0.0.0", multicast: true, local: true}, {addr: "224.0.0.255", multicast: true, local: true},
		{addr: "224.0.1.0", multicast: true}, {addr: "239.255.255.255", multicast: true},
		{addr: "240.0.0.0", classE: true}, {addr: "255.255.255.255", classE: true},
	} {
		n := netip.MustParseAddr(c.addr)
		a := AddrFrom(n)
		if a.IsMulticast() != c.multicast || a.IsLinkLocalMulticast() != c.local || a.IsLoopback() != c.loopback ||
			a.IsZeroNet() != c.zero || a.IsClassE() != c.classE || a.IsPrivate() != c.private {
			t.Errorf("%v is in the wrong class", a)
		}
		if a.IsMulticast() != n.IsMulticast() || a.IsLoopback() != n.IsLoopback() || a.IsPrivate() != n.IsPrivate() || a.IsLinkLocalMulticast() != n.IsLinkLocalMulticast() {
			t.Errorf("%v: netip is of another opinion", a)
		}
		if a.Netip() != n || a.String() != c.addr {
			t.Errorf("%v became %v", n, a)
		}
	}
	if AddrFrom(netip.MustParseAddr("::ffff:10.1.2.3")) != 0x0a010203 {
		t.Error("an IPv4 address in IPv6 dress is an IPv4 address")
	}
	if AddrFrom(netip.MustParseAddr("2001:db8::1")) != 0 || AddrFrom(netip.Addr{}) != 0 {
		t.Error("what is no IPv4 address is 0")
	}
}

func TestMasksOfEveryLength(t *testing.T) {
	for bits := range 33 {
		p := netip.PrefixFrom(netip.MustParseAddr("255.255.255.255"), bits).Masked()
		if got := Mask(bits); got != AddrFrom(p.Addr()) {
			t.Errorf("/%d is %v", bits, got)
		}
	}
}

func TestTransportViews(t *testing.T) {
	s := TCP(make([]byte, 24))
	for i := range s {
		s[i] = byte(i + 1)
	}
	h := header.TCP(s)
	if s.SrcPort() != h.SourcePort() || s.DstPort() != h.DestinationPort() || s.Seq() != h.SequenceNumber() || s.Ack() != h.AckNumber() ||
		s.HeaderLen() != int(h.DataOffset()) || s.Flags() != uint8(h.Flags()) || s.Checksum() != h.Checksum() {
		t.Error("TCP: gVisor reads another value")
	}
	s.SetSeq(0xdeadbeef)
	s.SetFlags(TCPSyn | TCPEce)
	s.SetChecksum(0xabcd)
	if h.SequenceNumber() != 0xdeadbeef || uint8(h.Flags()) != 0x42 || h.Checksum() != 0xabcd {
		t.Error("TCP: gVisor reads another value than was set")
	}
	for flag, want := range map[int]header.TCPFlags{TCPFin: header.TCPFlagFin, TCPSyn: header.TCPFlagSyn, TCPRst: header.TCPFlagRst,
		TCPPsh: header.TCPFlagPsh, TCPAck: header.TCPFlagAck, TCPUrg: header.TCPFlagUrg, TCPEce: 0x40, TCPCwr: 0x80} {
		if flag != int(want) {
			t.Errorf("flag %x is %x", flag, want)
		}
	}
	u := UDP(make([]byte, 10))
	u.SetSrcPort(1)
	u.SetDstPort(0xfffe)
	u.SetLength(10)
	u.SetChecksum(0x1234)
	g := header.UDP(u)
	if g.SourcePort() != 1 || g.DestinationPort() != 0xfffe || g.Length() != 10 || g.Checksum() != 0x1234 {
		t.Error("UDP: gVisor reads another value than was set")
	}
	if u.SrcPort() != 1 || u.DstPort() != 0xfffe || u.Length() != 10 || u.Checksum() != 0x1234 || len(u.Payload()) != 2 {
		t.Error("UDP: another value comes back")
	}
}

func TestICMPView(t *testing.T) {
	m := ICMP(make([]byte, 12))
	m.SetType(3)
	m.SetCode(4)
	m.SetChecksum(0xbeef)
	m.SetRest(1400)
	if h := header.ICMPv4(m); h.Type() != header.ICMPv4DstUnreachable || h.Code() != header.ICMPv4FragmentationNeeded || h.Checksum() != 0xbeef || h.MTU() != 1400 {
		t.Error("gVisor reads another value than was set")
	}
	if m.Type() != 3 || m.Code() != 4 || m.Checksum() != 0xbeef || m.Rest() != 1400 || len(m.Payload()) != 4 {
		t.Error("another value comes back")
	}
	queries := map[uint8]bool{0: true, 8: true, 9: true, 10: true, 13: true, 14: true, 15: true, 16: true, 17: true, 18: true}
	for kind := range 256 {
		m.SetType(uint8(kind))
		if m.IsError() == queries[uint8(kind)] {
			t.Errorf("type %d: error %v", kind, m.IsError())
		}
	}
}

func TestVnetHeaderRoundTrip(t *testing.T) {
	v := Vnet{Flags: 1, GSOType: GSOTCPv4 | GSOECN, HeaderLen: 0x0102, GSOSize: 0x0304, ChecksumAt: 0x0506, ChecksumOff: 0x0708}
	b := make([]byte, VnetLen+2)
	v.Put(b)
	if want := "\x01\x81\x02\x01\x04\x03\x06\x05\x08\x07\x00\x00"; string(b) != want {
		t.Errorf("% x", b)
	}
	if ParseVnet(b) != v {
		t.Errorf("%+v came back as %+v", v, ParseVnet(b))
	}
	for kind, super := range map[uint8]bool{GSONone: false, GSOECN: false, GSOTCPv4: true, GSOTCPv4 | GSOECN: true, GSOUDP: true, GSOUDPL4: true, 7: true} {
		if (Vnet{GSOType: kind}).IsSuper() != super {
			t.Errorf("type %x: %v", kind, !super)
		}
	}
}

func FuzzVnet(f *testing.F) {
	f.Add(make([]byte, VnetLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < VnetLen {
			return
		}
		out := make([]byte, VnetLen)
		ParseVnet(b).Put(out)
		if string(out) != string(b[:VnetLen]) {
			t.Fatalf("% x became % x", b[:VnetLen], out)
		}
	})
}

func TestEthernetView(t *testing.T) {
	e := Ethernet(make([]byte, 16))
	e.SetDst(MAC{1, 2, 3, 4, 5, 6})
	e.SetSrc(MAC{7, 8, 9, 10, 11, 12})
	e.SetType(EtherTypeARP)
	if binary.BigEndian.Uint64(e) != 0x0102030405060708 || e.Dst() != (MAC{1, 2, 3, 4, 5, 6}) || e.Src() != (MAC{7, 8, 9, 10, 11, 12}) || e.Type() != 0x0806 || len(e.Payload()) != 2 {
		t.Errorf("% x", []byte(e))
	}
}

func TestMACText(t *testing.T) {
	m := MAC{2, 0, 0xab, 0xcd, 0xef, 1}
	text, err := m.MarshalText()
	if err != nil || string(text) != "02:00:ab:cd:ef:01" {
		t.Errorf("%s, %v", text, err)
	}
	for _, s := range []string{"02:00:ab:cd:ef:01", "02-00-AB-CD-EF-01"} {
		var back MAC
		if err := back.UnmarshalText([]byte(s)); err != nil || back != m {
			t.Errorf("%s: %v, %v", s, back, err)
		}
	}
	for _, s := range []string{"", "02:00:ab:cd:ef", "02:00:ab:cd:ef:01:02:03", "gg:00:00:00:00:00"} {
		if got, err := ParseMAC(s); err == nil {
			t.Errorf("%q was read as %v", s, got)
		}
	}
	if m.IsGroup() || m.IsZero() || !BroadcastMAC.IsGroup() || !(MAC{}).IsZero() || !(MAC{1, 0, 0x5e}).IsGroup() {
		t.Error("group or zero where it is not")
	}
}

func FuzzParseMAC(f *testing.F) {
	f.Add("02:00:ab:cd:ef:01")
	f.Add("02-00-AB-CD-EF-01")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			return
		}
		if back, err := ParseMAC(m.String()); err != nil || back != m {
			t.Fatalf("%q is %v, which is read as %v, %v", s, m, back, err)
		}
	})
}
