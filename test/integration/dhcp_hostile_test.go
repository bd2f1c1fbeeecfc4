package integration

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"vrouterd/internal/packet"
)

// refused is how often the DHCP server has refused something, and the reasons.
func (d *dhcpLAN) refused() (sum int, reasons map[string]int) {
	d.t.Helper()
	n := d.r.has(5*time.Second, "dhcp", "name", "lan")
	reasons = map[string]int{}
	list, _ := n["refusals"].([]any)
	for _, one := range list {
		fields, _ := one.(map[string]any)
		count, _ := fields["count"].(float64)
		reasons[fmt.Sprint(fields["reason"])] += int(count)
		if text, _ := fields["description"].(string); len(text) < 10 {
			d.t.Errorf("the reason %v has no description", fields)
		}
	}
	return n.number(d.t, "refused"), reasons
}

// serves has a fresh client of the crowd get an address.
func (d *dhcpLAN) serves(crowd *dhcpCrowd, number int) {
	d.t.Helper()
	if crowd.acquire(number, 1, 20*time.Second, nil) != 1 {
		d.t.Fatal("a client that does everything right gets no address")
	}
}

// message is a DISCOVER with these options and no more: neither a type nor an end is added.
func bareMessage(mac packet.MAC, options ...byte) []byte {
	b := dhcpOctets(dhcpv4.MessageTypeDiscover, 7, mac, netip.Addr{})[:240]
	return append(b, options...)
}

func TestDHCPServerNamesWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	d, crowd := newDHCPCrowd(t, dhcpPolicy{long: true})
	d.serves(crowd, 0)
	mac := packet.MAC{2, 0xbe, 0, 0, 0, 1}
	noCookie := bareMessage(mac, 53, 1, 1, 255)
	noCookie[238] = 0
	longAddress := bareMessage(mac, 53, 1, 1, 255)
	longAddress[2] = 255
	overload := func(value ...byte) []byte {
		return bareMessage(mac, slices.Concat([]byte{53, 1, 1, 52, byte(len(value))}, value, []byte{255})...)
	}
	liar := overload(3)
	liar[44] = 12   // `sname` begins with a host name
	liar[45] = 0xff // that is longer than the field
	reply := bareMessage(mac, 53, 1, 2, 255)
	reply[0] = 2
	for name, message := range map[string][]byte{
		"an option that says more than there is":    bareMessage(mac, 53, 1, 1, 12, 200, 'a', 'b'),
		"a type of two octets":                      bareMessage(mac, 53, 2, 1, 1, 255),
		"an unknown type":                           bareMessage(mac, 53, 1, 77, 255),
		"no cookie":                                 noCookie,
		"half a header":                             bareMessage(mac)[:100],
		"nothing":                                   {},
		"a hardware address of 255 octets":          longAddress,
		"overload of an unknown kind":               overload(9),
		"overload of two octets":                    overload(1, 2),
		"an overloaded field that lies":             liar,
		"an answer where questions go":              reply,
		"an OFFER from a client":                    bareMessage(mac, 53, 1, 2, 255),
		"a requested address of three octets":       bareMessage(mac, 53, 1, 3, 50, 3, 1, 2, 3, 255),
		"a server identifier of five octets":        bareMessage(mac, 53, 1, 3, 54, 5, 1, 2, 3, 4, 5, 255),
		"a REQUEST for nothing":                     bareMessage(mac, 53, 1, 3, 255),
		"a DECLINE of nothing":                      bareMessage(mac, 53, 1, 4, 255),
		"a RELEASE of nothing":                      bareMessage(mac, 53, 1, 7, 255),
		"a hardware type without an address, no id": func() []byte { m := bareMessage(mac, 53, 1, 1, 255); m[2] = 0; clear(m[28:44]); return m }(),
	} {
		before, reasons := d.refused()
		mark := d.watch.mark()
		crowd.send(dhcpFrame(mac, message))
		eventually(t, 10*time.Second, name+" to be refused", func() error {
			if now, _ := d.refused(); now != before+1 {
				return fmt.Errorf("%d refusals before, %d now: %v", before, now, reasons)
			}
			return nil
		})
		if answers := d.watch.since(mark, func(s dhcpSeen) bool {
			return s.src.Port() == 67 && s.of(mac.String(), dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck)
		}); len(answers) > 0 {
			t.Errorf("%s: answered with %v", name, answers)
		}
	}
	_, reasons := d.refused()
	t.Logf("reasons: %v", reasons)
	if len(reasons) < 6 {
		t.Errorf("expected different things to have different reasons: %v", reasons)
	}
	d.serves(crowd, 1)
}

