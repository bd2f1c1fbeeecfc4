package integration

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// in runs f on a thread that is in the host's namespace.
func (h *host) in(f func() error) error {
	runtime.LockOSThread()
	mine, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(mine)
	theirs, err := unix.Open("/run/netns/"+h.ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(theirs)
	if err := unix.Setns(theirs, unix.CLONE_NEWNET); err != nil {
		return err
	}
	failed := f()
	if err := unix.Setns(mine, unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("the way back from namespace %s is lost: %v", h.ns, err)) // the thread is of no use to anybody
	}
	runtime.UnlockOSThread()
	return failed
}

// sendIP sends an IP packet, header included, as it is.
func (h *host) sendIP(to string, ip []byte) {
	h.lab.t.Helper()
	err := h.in(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, ip, 0, &unix.SockaddrInet4{Addr: netip.MustParseAddr(to).As4()})
	})
	if err != nil {
		h.lab.t.Fatalf("sending a raw packet from %s: %v", h.name, err)
	}
}

// sendFrames sends Ethernet frames, or bare packets on a TUN link, through eth0.
func (h *host) sendFrames(count int, frame func() []byte) {
	h.lab.t.Helper()
	err := h.in(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		request, err := unix.NewIfreq("eth0")
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
			return err
		}
		to := &unix.SockaddrLinklayer{Ifindex: int(request.Uint32()), Protocol: 0x0008} // IPv4, in network order
		for range count {
			switch err := unix.Sendto(fd, frame(), 0, to); err {
			case nil, unix.EINVAL, unix.ENOBUFS, unix.EMSGSIZE: // the kernel refuses what is too short or too much
			default:
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.lab.t.Fatalf("sending frames from %s: %v", h.name, err)
	}
}

// echo is an echo request with options, whose length is a multiple of four.
func echo(from, to string, options ...byte) []byte {
	header := 20 + len(options)
	ip := make([]byte, header+16)
	ip[0] = 4<<4 | byte(header/4)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8], ip[9] = 64, unix.IPPROTO_ICMP
	copy(ip[12:], netip.MustParseAddr(from).AsSlice())
	copy(ip[16:], netip.MustParseAddr(to).AsSlice())
	copy(ip[20:], options)
	binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:header]))
	ip[header] = 8
	binary.BigEndian.PutUint16(ip[header+2:], packet.Checksum(ip[header:]))
	return ip
}

// sees sends until tcpdump on a host has seen a packet that its filter describes, and
// returns how tcpdump prints it.
func (h *host) sees(filter string, send func()) string {
	h.lab.t.Helper()
	seen := h.start("tcpdump", "-l", "-n", "-v", "-c", "1", "-i", "eth0", filter)
	eventually(h.lab.t, 20*time.Second, "a packet "+filter+" at "+h.name, func() error {
		send()
		select {
		case <-seen.done:
			return nil
		case <-time.After(200 * time.Millisecond):
			return fmt.Errorf("tcpdump has seen none")
		}
	})
	return seen.output.String()
}

func TestMalformedOptionIsAnsweredWithParameterProblem(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+unlimited)
	h1 := l.hosts["h1"]
	// A record route option whose pointer points into the option's own header.
	bad := echo("10.1.0.2", "10.2.0.2", 7, 7, 3, 0, 0, 0, 0, 0)
	text := h1.sees("icmp[0] == 12 and src host 10.1.0.1", func() { h1.sendIP("10.2.0.2", bad) })
	expect(t, text, "parameter problem", "octet 22")
	if r.drops("ip_options") == 0 {
		t.Errorf("expected the packet among the drops:\n%s", r.ctl("show", "drops"))
	}
}

func TestSourceRoutesAreDroppedUnlessAllowed(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+unlimited)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	// Loose source routing: to the router, and from there to h2.
	loose := echo("10.1.0.2", "10.1.0.1", 131, 7, 4, 10, 2, 0, 2, 0)
	eventually(t, 10*time.Second, "the source route among the drops", func() error {
		h1.sendIP("10.1.0.1", loose)
		if r.drops("source_route") == 0 {
			return fmt.Errorf("no drop:\n%s", r.ctl("show", "drops"))
		}
		return nil
	})
	r.write(twoHosts + unlimited + "forwarding: {source_route: true}\n")
	r.ctl("config", "apply", r.file)
	h2.sees("icmp[0] == 8 and dst host 10.2.0.2 and ip[20] == 131", func() { h1.sendIP("10.1.0.1", loose) })
}

func TestRouterAlertIsSeenByTheRouterAndGoesOn(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	alert := echo("10.1.0.2", "10.2.0.2", 148, 4, 0, 0)
	h2.sees("icmp[0] == 8 and ip[20] == 148", func() { h1.sendIP("10.2.0.2", alert) })
	if c := find(r.rows("counters"), "name", "punt_router_alert"); c == nil || c["value"] == 0.0 {
		t.Errorf("expected the punt to be counted:\n%s", r.ctl("show", "counters"))
	}
}

func TestJunkNeverHurts(t *testing.T) {
	for _, kind := range []string{"tap", "tun"} {
		t.Run(kind, func(t *testing.T) {
			l := newUnwatchedLab(t, "h1", "h2")
			link := "kind: tun"
			if kind == "tap" {
				link = "mac: 02:00:5e:10:00:01"
			}
			r := l.router("r1", `
ports:
  lan1:
    `+link+`
    netns: {h1}
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  lan2:
    netns: {h2}
    device: eth0
    address: 10.2.0.1/24
    host: {address: 10.2.0.2/24, gateway: 10.2.0.1}
`+unlimited)
			h1 := l.hosts["h1"]
			h1.ping("10.2.0.2")
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			h1.sendFrames(5000, func() []byte { return junk(random, kind == "tap") })
			h1.ping("10.2.0.2")
			h1.ping("10.1.0.1")
			if r.drops("ip_", "arp_", "martian") == 0 {
				t.Errorf("expected junk among the drops:\n%s", r.ctl("show", "drops"))
			}
		})
	}
}

// junk is a frame that is nearly right: a good packet with a few octets changed, cut
// somewhere, its header sum put right half of the time.
func junk(random *rand.Rand, ethernet bool) []byte {
	options := make([]byte, 4*random.IntN(11))
	for i := range options {
		options[i] = byte(random.Uint32())
	}
	ip := echo("10.1.0.2", "10.2.0.2", options...)
	ip = append(ip, make([]byte, random.IntN(1200))...)
	if random.IntN(2) == 0 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	}
	for range random.IntN(4) {
		ip[random.IntN(min(40, len(ip)))] = byte(random.Uint32())
	}
	if header := int(ip[0]&15) * 4; random.IntN(2) == 0 && header >= 20 && header <= len(ip) {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:header]))
	}
	ip = ip[:1+random.IntN(len(ip))]
	if !ethernet {
		return ip
	}
	frame := []byte{0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 0x02, 1, 2, 3, 4, 5, 0x08, 0x00}
	if random.IntN(8) == 0 {
		frame[13] = 6 // as ARP
	}
	if random.IntN(16) == 0 {
		frame[random.IntN(14)] ^= byte(random.Uint32())
	}
	return append(frame, ip...)
}
