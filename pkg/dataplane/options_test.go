package dataplane

import (
	"bytes"
	"encoding/binary"
	"testing"

	"vrouterd/internal/packet"
)

// optionsOf are the options of what left, and a check that only they, the TTL and the sum differ.
func optionsOf(t *testing.T, got sent, was packet.IPv4) []byte {
	t.Helper()
	if !bytes.Equal(got.ip.Payload(), was.Payload()) || got.ip.HeaderLen() != was.HeaderLen() {
		t.Errorf("the packet around the options changed:\n%x\n%x", []byte(got.ip), []byte(was))
	}
	return got.ip.Options()
}

func words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestRecordRouteHoldsTheAddressOfTheEgressPort(t *testing.T) {
	ours := uint32(addr("10.2.0.1"))
	for _, c := range []struct {
		name       string
		have, want []byte
	}{
		{"first slot", concat([]byte{7, 11, 4}, words(0, 0)), concat([]byte{7, 11, 8}, words(ours, 0))},
		{"second slot", concat([]byte{7, 11, 8}, words(5, 0)), concat([]byte{7, 11, 12}, words(5, ours))},
		{"full", concat([]byte{7, 11, 12}, words(5, 6)), concat([]byte{7, 11, 12}, words(5, 6))},
		{"pointer far beyond the end", concat([]byte{7, 7, 252}, words(5)), concat([]byte{7, 7, 252}, words(5))},
		{"no slot at all", []byte{7, 3, 4}, []byte{7, 3, 4}},
		{"behind a no-operation", concat([]byte{1, 7, 7, 4}, words(0)), concat([]byte{1, 7, 7, 8}, words(ours))},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(16), withOptions(c.have...))
			b.arrive(portA, ip)
			if got := optionsOf(t, b.one(portB), ip); !bytes.HasPrefix(got, c.want) {
				t.Errorf("options % x, want % x", got, c.want)
			}
		})
	}
}

func TestUnnumberedPortIsRecordedByTheArrivalPortsAddress(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portT].Address = 0 })
	b.arrive(portA, ipPacket(hostA, addr("10.3.0.2"), packet.ProtoUDP, nil, withOptions(concat([]byte{7, 7, 4}, words(0))...)))
	if got := b.one(portT).ip.Options(); !bytes.Equal(got[3:7], words(uint32(addr("10.1.0.1")))) {
		t.Errorf("options % x", got)
	}
}

func TestTimestampOption(t *testing.T) {
	const now = 12345678
	ours, other := uint32(addr("10.2.0.1")), uint32(addr("10.1.0.1"))
	for _, c := range []struct {
		name       string
		have, want []byte
	}{
		{"times only", concat([]byte{68, 12, 5, 0}, words(0, 0)), concat([]byte{68, 12, 9, 0}, words(now, 0))},
		{"times only, last slot", concat([]byte{68, 12, 9, 0}, words(7, 0)), concat([]byte{68, 12, 13, 0}, words(7, now))},
		{"times only, full", concat([]byte{68, 8, 9, 0x20}, words(7)), concat([]byte{68, 8, 9, 0x30}, words(7))},
		{"no slot", []byte{68, 4, 5, 0}, []byte{68, 4, 5, 0x10}},
		{"with address", concat([]byte{68, 12, 5, 1}, words(0, 0)), concat([]byte{68, 12, 13, 1}, words(ours, now))},
		{"with address, full", concat([]byte{68, 12, 13, 0x11}, words(1, 2)), concat([]byte{68, 12, 13, 0x21}, words(1, 2))},
		{"asked by egress address", concat([]byte{68, 12, 5, 3}, words(ours, 0)), concat([]byte{68, 12, 13, 3}, words(ours, now))},
		{"asked by another of our addresses", concat([]byte{68, 12, 5, 3}, words(other, 0)), concat([]byte{68, 12, 13, 3}, words(other, now))},
		{"another router is asked", concat([]byte{68, 12, 5, 3}, words(0x08080808, 0)), concat([]byte{68, 12, 5, 3}, words(0x08080808, 0))},
		{"all that were asked have answered", concat([]byte{68, 12, 13, 0xf3}, words(1, 2)), concat([]byte{68, 12, 13, 0xf3}, words(1, 2))},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(16), withOptions(c.have...))
			b.arrive(portA, ip)
			if got := optionsOf(t, b.one(portB), ip); !bytes.Equal(got, c.want) {
				t.Errorf("options % x, want % x", got, c.want)
			}
		})
	}
}

