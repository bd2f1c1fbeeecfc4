package integration

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// ripDatagram is an IP packet with a RIP message. UDP's checksum is left out, as IPv4 allows.
func ripDatagram(from string, fromPort uint16, to string, message []byte) []byte {
	ip := make([]byte, 28, 28+len(message))
	ip = append(ip, message...)
	ip[0], ip[8], ip[9] = 4<<4|5, 1, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], netip.MustParseAddr(from).AsSlice())
	copy(ip[16:], netip.MustParseAddr(to).AsSlice())
	binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:20]))
	binary.BigEndian.PutUint16(ip[20:], fromPort)
	binary.BigEndian.PutUint16(ip[22:], 520)
	binary.BigEndian.PutUint16(ip[24:], uint16(len(ip)-20))
	return ip
}

// ripEntry is an entry of a message.
func ripEntry(prefix string, metric uint32) []byte {
	p := netip.MustParsePrefix(prefix)
	b := []byte{0, 2, 0, 0}
	b = append(b, p.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(packet.Mask(p.Bits())))
	b = append(b, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, metric)
}

// response is a message of a version with entries.
func response(version byte, entries ...[]byte) []byte {
	return append([]byte{2, version, 0, 0}, slices.Concat(entries...)...)
}

// signed is a response with keyed MD5, key 7 (RFC 2082).
func signed(sequence uint32, secret string, entries ...[]byte) []byte {
	body := slices.Concat(entries...)
	head := []byte{0xff, 0xff, 0, 3}
	head = binary.BigEndian.AppendUint16(head, uint16(4+20+len(body)))
	head = append(head, 7, 16)
	head = binary.BigEndian.AppendUint32(head, sequence)
	head = append(head, make([]byte, 8)...)
	b := append(response(2, head, body), 0xff, 0xff, 0, 1)
	var key [16]byte
	copy(key[:], secret)
	digest := md5.Sum(append(slices.Clone(b), key[:]...))
	return append(b, digest[:]...)
}

// passworded is a response with a plain password.
func passworded(secret string, entries ...[]byte) []byte {
	head := append([]byte{0xff, 0xff, 0, 2}, make([]byte, 16)...)
	copy(head[4:], secret)
	return response(2, append([][]byte{head}, entries...)...)
}

