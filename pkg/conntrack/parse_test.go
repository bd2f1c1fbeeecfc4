package conntrack

import (
	"encoding/binary"
	"testing"

	"vrouterd/internal/packet"
)

// ip4 builds a packet with a good header.
func ip4(protocol uint8, src, dst packet.Addr, body []byte) packet.IPv4 {
	p := make(packet.IPv4, packet.IPv4MinLen+len(body))
	p[0] = 0x45
	p.SetTotalLen(len(p))
	p.SetTTL(64)
	p.SetProtocol(protocol)
	p.SetSrc(src)
	p.SetDst(dst)
	p.UpdateHeaderChecksum()
	copy(p[packet.IPv4MinLen:], body)
	return p
}

func tcp(src, dst uint16, flags uint8, options []byte, payload int) []byte {
	t := make([]byte, packet.TCPMinLen+len(options)+payload)
	binary.BigEndian.PutUint16(t, src)
	binary.BigEndian.PutUint16(t[2:], dst)
	binary.BigEndian.PutUint32(t[4:], 1000)
	binary.BigEndian.PutUint32(t[8:], 2000)
	t[12] = byte(packet.TCPMinLen+len(options)) / 4 << 4
	t[13] = flags
	binary.BigEndian.PutUint16(t[14:], 500)
	copy(t[packet.TCPMinLen:], options)
	return t
}

func udp(src, dst uint16, payload int) []byte {
	u := make(packet.UDP, packet.UDPLen+payload)
	u.SetSrcPort(src)
	u.SetDstPort(dst)
	u.SetLength(len(u))
	return u
}

func icmp(icmpType, code uint8, rest uint32, payload []byte) []byte {
	m := append(make(packet.ICMP, packet.ICMPLen), payload...)
	m.SetType(icmpType)
	m.SetCode(code)
	m.SetRest(rest)
	m.SetChecksum(packet.Checksum(m))
	return m
}

func parse(ip packet.IPv4) Parsed {
	var p Parsed
	Parse(ip, &p)
	return p
}

func TestParseReadsSegments(t *testing.T) {
	options := []byte{2, 4, 5, 0xb4, 1, 3, 3, 9} // maximum segment size, no operation, window scale 9
	p := parse(ip4(protocolTCP, client, server, tcp(4000, 80, packet.TCPSyn, options, 7)))
	want := Parsed{Key: MakeKey(protocolTCP, client, 4000, server, 80), Class: ClassOpens, Flags: packet.TCPSyn, Scale: 10,
		Window: 500, Seq: 1000, Ack: 2000, Header: 28, Payload: 7, Length: 55, Count: 1}
	if p != want {
		t.Errorf("got %+v\nexpected %+v", p, want)
	}
	if p := parse(ip4(protocolTCP, client, server, tcp(4000, 80, packet.TCPAck, options, 7))); p.Class != ClassContinues || p.Scale != 0 {
		t.Errorf("the scale of what is no SYN means nothing: %+v", p)
	}
}

func TestWindowScaleOption(t *testing.T) {
	for _, c := range []struct {
		options []byte
		want    uint8
	}{
		{nil, 0},
		{[]byte{3, 3, 0}, 1},
		{[]byte{3, 3, 14}, 15},
		{[]byte{3, 3, 200}, 15},
		{[]byte{1, 1, 3, 3, 7}, 8},
		{[]byte{0, 3, 3, 7}, 0},
		{[]byte{2, 0, 3, 3, 7}, 0},
		{[]byte{2, 1, 3, 3, 7}, 0},
		{[]byte{2, 44, 3, 3, 7}, 0},
		{[]byte{3, 2, 3, 3, 7}, 8},
		{[]byte{3, 3}, 0},
		{[]byte{3}, 0},
	} {
		if got := offeredScale(c.options); got != c.want {
			t.Errorf("%v: %d, expected %d", c.options, got, c.want)
		}
	}
}

func TestOnlyFlagsThatTCPsSendAreLetIn(t *testing.T) {
	const (
		f, s, r, a = packet.TCPFin, packet.TCPSyn, packet.TCPRst, packet.TCPAck
	)
	good := map[uint8]Class{s: ClassOpens, s | a: ClassContinues, a: ClassContinues, f | a: ClassContinues, r: ClassContinues, r | a: ClassContinues}
	for flags := range 256 {
		p := parse(ip4(protocolTCP, client, server, tcp(1, 2, uint8(flags), nil, 0)))
		class := good[uint8(flags)&(f|s|r|a)]
		if p.Class != class || (class == ClassInvalid) != (p.Reason == ReasonTCPFlags) {
			t.Errorf("flags %08b: %v, %v", flags, p.Class, p.Reason)
		}
	}
}