func TestMalformedOptionsPointAtTheirFault(t *testing.T) {
	four := make([]byte, 4)
	for _, c := range []struct {
		name    string
		options []byte
		pointer uint8
	}{
		{"type without a length", []byte{1, 1, 1, 7}, 23},
		{"length 0", []byte{7, 0, 4, 0}, 21},
		{"length 1", []byte{1, 148, 1, 0}, 22},
		{"length beyond the header", []byte{200, 5, 0, 0}, 21},
		{"record route without a pointer", []byte{7, 2, 1, 1}, 21},
		{"record route pointer 3", concat([]byte{7, 7, 3}, four), 22},
		{"record route pointer between slots", concat([]byte{7, 11, 6}, four, four), 22},
		{"record route with half a slot", concat([]byte{7, 6, 4}, four), 22},
		{"record route twice", concat([]byte{7, 7, 4}, four, []byte{7, 7, 4}, four), 27},
		{"two source routes", concat([]byte{131, 7, 4}, four, []byte{137, 7, 4}, four), 27},
		{"source route with half a slot", concat([]byte{131, 5, 4}, four), 22},
		{"timestamp without flags", []byte{68, 3, 5, 1}, 21},
		{"timestamp pointer 4", concat([]byte{68, 8, 4, 0}, four), 22},
		{"timestamp pointer between slots", concat([]byte{68, 8, 7, 0}, four), 22},
		{"timestamp flag 2", concat([]byte{68, 8, 5, 2}, four), 23},
		{"timestamp with half a slot", concat([]byte{68, 8, 5, 1}, four), 22},
		{"timestamp overflow overflows", concat([]byte{68, 8, 9, 0xf0}, four), 23},
		{"timestamp twice", concat([]byte{68, 8, 5, 0}, four, []byte{68, 8, 5, 0}, four), 28},
		{"router alert of another length", []byte{148, 3, 0, 0}, 21},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t, func(t *Tables) { t.SourceRoute = true })
			ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(16), withOptions(c.options...))
			b.arrive(portA, ip)
			b.dropped(DropOptions)
			b.none()
			p := b.punt()
			if p.Reason != PuntError || p.Type != packet.ICMPParamProblem || p.Code != 0 || p.Rest != uint32(c.pointer)<<24 {
				t.Errorf("error type %d code %d rest %08x, want pointer %d", p.Type, p.Code, p.Rest, c.pointer)
			}
			if !bytes.Equal(p.Packet, ip) {
				t.Errorf("quoted\n%x\nsent\n%x", p.Packet, []byte(ip))
			}
		})
	}
}

func TestUnknownOptionsPassUntouched(t *testing.T) {
	b := newTestbed(t)
	for _, options := range [][]byte{
		{130, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0}, // security
		{30, 4, 0xff, 0xff}, {0, 7, 0, 4}, {1, 1, 1, 1},
		{134, 2, 222, 2, 30, 2, 1, 0}, // three of the shortest
	} {
		ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(16), withOptions(options...))
		b.arrive(portA, ip)
		if got := optionsOf(t, b.one(portB), ip); !bytes.Equal(got, ip.Options()) {
			t.Errorf("options % x became % x", ip.Options(), got)
		}
	}
	b.noPunt()
}

