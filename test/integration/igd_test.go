package integration

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"vrouterd/internal/igd"
)

// table is a NAT that only remembers mappings.
type table struct {
	mu       sync.Mutex
	mappings map[igd.Key]igd.Mapping
}

func (g *table) External(context.Context, netip.Addr) (netip.Addr, bool) {
	return netip.MustParseAddr("81.2.69.142"), true
}

func (g *table) Link(context.Context, netip.Addr) (igd.Link, error) {
	return igd.Link{Up: true, Uptime: 90 * time.Second, UpRate: 1e9, DownRate: 1e9, BytesSent: 4711, BytesReceived: 1147, PacketsSent: 47, PacketsReceived: 11}, nil
}

func (g *table) Add(_ context.Context, m igd.Mapping, elsewhere bool) (igd.Mapping, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		old, taken := g.mappings[m.Key]
		if m.External != 0 && (!taken || old.Internal.Addr() == m.Internal.Addr()) {
			g.mappings[m.Key] = m
			return m, nil
		}
		if !elsewhere {
			return m, igd.Conflict
		}
		m.External++
	}
}

func (g *table) Delete(_ context.Context, k igd.Key, client netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.mappings[k]
	switch {
	case !ok:
		return igd.NoSuchEntry
	case m.Internal.Addr() != client:
		return igd.NotAuthorized
	}
	delete(g.mappings, k)
	return nil
}

func (g *table) Find(_ context.Context, k igd.Key) (igd.Mapping, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m, ok := g.mappings[k]; ok {
		return m, nil
	}
	return igd.Mapping{}, igd.NoSuchEntry
}

func (g *table) List(_ context.Context, client netip.Addr) (all []igd.Mapping, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.mappings {
		if m.Internal.Addr() == client {
			all = append(all, m)
		}
	}
	return all, nil
}

// within runs f on a thread that is in the host's namespace: sockets that it opens stay there.
func (h *host) within(f func() error) {
	h.lab.t.Helper()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		h.lab.t.Fatal(err)
	}
	defer home.Close()
	there, err := netns.GetFromName(h.ns)
	if err != nil {
		h.lab.t.Fatal(err)
	}
	defer there.Close()
	if err = netns.Set(there); err == nil {
		err = f()
	}
	if err := netns.Set(home); err != nil {
		h.lab.t.Fatalf("the thread cannot go back to its namespace: %v", err) // and stays locked
	}
	runtime.UnlockOSThread()
	if err != nil {
		h.lab.t.Fatalf("within %s: %v", h.name, err)
	}
}