func TestParseRefusesWhatLies(t *testing.T) {
	change := func(p packet.IPv4, at int, value byte) packet.IPv4 { p[at] = value; return p }
	good := func() packet.IPv4 { return ip4(protocolUDP, client, server, udp(1, 2, 10)) }
	goodTCP := func() packet.IPv4 { return ip4(protocolTCP, client, server, tcp(1, 2, packet.TCPAck, nil, 10)) }
	for _, c := range []struct {
		what string
		ip   packet.IPv4
		want Reason
	}{
		{"a good datagram", good(), ReasonNone},
		{"a good segment", goodTCP(), ReasonNone},
		{"nothing", nil, ReasonTruncated},
		{"a cut header", good()[:19], ReasonTruncated},
		{"a cut packet", good()[:37], ReasonTruncated},
		{"padding", append(good(), 1, 2, 3), ReasonNone},
		{"a total length below the header", change(good(), 3, 19), ReasonTruncated},
		{"a header length beyond the packet", change(good(), 0, 0x4f), ReasonTruncated},
		{"a first fragment", change(good(), 6, 0x20), ReasonTruncated},
		{"a later fragment", change(good(), 7, 9), ReasonTruncated},
		{"a UDP length below 8", change(good(), 25, 7), ReasonTruncated},
		{"a UDP length beyond the packet", change(good(), 25, 19), ReasonTruncated},
		{"a UDP length below the packet's", change(good(), 25, 9), ReasonNone},
		{"half a UDP header", ip4(protocolUDP, client, server, make([]byte, 7)), ReasonTruncated},
		{"UDP from port 0", ip4(protocolUDP, client, server, udp(0, 2, 1)), ReasonPorts},
		{"UDP to port 0", ip4(protocolUDP, client, server, udp(1, 0, 1)), ReasonPorts},
		{"TCP from port 0", ip4(protocolTCP, client, server, tcp(0, 2, packet.TCPSyn, nil, 0)), ReasonPorts},
		{"TCP to port 0", ip4(protocolTCP, client, server, tcp(1, 0, packet.TCPSyn, nil, 0)), ReasonPorts},
		{"half a TCP header", ip4(protocolTCP, client, server, make([]byte, 19)), ReasonTruncated},
		{"a data offset below 5", change(goodTCP(), 32, 0x40), ReasonTruncated},
		{"a data offset beyond the segment", change(goodTCP(), 32, 0x80), ReasonTruncated},
		{"half an ICMP header", ip4(protocolICMP, client, server, make([]byte, 7)), ReasonTruncated},
		{"a short timestamp", ip4(protocolICMP, client, server, icmp(13, 0, 0, make([]byte, 11))), ReasonTruncated},
		{"a short address mask", ip4(protocolICMP, client, server, icmp(17, 0, 0, make([]byte, 3))), ReasonTruncated},
		{"a redirect", ip4(protocolICMP, client, server, icmp(5, 0, 0, make([]byte, 28))), ReasonICMPType},
		{"a router advertisement", ip4(protocolICMP, client, server, icmp(9, 0, 0, make([]byte, 28))), ReasonICMPType},
		{"another protocol without anything", ip4(47, client, server, nil), ReasonNone},
	} {
		p := parse(c.ip)
		if p.Reason != c.want || (p.Class == ClassInvalid) != (c.want != ReasonNone) {
			t.Errorf("%s: class %d, %v, expected %v", c.what, p.Class, p.Reason, c.want)
		}
	}
}

func TestQueriesAndTheirAnswersHaveTheIdentifierOnOppositeSides(t *testing.T) {
	for _, c := range []struct{ request, reply uint8 }{{8, 0}, {13, 14}, {15, 16}, {17, 18}} {
		asked := parse(ip4(protocolICMP, client, server, icmp(c.request, 0, 0x12340001, make([]byte, 12))))
		told := parse(ip4(protocolICMP, server, client, icmp(c.reply, 0, 0x12340001, make([]byte, 12))))
		if asked.Class != ClassOpens || asked.Key != MakeKey(protocolICMP, client, 0x1234, server, 0) {
			t.Errorf("request %d: %+v", c.request, asked)
		}
		if told.Class != ClassContinues || told.Key != asked.Key.Reverse() {
			t.Errorf("reply %d: %+v", c.reply, told)
		}
	}
}

// TestErrorsAreKeyedByThePacketThatTheyQuote: RFC 5508 REQ-4 and REQ-5 need the session; options in the quoted header are
// passed over (REQ-3 b), and the quoted transport's sum is not looked at (REQ-3 c).
func TestErrorsAreKeyedByThePacketThatTheyQuote(t *testing.T) {
	withOptions := ip4(protocolUDP, client, server, append([]byte{1, 1, 1, 0}, udp(4000, 53, 0)...))
	withOptions[0] = 0x46
	withOptions.SetChecksum(0)
	withOptions.UpdateHeaderChecksum()
	for _, c := range []struct {
		what  string
		inner packet.IPv4
		key   Key // of the error's direction
	}{
		{"UDP", ip4(protocolUDP, client, server, udp(4000, 53, 100)), MakeKey(protocolUDP, server, 53, client, 4000)},
		{"UDP, 8 octets of it", ip4(protocolUDP, client, server, udp(4000, 53, 100))[:28], MakeKey(protocolUDP, server, 53, client, 4000)},
		{"UDP, with options", withOptions, MakeKey(protocolUDP, server, 53, client, 4000)},
		{"TCP, 8 octets of it", ip4(protocolTCP, client, server, tcp(4000, 80, 0, nil, 0))[:28], MakeKey(protocolTCP, server, 80, client, 4000)},
		{"an echo request", ip4(protocolICMP, client, server, icmp(8, 0, 0x77770001, nil)), MakeKey(protocolICMP, server, 0, client, 0x7777)},
		{"an echo reply", ip4(protocolICMP, client, server, icmp(0, 0, 0x77770001, nil)), MakeKey(protocolICMP, server, 0x7777, client, 0)},
		{"another protocol", ip4(47, client, server, make([]byte, 8)), MakeKey(47, server, 0, client, 0)},
	} {
		for _, icmpType := range []uint8{3, 4, 11, 12} {
			p := parse(ip4(protocolICMP, server+9, client, icmp(icmpType, 1, 0, c.inner)))
			if p.Class != ClassError || p.Key != c.key || p.ICMPType != icmpType || p.ICMPCode != 1 {
				t.Errorf("%s in type %d: %+v, expected the key %+v", c.what, icmpType, p, c.key)
			}
		}
	}
}