func TestRouterAlertIsPuntedAndGoesOnAfterwards(t *testing.T) {
	b := newTestbed(t)
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(16), withOptions(concat([]byte{148, 4, 0, 0, 7, 7, 4}, words(0))...))
	b.arrive(portA, ip)
	b.none()
	p := b.punt()
	if p.Reason != PuntRouterAlert || p.Port != portA || !bytes.Equal(p.Packet, ip) {
		t.Fatalf("punt %+v", p)
	}
	b.d.Control().Forward(&p)
	got := b.one(portB)
	if got.ip.TTL() != 63 || !bytes.Equal(got.ip.Options()[4:11], concat([]byte{7, 7, 8}, words(uint32(addr("10.2.0.1"))))) {
		t.Errorf("TTL %d options % x", got.ip.TTL(), got.ip.Options())
	}
	b.noPunt()
}

// sourceRouted builds a packet to first, with the stops that follow.
func sourceRouted(kind byte, dst string, ptr byte, stops ...string) packet.IPv4 {
	o := []byte{1, kind, byte(3 + 4*len(stops)), ptr}
	for _, s := range stops {
		o = binary.BigEndian.AppendUint32(o, uint32(addr(s)))
	}
	return ipPacket(hostA, addr(dst), packet.ProtoUDP, numbered(16), withOptions(o...))
}

func TestSourceRoutesAreRefusedUnlessHonoured(t *testing.T) {
	for _, kind := range []byte{optLooseRoute, optStrictRoute} {
		for _, dst := range []string{"10.1.0.1", "10.2.0.2"} {
			b := newTestbed(t)
			b.arrive(portA, sourceRouted(kind, dst, 4, "10.2.0.2"))
			b.dropped(DropSourceRoute)
			b.none()
			if p := b.punt(); p.Type != packet.ICMPUnreachable || p.Code != packet.ICMPSourceRouteFail {
				t.Errorf("punt %+v", p)
			}
		}
	}
}

func TestHonouredSourceRoutes(t *testing.T) {
	loose, strict := byte(optLooseRoute), byte(optStrictRoute)
	for _, c := range []struct {
		name  string
		ip    packet.IPv4
		out   PortID // 0: not forwarded
		dst   string
		ptr   byte
		slots []string
		drop  DropReason
	}{
		{"the next stop, our egress address is recorded", sourceRouted(loose, "10.1.0.1", 4, "10.2.0.2", "8.8.8.8"), portB, "10.2.0.2", 8, []string{"10.2.0.1", "8.8.8.8"}, 0},
		{"a loose stop behind a gateway", sourceRouted(loose, "10.1.0.1", 4, "8.8.8.8"), portA, "8.8.8.8", 8, []string{"10.1.0.1"}, 0},
		{"loose, passing through", sourceRouted(loose, "10.2.0.2", 4, "8.8.8.8"), portB, "10.2.0.2", 4, []string{"8.8.8.8"}, 0},
		{"two stops that are both ours", sourceRouted(loose, "10.1.0.1", 4, "10.3.0.1", "10.2.0.2"), portB, "10.2.0.2", 12, []string{"10.1.0.1", "10.2.0.1"}, 0},
		{"strict, on the wire", sourceRouted(strict, "10.1.0.1", 4, "10.2.0.2"), portB, "10.2.0.2", 8, []string{"10.2.0.1"}, 0},
		{"strict, the far end of a link", sourceRouted(strict, "10.1.0.1", 4, "10.3.0.2"), portT, "10.3.0.2", 8, []string{"10.3.0.1"}, 0},
		{"strict, behind a gateway", sourceRouted(strict, "10.1.0.1", 4, "8.8.8.8"), 0, "", 0, nil, DropSourceRoute},
		{"strict, though we are no stop", sourceRouted(strict, "10.2.0.2", 4, "8.8.8.8"), 0, "", 0, nil, DropSourceRoute},
		{"no route to the next stop", sourceRouted(loose, "10.1.0.1", 4, "9.9.9.9"), 0, "", 0, nil, DropNoRoute},
		{"a loopback stop", sourceRouted(loose, "10.1.0.1", 4, "127.0.0.1"), 0, "", 0, nil, DropSourceRoute},
		{"a group as stop", sourceRouted(loose, "10.1.0.1", 4, "224.0.0.9"), 0, "", 0, nil, DropSourceRoute},
		{"a broadcast as stop", sourceRouted(loose, "10.1.0.1", 4, "255.255.255.255"), 0, "", 0, nil, DropSourceRoute},
		{"a directed broadcast as stop", sourceRouted(loose, "10.1.0.1", 4, "10.2.0.255"), 0, "", 0, nil, DropDirectedBroadcast},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t, func(t *Tables) {
				t.SourceRoute = true
				t.Adjacencies[adjToT].NextHop = 0
			})
			b.arrive(portA, c.ip)
			if c.out == 0 {
				b.dropped(c.drop)
				b.none()
				return
			}
			got := b.one(c.out).ip
			o := got.Options()
			if got.Dst() != addr(c.dst) || o[3] != c.ptr {
				t.Errorf("to %v, pointer %d", got.Dst(), o[3])
			}
			for i, s := range c.slots {
				if a := packet.Addr(binary.BigEndian.Uint32(o[4+4*i:])); a != addr(s) {
					t.Errorf("slot %d holds %v, want %s", i, a, s)
				}
			}
			b.noPunt() // no redirect for a source-routed packet either
		})
	}
}