// gatewayOn serves an Internet Gateway Device at an address of a host.
func gatewayOn(t *testing.T, h *host, device string, local netip.Addr, lan netip.Prefix) *igd.Server {
	t.Helper()
	s, err := igd.New(igd.Options{
		Gateway: &table{mappings: map[igd.Key]igd.Mapping{}}, Seed: []byte(t.Name()), Name: "the lab's gateway", Version: "0.3", Boot: time.Now(),
	}, igd.Config{Port: 5000, MaxLease: time.Hour, Permitted: lan.Contains})
	if err != nil {
		t.Fatal(err)
	}
	var web net.Listener
	var group *net.UDPConn
	h.within(func() (err error) {
		if web, err = net.Listen("tcp4", netip.AddrPortFrom(local, 5000).String()); err != nil {
			return err
		}
		card, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		group, err = net.ListenMulticastUDP("udp4", card, net.UDPAddrFromAddrPort(netip.AddrPortFrom(igd.Group(), igd.Port)))
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Serve(ctx, web); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := group.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, a := range s.Search(time.Now(), from, local, buf[:n]) {
				if _, err := group.WriteToUDPAddrPort(a, from); err != nil {
					return
				}
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		group.Close()
		running.Wait()
	})
	return s
}

func TestMiniupnpcFindsTheGatewayAndMapsItsPorts(t *testing.T) {
	if _, err := exec.LookPath("upnpc"); err != nil {
		t.Fatal("upnpc is missing: run scripts/install-deps test")
	}
	l := newUnwatchedLab(t, "gw", "h1", "h2")
	gw := l.hosts["gw"]
	gw.ip("link", "add", "lan", "type", "bridge")
	gw.ip("link", "set", "lan", "up")
	gw.ip("addr", "add", "192.168.7.1/24", "dev", "lan")
	for name, address := range map[string]string{"h1": "192.168.7.2/24", "h2": "192.168.7.3/24"} {
		gw.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", l.hosts[name].ns)
		gw.ip("link", "set", name, "master", "lan", "up")
		l.hosts[name].ip("addr", "add", address, "dev", "eth0")
		l.hosts[name].ip("link", "set", "eth0", "up")
		l.hosts[name].ip("route", "add", "default", "via", "192.168.7.1")
	}
	s := gatewayOn(t, gw, "lan", netip.MustParseAddr("192.168.7.1"), netip.MustParsePrefix("192.168.7.0/24"))
	run := func(host string, args ...string) string {
		t.Helper()
		out, _ := l.hosts[host].try(append([]string{"upnpc"}, args...)...)
		return out
	}
	// Searching takes it two seconds each time: once is enough.
	upnpc := func(host string, args ...string) string {
		t.Helper()
		return run(host, append([]string{"-u", "http://192.168.7.1:5000/igd1.xml"}, args...)...)
	}
	upnpc2 := func(host string, args ...string) string {
		t.Helper()
		return run(host, append([]string{"-u", "http://192.168.7.1:5000/igd2.xml"}, args...)...)
	}

	// Until the ports of the bridge forward, a search is lost.
	deadline := time.Now().Add(20 * time.Second)
	out := run("h1", "-s")
	for !strings.Contains(out, "Found valid IGD") && time.Now().Before(deadline) {
		out = run("h1", "-s")
	}
	expect(t, out, "Found valid IGD : http://192.168.7.1:5000/control/WANIPConnection", "Connection Type : IP_Routed",
		"Status : Connected, uptime=90s", "ExternalIPAddress = 81.2.69.142", "MaxBitRateDown : 1000000000 bps",
		"Bytes:   Sent:     4711\tRecv:     1147", "Packets: Sent:       47\tRecv:       11")

	expect(t, upnpc("h1", "-e", "bits & pieces", "-a", "192.168.7.2", "4000", "5000", "tcp", "600"),
		"external 81.2.69.142:5000 TCP is redirected to internal 192.168.7.2:4000 (duration=600)")
	expect(t, upnpc("h1", "-a", "@", "4001", "5001", "udp"),
		"external 81.2.69.142:5001 UDP is redirected to internal 192.168.7.2:4001 (duration=3600)") // 0: as long as may be
	// It neither writes nor reads the escapes of XML; what arrived is the text itself.
	expect(t, upnpc("h1", "-l"), "TCP  5000->192.168.7.2:4000  'bits &amp; pieces' '' 600",
		"UDP  5001->192.168.7.2:4001", "GetGenericPortMappingEntry() returned 713")

	expect(t, upnpc("h2", "-a", "192.168.7.2", "4002", "5002", "tcp"), "failed with code 606") // not its own address
	expect(t, upnpc("h2", "-a", "192.168.7.3", "4000", "5000", "tcp"), "failed with code 718")
	expect(t, upnpc("h2", "-d", "5000", "tcp"), "606")
	if out := upnpc("h2", "-l"); strings.Contains(out, "192.168.7.2") {
		t.Errorf("h2 sees the mappings of h1:\n%s", out)
	}

	expect(t, upnpc2("h2", "-n", "192.168.7.3", "4000", "5000", "tcp", "600"),
		"is redirected to internal 192.168.7.3:4000 (duration=600)", "81.2.69.142:5001 TCP")
	expect(t, upnpc2("h1", "-L"), "TCP  5000->192.168.7.2:4000", "UDP  5001->192.168.7.2:4001")
	expect(t, upnpc2("h1", "-N", "5000", "5100", "udp", "0"), "UPNP_DeletePortMappingRange() returned : 0")

	expect(t, upnpc("h1", "-d", "5000", "tcp"), "UPNP_DeletePortMapping() returned : 0")
	expect(t, upnpc("h1", "-d", "5000", "tcp"), "714")
	if out := upnpc("h1", "-l"); strings.Contains(out, "->192.168.7.2") {
		t.Errorf("a mapping is left:\n%s", out)
	}
	if st := s.Stats(); st.BadRequests != 0 || st.WrongHost != 0 || st.Strangers != 0 {
		t.Errorf("requests of a real client were refused: %+v", st)
	}
}