// TestErrorsThatLieAreRefused: RFC 5508 REQ-3 and REQ-3 a.
func TestErrorsThatLieAreRefused(t *testing.T) {
	good := func() packet.IPv4 { return ip4(protocolUDP, client, server, udp(4000, 53, 4)) }
	change := func(f func(packet.IPv4)) packet.IPv4 {
		p := good()
		f(p)
		if p.HeaderLen() <= len(p) {
			p.SetChecksum(0)
			p.UpdateHeaderChecksum()
		}
		return p
	}
	badSum := good()
	badSum[10]++
	for _, c := range []struct {
		what  string
		inner packet.IPv4
	}{
		{"nothing", nil},
		{"half a header", good()[:19]},
		{"7 octets of UDP", good()[:27]},
		{"a wrong header sum", badSum},
		{"version 6", change(func(p packet.IPv4) { p[0] = 0x65 })},
		{"a header of 16 octets", change(func(p packet.IPv4) { p[0] = 0x44 })},
		{"a header beyond the quote", change(func(p packet.IPv4) { p[0] = 0x4f })},
		{"a total length that has no ports", change(func(p packet.IPv4) { p.SetTotalLen(27) })},
		{"a later fragment", change(func(p packet.IPv4) { p[7] = 1 })},
		{"a packet of somebody else", change(func(p packet.IPv4) { p.SetSrc(client + 1) })},
		{"port 0", ip4(protocolUDP, client, server, udp(0, 53, 0))},
		{"an error", ip4(protocolICMP, client, server, icmp(3, 1, 0, good()))},
		{"a redirect", ip4(protocolICMP, client, server, icmp(5, 1, 0, good()))},
	} {
		if p := parse(ip4(protocolICMP, server, client, icmp(3, 1, 0, c.inner))); p.Class != ClassInvalid || p.Reason != ReasonICMPInner {
			t.Errorf("%s: class %d, %v", c.what, p.Class, p.Reason)
		}
	}
	wrong := icmp(3, 1, 0, good())
	wrong[2]++
	if p := parse(ip4(protocolICMP, server, client, wrong)); p.Reason != ReasonICMPChecksum {
		t.Errorf("a wrong sum: %v", p.Reason)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ip4(protocolTCP, client, server, tcp(4000, 80, packet.TCPSyn, []byte{2, 4, 5, 0xb4, 1, 3, 3, 9}, 7))))
	f.Add([]byte(ip4(protocolUDP, client, server, udp(4000, 53, 20))))
	f.Add([]byte(ip4(protocolICMP, client, server, icmp(8, 0, 0x12340001, nil))))
	f.Add([]byte(ip4(protocolICMP, server, client, icmp(3, 1, 0, ip4(protocolUDP, client, server, udp(4000, 53, 4))))))
	f.Add([]byte(ip4(protocolICMP, server, client, icmp(11, 0, 0, ip4(protocolICMP, client, server, icmp(8, 0, 7, nil))))))
	f.Add([]byte(ip4(47, client, server, make([]byte, 30))))
	f.Fuzz(func(t *testing.T, b []byte) {
		exact := make([]byte, len(b)) // so that a read beyond it is found
		copy(exact, b)
		var p Parsed
		Parse(exact, &p)
		if (p.Class == ClassInvalid) == (p.Reason == ReasonNone) {
			t.Fatalf("class %d with %v", p.Class, p.Reason)
		}
		if p.Length > len(b) || p.Payload < 0 || p.Payload+int(p.Header) > len(b) || p.Count != 1 {
			t.Fatalf("lengths: %+v", p)
		}
		if ported := p.Key.Protocol == protocolTCP || p.Key.Protocol == protocolUDP; p.Class != ClassInvalid && ported &&
			(p.Key.SrcPort == 0 || p.Key.DstPort == 0) {
			t.Fatalf("port 0: %+v", p)
		}
		if p.Scale > maxScale+1 || p.Class == ClassError && p.Key.Src == 0 && p.Key.Dst == 0 && len(b) < 48 {
			t.Fatalf("%+v", p)
		}
	})
}