func TestRIPRefusesBadInputAndNamesTheReason(t *testing.T) {
	t.Parallel()
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+`
rip:
  timers: {update: 5s, timeout: 60s, garbage: 20s}
  keys: {ours: {type: md5, keys: [{id: 7, secret: between-us}]}}
  ports: {lan1: , lan2: {auth: ours}}
`)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	good := ripEntry("172.30.0.0/16", 3)
	evil := ripEntry("172.31.0.0/16", 1)
	h1.sendIP("10.1.0.1", ripDatagram("10.1.0.2", 520, "10.1.0.1", response(2, good)))
	h2.sendIP("10.2.0.1", ripDatagram("10.2.0.2", 520, "10.2.0.1", signed(200, "between-us", ripEntry("172.29.0.0/16", 3))))
	r.has(10*time.Second, "rip", "prefix", "172.30.0.0/16", "metric", "4")
	r.has(10*time.Second, "rip", "prefix", "172.29.0.0/16", "metric", "4")

	// The table is to stay exactly as it is now.
	table := func() string {
		var text string
		for _, row := range r.rows("rip") {
			text += fmt.Sprintln(row["prefix"], row["next_hop"], row["from"], row["port"], row["metric"], row["tag"], row["state"])
		}
		return text
	}
	before := table()
	twentySix := slices.Repeat([][]byte{evil}, 26)
	family := slices.Concat([]byte{0, 10}, evil[2:])
	mask := slices.Concat(evil[:8], []byte{255, 0, 255, 0}, evil[12:])
	v1 := slices.Concat(evil[:8], []byte{0, 0, 0, 0}, evil[12:])
	lateAuth := slices.Concat([]byte{0xff, 0xff}, evil[2:])
	for _, c := range []struct {
		host     *host
		reason   string // without the rip_ in front
		from     string
		fromPort uint16
		message  []byte
	}{
		{h1, "source_port", "10.1.0.2", 521, response(2, evil)},
		{h1, "source_off_link", "192.0.2.1", 520, response(2, evil)},
		{h1, "size", "10.1.0.2", 520, []byte{2, 2}},
		{h1, "alignment", "10.1.0.2", 520, response(2, evil, evil[:10])},
		{h1, "no_entry", "10.1.0.2", 520, response(2)},
		{h1, "too_many_entries", "10.1.0.2", 520, response(2, twentySix...)},
		{h1, "version", "10.1.0.2", 520, response(0, evil)},
		{h1, "version_refused", "10.1.0.2", 520, response(1, v1)},
		{h1, "command", "10.1.0.2", 520, append([]byte{9, 2, 0, 0}, evil...)},
		{h1, "auth_unexpected", "10.1.0.2", 520, passworded("guess", evil)},
		{h1, "route_metric_zero", "10.1.0.2", 520, response(2, ripEntry("172.31.0.0/16", 0))},
		{h1, "route_metric_range", "10.1.0.2", 520, response(2, ripEntry("172.31.0.0/16", 17))},
		{h1, "route_loopback", "10.1.0.2", 520, response(2, ripEntry("127.0.0.0/8", 1))},
		{h1, "route_zero_net", "10.1.0.2", 520, response(2, ripEntry("0.0.0.0/8", 1))},
		{h1, "route_multicast", "10.1.0.2", 520, response(2, ripEntry("224.0.0.0/4", 1))},
		{h1, "route_class_e", "10.1.0.2", 520, response(2, ripEntry("240.0.0.0/4", 1))},
		{h1, "route_host_bits", "10.1.0.2", 520, response(2, ripEntry("172.31.0.1/16", 1))},
		{h1, "route_mask", "10.1.0.2", 520, response(2, mask)},
		{h1, "route_family", "10.1.0.2", 520, response(2, family)},
		{h1, "route_auth_place", "10.1.0.2", 520, response(2, good, lateAuth)},
		{h2, "auth_missing", "10.2.0.2", 520, response(2, evil)},
		{h2, "version_refused", "10.2.0.2", 520, response(1, v1)},
		{h2, "auth_type", "10.2.0.2", 520, passworded("between-us", evil)},
		{h2, "auth_digest", "10.2.0.2", 520, signed(300, "guess", evil)},
		{h2, "auth_sequence", "10.2.0.2", 520, signed(199, "between-us", evil)},
		{h2, "auth_trailer", "10.2.0.2", 520, signed(300, "between-us", evil)[:44]},
		{h2, "auth_length", "10.2.0.2", 520, signed(300, "between-us", evil)[:40]},
	} {
		to, port, noun := "10.1.0.1", "lan1", "neighbors"
		if c.host == h2 {
			to, port = "10.2.0.1", "lan2"
		}
		// Who is no neighbour has no row among them: its port counts.
		if c.reason == "source_off_link" {
			noun = "ports"
		}
		count := func() int {
			row := find(r.rows("rip", noun), "port", port)
			if noun == "ports" {
				row = find(r.rows("rip", noun), "name", port)
			}
			return row.bad("rip_" + c.reason)
		}
		had := count()
		c.host.sendIP(to, ripDatagram(c.from, c.fromPort, to, c.message))
		eventually(t, 5*time.Second, "a packet refused for "+c.reason+" on "+port, func() error {
			if count() == had {
				return fmt.Errorf("show rip %s: %v\n%s", noun, r.rows("rip", noun), r.ctl("show", "drops"))
			}
			return nil
		})
		if now := table(); now != before {
			t.Fatalf("%s: the table was\n%sand now is\n%s", c.reason, before, now)
		}
	}
	// In the router's own name nobody gets as far as RIP.
	before = table()
	martians := r.drops("source_martian")
	h1.sendIP("10.1.0.1", ripDatagram("10.2.0.1", 520, "10.1.0.1", response(2, evil)))
	eventually(t, 5*time.Second, "a packet in the router's own name dropped as a martian", func() error {
		if r.drops("source_martian") == martians {
			return errors.New(r.ctl("show", "drops"))
		}
		return nil
	})
	if now := table(); now != before {
		t.Fatalf("the table was\n%sand now is\n%s", before, now)
	}
	// Nobody guesses a digest: of whatever octets, nothing gets into the table.
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	refused := func() float64 {
		n, _ := find(r.rows("rip", "neighbors"), "address", "10.2.0.2")["bad_packets"].(float64)
		return n
	}
	const junk = 300
	had := refused()
	for i := range junk {
		payload := make([]byte, random.IntN(600))
		for k := range payload {
			payload[k] = byte(random.Uint32())
		}
		if i%2 == 0 { // nearly right: a response with whole entries
			payload = response(2, slices.Repeat([][]byte{evil}, 1+random.IntN(25))...)
			payload[random.IntN(len(payload))] ^= byte(1 + random.IntN(255))
		}
		h2.sendIP("10.2.0.1", ripDatagram("10.2.0.2", 520, "10.2.0.1", payload))
	}
	eventually(t, 10*time.Second, "every one of them refused", func() error {
		if n := refused() - had; n < junk {
			return fmt.Errorf("seed %d: %.0f of %d: %v", seed, n, junk, r.rows("rip", "neighbors"))
		}
		return nil
	})
	if now := table(); now != before {
		t.Fatalf("seed %d: the table was\n%sand now is\n%s", seed, before, now)
	}
	// The default route is no route to network 0.
	h1.sendIP("10.1.0.1", ripDatagram("10.1.0.2", 520, "10.1.0.1", response(2, ripEntry("0.0.0.0/0", 1))))
	r.has(10*time.Second, "rip", "prefix", "0.0.0.0/0", "metric", "2")
}