func TestDHCPServerTakesOptionsThatOverflowIntoTheFields(t *testing.T) {
	t.Parallel()
	// What is overloaded well is read: the requested address stands in `file`, the host name in `sname`.
	d, crowd := newDHCPCrowd(t, dhcpPolicy{long: true})
	mac := crowdMAC(1)
	message := bareMessage(mac, 53, 1, 1, 52, 1, 3, 255)
	copy(message[108:], append(option(50, netip.MustParseAddr("192.168.1.123")), 255))
	copy(message[44:], []byte{12, 4, 'l', 'o', 'n', 'g', 255})
	mark := d.watch.mark()
	crowd.send(dhcpFrame(mac, message))
	offer := d.watch.await(mark, 10*time.Second, "an offer", func(s dhcpSeen) bool { return s.of(mac.String(), dhcpv4.MessageTypeOffer) })
	if offer.m.YourIPAddr.String() != "192.168.1.123" {
		t.Errorf("expected the address that was asked for: %v", offer)
	}
}

// inFragments cuts an IP packet into frames of 1480 octets of payload.
func inFragments(mac packet.MAC, ip []byte) (frames [][]byte) {
	payload := ip[20:]
	for at := 0; at < len(payload); at += 1480 {
		end := min(at+1480, len(payload))
		piece := append(slices.Clone(ip[:20]), payload[at:end]...)
		binary.BigEndian.PutUint16(piece[2:], uint16(len(piece)))
		binary.BigEndian.PutUint16(piece[4:], 0xd4c9)
		offset := uint16(at / 8)
		if end < len(payload) {
			offset |= 0x2000
		}
		binary.BigEndian.PutUint16(piece[6:], offset)
		fixIP(piece)
		frames = append(frames, slices.Concat([]byte{255, 255, 255, 255, 255, 255}, mac[:], []byte{8, 0}, piece))
	}
	return frames
}

func TestDHCPServerIsNotHurtBySixtyFourKilobytesOfOptions(t *testing.T) {
	t.Parallel()
	d, crowd := newDHCPCrowd(t, dhcpPolicy{long: true})
	from, to := netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67")
	for i, fill := range []func(b []byte) []byte{
		// One option in hundreds of parts, thousands of options without an octet, and zeros.
		func(b []byte) []byte { return append(append(b, 12, 250), slices.Repeat([]byte{'x'}, 250)...) },
		func(b []byte) []byte { return append(b, byte(200+len(b)%50), 0) },
		func(b []byte) []byte { return append(b, 0) },
	} {
		mac := crowdMAC(100 + i)
		message := bareMessage(mac, 53, 1, 1)
		for len(message) < 65_000 {
			message = fill(message)
		}
		message = append(message, 255)
		for range 20 {
			for _, frame := range inFragments(mac, udpPacket(from, to, message)) {
				crowd.send(frame)
			}
		}
	}
	// Whether it answers such a message or refuses it: others are served, and the router is the same as before.
	d.serves(crowd, 0)
	if d.r != nil {
		if size := d.r.resident(); size > 120<<20 {
			t.Errorf("the router has grown to %d MB", size>>20)
		}
	}
}