func TestSourceRouteAtItsEndIsOurs(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.SourceRoute = true })
	b.arrive(portA, sourceRouted(optLooseRoute, "10.1.0.1", 8, "10.9.9.9"))
	if p := b.punt(); p.Reason != PuntLocal {
		t.Errorf("punt %+v", p)
	}
}

func TestSourceRoutedPacketThatWaitedForItsNeighbourRecordsTheEgress(t *testing.T) {
	for _, kind := range []byte{optLooseRoute, optStrictRoute} {
		b := newTestbed(t, func(t *Tables) { t.SourceRoute = true })
		b.arrive(portA, sourceRouted(kind, "10.1.0.1", 4, "10.2.0.77"))
		p := b.punt()
		if p.Reason != PuntResolve || p.NextHop != addr("10.2.0.77") {
			t.Fatalf("punt %+v", p)
		}
		tables := *b.d.tables.Load()
		tables.Adjacencies = append([]Adjacency{}, tables.Adjacencies...)
		tables.Adjacencies[adjGleanB] = rewriteTo(portB, "10.2.0.77")
		b.d.Publish(&tables)
		b.d.Control().Forward(&p)
		if o := b.one(portB).ip.Options(); !bytes.Equal(o[4:8], words(uint32(addr("10.2.0.1")))) {
			t.Errorf("options % x", o)
		}
	}
}

// FuzzParseOptions holds the parser to what the stages behind it rely on.
func FuzzParseOptions(f *testing.F) {
	for _, o := range [][]byte{
		{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0}, {68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0}, {131, 7, 4, 1, 2, 3, 4},
		{137, 7, 8, 1, 2, 3, 4, 148, 4, 0, 0}, {1, 1, 0}, {7}, {7, 255}, {68, 4, 255, 0xf3}, {130, 11},
	} {
		f.Add(o)
	}
	f.Fuzz(func(t *testing.T, o []byte) {
		ip := packet.IPv4(make([]byte, packet.IPv4MinLen))
		ip = append(ip, o[:min(len(o), 40)]...)
		for len(ip)%4 != 0 {
			ip = append(ip, 0)
		}
		header := ip[:len(ip):len(ip)]
		set, bad := parseOptions(header)
		if bad != 0 {
			if int(bad) < packet.IPv4MinLen || int(bad) >= len(header) {
				t.Fatalf("pointer %d outside of the options of a header of %d", bad, len(header))
			}
			return
		}
		for what, at := range map[string]uint8{"record route": set.recordRoute, "source route": set.sourceRoute, "timestamp": set.timestamp} {
			if at == 0 {
				continue
			}
			n := int(header[at+1])
			if int(at) < packet.IPv4MinLen || int(at)+n > len(header) || n < 3 {
				t.Fatalf("%s at %d of %d octets in a header of %d", what, at, n, len(header))
			}
			if ptr := int(header[at+2]); ptr < 4 || ptr <= n && ptr+3 > n {
				t.Fatalf("%s has pointer %d of %d octets", what, ptr, n)
			}
		}
	})
}