func TestRIPNeighborThatFloodsIsBounded(t *testing.T) {
	t.Parallel()
	l := newUnwatchedLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+`
rip:
  max_routes: 1000
  timers: {update: 1s, timeout: 60s, garbage: 20s}
  ports: {lan1: , lan2: }
`)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	mac := h1.linkAddress()
	i := 0
	h1.ping("10.1.0.1")
	router := find(r.rows("ports"), "name", "lan1")["mac"].(string)
	flood := func() {
		h1.sendFrames(20000, func() []byte {
			i++
			entry := ripEntry(fmt.Sprintf("172.%d.%d.%d/32", 16+i>>16&15, i>>8&255, i&255), 1)
			return slices.Concat(hexMAC(t, router), mac, []byte{8, 0}, ripDatagram("10.1.0.2", 520, "10.1.0.1", response(2, entry)))
		})
	}
	flood()
	n := r.has(10*time.Second, "rip neighbors", "address", "10.1.0.2")
	if routes := n.number(t, "routes"); routes > 500 {
		t.Errorf("expected one neighbour to fill half of the table at most, it has %d of 1000", routes)
	}
	if n.bad("rip_rate")+r.drops("punt_queue") == 0 || n.bad("rip_route_neighbor_limit") == 0 {
		t.Errorf("expected a limit of its rate and one of its routes to have been met: %v", n)
	}
	// Others are served all the while.
	over := make(chan struct{})
	go func() { defer close(over); flood() }()
	h2.sendIP("10.2.0.1", ripDatagram("10.2.0.2", 520, "10.2.0.1", response(2, ripEntry("192.0.2.0/24", 1))))
	r.has(5*time.Second, "routes", "prefix", "192.0.2.0/24", "next_hop", "10.2.0.2")
	<-over
}

// linkAddress is the hardware address of eth0.
func (h *host) linkAddress() []byte {
	h.lab.t.Helper()
	fields := strings.Fields(h.ip("-br", "link", "show", "eth0"))
	return hexMAC(h.lab.t, fields[2])
}

func hexMAC(t *testing.T, text string) []byte {
	t.Helper()
	mac, err := packet.ParseMAC(text)
	if err != nil {
		t.Fatal(err)
	}
	return mac[:]
}
