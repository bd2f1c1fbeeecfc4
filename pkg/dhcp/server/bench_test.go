package server

import (
	"math/rand/v2"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// wide is a /8 in which leases never run out.
func wide(most int) Config {
	n := home()
	n.Network, n.Ranges = pfx("10.0.0.0/8"), []Range{span1("10.1.0.0", "10.255.255.254")}
	return Config{Subnets: []Subnet{n}, MaxLeases: most}
}

// populated has leases of n clients.
func populated(n int) *Machine {
	c := wide(1 << 22)
	for i := range n {
		m := numbered(i).mac
		c.Initial = append(c.Initial, Lease{Addr: addr("10.1.0.0") + packet.Addr(i*7), State: Bound, HType: 1, CHAddr: m[:], Subnet: "lan", Start: start, Expires: start.Add(1e6 * time.Hour)})
	}
	return New(c, rand.New(rand.NewPCG(1, 2)))
}

// dialogue gives one client an address in the whole way, with messages as perfdhcp sends them.
func dialogue(b testing.TB, m *Machine, i int, discover, request []byte) {
	mac := numbered(1<<20 + i).mac
	copy(discover[28:], mac[:])
	copy(request[28:], mac[:])
	var got []byte
	for _, a := range m.Step(start, Receive{Port: lan, Link: mac, Dst: broadcast, Payload: discover}) {
		if s, is := a.(Send); is {
			got = s.Payload
		}
	}
	if got == nil {
		b.Fatal("no offer")
	}
	copy(request[len(request)-5:], got[16:20]) // option 50
	for _, a := range m.Step(start, Receive{Port: lan, Link: mac, Dst: broadcast, Payload: request}) {
		if s, is := a.(Send); is && s.Payload[242] == byte(dhcp.ACK) {
			return
		}
	}
	b.Fatal("no acknowledgement")
}

// messages are a DISCOVER and a REQUEST whose option 50 is the last.
func messages() (discover, request []byte) {
	h := numbered(1).with(55, "\x01\x03\x06\x0f\x1c\x2a")
	discover = h.message(dhcp.Discover).Append(nil)
	m := h.message(dhcp.Request, "server", "10.0.0.1")
	request = m.Append(nil)
	for request[len(request)-1] == 0 {
		request = request[:len(request)-1]
	}
	return discover, append(request[:len(request)-1], 50, 4, 0, 0, 0, 0, 255)
}

func BenchmarkLease(b *testing.B) {
	for _, n := range []int{0, 100000} {
		b.Run(map[int]string{0: "empty", 100000: "among 100000"}[n], func(b *testing.B) {
			m := populated(n)
			discover, request := messages()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				dialogue(b, m, i, discover, request)
			}
		})
	}
}

func BenchmarkRenewal(b *testing.B) {
	m := populated(100000)
	p := numbered(77).message(dhcp.Request, "ciaddr", (addr("10.1.0.0") + 77*7).String()).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		m.Step(start, Receive{Port: lan, Link: numbered(77).mac, Dst: addr("10.0.0.1"), Payload: p})
	}
}

func BenchmarkFreeAddressInAFullSixteen(b *testing.B) {
	r := newRoom(1 << 16)
	for i := range uint64(1 << 16) {
		r.set(i)
	}
	r.clear(12345)
	for b.Loop() {
		if at, ok := r.next(12346); ok {
			b.Fatal(at)
		}
		if at, ok := r.next(0); !ok || at != 12345 {
			b.Fatal(at)
		}
	}
}