func TestDHCPServerKeepsAnAddressForItsOwner(t *testing.T) {
	t.Parallel()
	d, crowd := newDHCPCrowd(t, dhcpPolicy{long: true})
	d.serves(crowd, 0)
	owner := crowd.member(0)
	held, server, to := owner.addr, d.policy.server().Addr(), d.mac()
	thief := packet.MAC{2, 0xbe, 0, 0, 0, 2}
	answered := func(what string, xid uint32, types ...dhcpv4.MessageType) dhcpSeen {
		t.Helper()
		return d.watch.await(0, 10*time.Second, "the answer to "+what, func(s dhcpSeen) bool {
			return s.of(thief.String(), types...) && binary.BigEndian.Uint32(s.m.TransactionID[:]) == xid
		})
	}
	// It asks for it politely: it is offered another one.
	crowd.send(dhcpFrame(thief, dhcpOctets(dhcpv4.MessageTypeDiscover, 1, thief, netip.Addr{}, option(50, held)...)))
	if offer := answered("DISCOVER", 1, dhcpv4.MessageTypeOffer); offer.m.YourIPAddr.String() == held.String() {
		t.Errorf("%v is offered to another client", held)
	}
	// As if it had been offered, as if it had it since yesterday: refused.
	crowd.send(dhcpFrame(thief, dhcpOctets(dhcpv4.MessageTypeRequest, 2, thief, netip.Addr{}, append(option(50, held), option(54, server)...)...)))
	answered("REQUEST of what was not offered", 2, dhcpv4.MessageTypeNak)
	crowd.send(dhcpFrame(thief, dhcpOctets(dhcpv4.MessageTypeRequest, 3, thief, netip.Addr{}, option(50, held)...)))
	answered("INIT-REBOOT with another's address", 3, dhcpv4.MessageTypeNak)
	// It gives back and declines what is not its own: nothing comes of it.
	rogue := &crowdMember{mac: thief, addr: held, xid: 4}
	crowd.release(rogue, server, to)
	crowd.send(dhcpFrame(thief, dhcpOctets(dhcpv4.MessageTypeDecline, 5, thief, netip.Addr{}, append(option(50, held), option(54, server)...)...)))
	// After an answer to a later message those have been read.
	crowd.send(dhcpFrame(thief, dhcpOctets(dhcpv4.MessageTypeDiscover, 6, thief, netip.Addr{})))
	answered("DISCOVER", 6, dhcpv4.MessageTypeOffer)
	d.leased(held, owner.mac.String())
	if crowd.acquire(0, 1, 10*time.Second, crowd.reboot) != 1 || owner.addr != held {
		t.Errorf("the owner of %v has %v now", held, owner.addr)
	}
	if _, err := crowd.owners(); err != nil {
		t.Error(err)
	}
}

func TestDHCPServerIsNotExhaustedByRandomHardwareAddresses(t *testing.T) {
	t.Parallel()
	d, crowd := newDHCPCrowd(t, dhcpPolicy{long: true, sections: "dhcp_server: {max_leases: 150}\n"}, "udhcpc")
	d.startAll()
	held := d.clients[0].address().Addr()
	before := d.r.resident()
	random := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range 10_000 {
		mac := packet.MAC{2, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}
		crowd.send(dhcpFrame(mac, dhcpOctets(dhcpv4.MessageTypeDiscover, random.Uint32(), mac, netip.Addr{})))
		if i%20 == 0 {
			<-tick.C // slow enough that the server, not a queue before it, has to deal with them
		}
	}
	// Whoever has an address renews it all the while.
	mark := d.watch.mark()
	d.clients[0].nudge()
	d.watch.await(mark, 20*time.Second, "the renewal", func(s dhcpSeen) bool { return s.of(d.clients[0].mac(), dhcpv4.MessageTypeAck) })
	if now := d.clients[0].address().Addr(); now != held {
		t.Errorf("the client that had %v has %v", held, now)
	}
	n := d.r.has(10*time.Second, "dhcp", "name", "lan")
	if offered, size := n.number(t, "offered"), n.number(t, "size"); offered >= size {
		t.Errorf("%d addresses of %d are on offer, though one is leased", offered, size)
	}
	_, reasons := d.refused()
	t.Logf("refused: %v", reasons)
	if len(reasons)+d.r.drops("punt_queue") == 0 {
		t.Error("expected the rest to be refused by name")
	}
	if grown := d.r.resident() - before; grown > 32<<20 {
		t.Errorf("the router has grown by %d MB", grown>>20)
	}
	// Offers run out, and the next client is served.
	if crowd.acquire(0, 1, time.Minute, nil) != 1 {
		t.Fatal("no address for a client after the storm")
	}
}
