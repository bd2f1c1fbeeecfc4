package dataplane

import (
	"bytes"
	"encoding/binary"
	"testing"

	"vrouterd/internal/packet"
)

func clamped(in, out int) func(*Tables) {
	return func(t *Tables) { t.Ports[portA].MSSClamp, t.Ports[portB].MSSClamp = in, out }
}

func mssOption(v uint16) []byte { return binary.BigEndian.AppendUint16([]byte{2, 4}, v) }

// withMSS sends a segment from A to B and returns its options as they arrive.
func withMSS(t *testing.T, b *testbed, flags uint8, options []byte, change ...packetOption) []byte {
	t.Helper()
	ip := ipPacket(hostA, hostB, packet.ProtoTCP, tcpSegment(hostA, hostB, flags, options, []byte("data")), change...)
	b.arrive(portA, ip)
	got := b.one(portB).ip
	if !transportGood(got) {
		t.Errorf("flags %08b options % x: the checksum is wrong", flags, options)
	}
	s := packet.TCP(got.Payload())
	return s[packet.TCPMinLen:s.HeaderLen()]
}

func TestMSSIsLoweredInBothDirectionsAndNeverRaised(t *testing.T) {
	for _, c := range []struct {
		name            string
		in, out         int
		mtuIn, mtuOut   int
		flags           uint8
		offered, wanted uint16
	}{
		{"off", 0, 0, 1500, 1500, packet.TCPSyn, 9000, 9000},
		{"by the egress", 0, 1400, 1500, 1500, packet.TCPSyn, 1460, 1400},
		{"by the arrival port", 1300, 0, 1500, 1500, packet.TCPSyn, 1460, 1300},
		{"by the lower of both", 1300, 1200, 1500, 1500, packet.TCPSyn, 1460, 1200},
		{"in the answer", 0, 1400, 1500, 1500, packet.TCPSyn | packet.TCPAck, 1460, 1400},
		{"from the egress MTU", 0, -1, 1500, 1400, packet.TCPSyn, 1460, 1360},
		{"from the arrival MTU", -1, 0, 1280, 1500, packet.TCPSyn, 1460, 1240},
		{"not below 536", 0, -1, 1500, 296, packet.TCPSyn, 1460, 536},
		{"never raised", 0, 1400, 1500, 1500, packet.TCPSyn, 500, 500},
		{"equal", 0, 1400, 1500, 1500, packet.TCPSyn, 1400, 1400},
		{"not in data", 0, 1400, 1500, 1500, packet.TCPAck, 1460, 1460},
		{"extreme values", 0, 1, 1500, 1500, packet.TCPSyn, 0xffff, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t, clamped(c.in, c.out), func(t *Tables) { t.Ports[portA].MTU, t.Ports[portB].MTU = c.mtuIn, c.mtuOut })
			if got, want := withMSS(t, b, c.flags, mssOption(c.offered)), mssOption(c.wanted); !bytes.Equal(got, want) {
				t.Errorf("options % x, want % x", got, want)
			}
		})
	}
}

func TestMSSAtEveryAlignmentKeepsTheChecksumRight(t *testing.T) {
	b := newTestbed(t, clamped(0, 1400))
	for lead := range 9 {
		for _, v := range []uint16{1401, 1460, 8960, 0xfffe, 0xffff, 0x0600} {
			options := bytes.Repeat([]byte{1}, lead)
			options = append(options, mssOption(v)...)
			for len(options)%4 != 0 {
				options = append(options, 0)
			}
			got := withMSS(t, b, packet.TCPSyn, options)
			if m := binary.BigEndian.Uint16(got[lead+2:]); m != 1400 {
				t.Errorf("after %d no-operations %d became %d", lead, v, m)
			}
		}
	}
}

func TestMSSBehindIPOptionsIsLowered(t *testing.T) {
	b := newTestbed(t, clamped(0, 1400))
	if got := withMSS(t, b, packet.TCPSyn, mssOption(1460), withOptions(1, 1, 1, 1)); !bytes.Equal(got, mssOption(1400)) {
		t.Errorf("options % x", got)
	}
}

func TestPartialChecksumStaysWhenTheMSSIsLowered(t *testing.T) {
	b := newTestbed(t, clamped(0, 1400))
	ip := ipPacket(hostA, hostB, packet.ProtoTCP, tcpSegment(hostA, hostB, packet.TCPSyn, mssOption(1460), nil))
	v := partial(ip, 16)
	field := packet.TCP(ip.Payload()).Checksum()
	b.arrive(portA, ip, v)
	s := b.one(portB)
	seg := packet.TCP(s.ip.Payload())
	if seg.Checksum() != field || s.vnet.Flags != packet.VnetNeedsChecksum || !bytes.Equal(seg[20:24], mssOption(1400)) {
		t.Errorf("checksum field %04x, was %04x; options % x", seg.Checksum(), field, seg[20:24])
	}
}

func TestMalformedTCPIsForwardedAsItIs(t *testing.T) {
	b := newTestbed(t, clamped(1400, 1400))
	good := tcpSegment(hostA, hostB, packet.TCPSyn, mssOption(1460), nil)
	for name, options := range map[string][]byte{
		"length 0":               {2, 0, 5, 0xb4},
		"length 1":               {3, 1, 2, 4},
		"length beyond":          {8, 10, 2, 4},
		"no length":              {1, 1, 1, 2},
		"MSS of another length":  {2, 3, 0xff, 0},
		"MSS cut off":            {1, 2, 4, 0xff},
		"MSS after the end":      {0, 2, 4, 0xff},
		"only the first counts":  {2, 4, 0, 200, 2, 4, 0xff, 0xff},
		"another option's value": {5, 6, 2, 4, 0xff, 0xff, 1, 1},
	} {
		seg := tcpSegment(hostA, hostB, packet.TCPSyn, options, nil)
		ip := ipPacket(hostA, hostB, packet.ProtoTCP, seg)
		b.arrive(portA, ip)
		if got := b.one(portB).ip.Payload(); !bytes.Equal(got, seg) {
			t.Errorf("%s: % x became % x", name, options, got[20:])
		}
	}
	short := func(f func([]byte) []byte) []byte { return f(append([]byte{}, good...)) }
	for name, seg := range map[string][]byte{
		"header of 16 octets": short(func(s []byte) []byte { s[12] = 4 << 4; return s }),
		"header beyond":       short(func(s []byte) []byte { s[12] = 15 << 4; return s }),
		"19 octets":           good[:19],
		"nothing":             nil,
	} {
		b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoTCP, seg))
		if got := b.one(portB).ip.Payload(); !bytes.Equal(got, seg) {
			t.Errorf("%s: changed", name)
		}
	}
	// Fragments have no whole checksum to keep.
	for _, flags := range []uint16{packet.FlagMF, 10} {
		b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoTCP, good, withFlags(flags)))
		if got := b.one(portB).ip.Payload(); !bytes.Equal(got, good) {
			t.Errorf("fragment %04x: changed", flags)
		}
	}
}

func TestOwnPacketsAreClampedByTheirEgressAlone(t *testing.T) {
	b := newTestbed(t, clamped(1000, 1400))
	src := addr("10.2.0.1")
	b.d.Control().Output(ipPacket(src, hostB, packet.ProtoTCP, tcpSegment(src, hostB, packet.TCPSyn, mssOption(1460), nil)))
	got := b.one(portB).ip
	if s := packet.TCP(got.Payload()); !bytes.Equal(s[20:24], mssOption(1400)) || !transportGood(got) {
		t.Errorf("options % x", s[20:24])
	}
}
