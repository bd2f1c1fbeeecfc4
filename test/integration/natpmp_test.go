package integration

import (
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"vrouterd/pkg/pcp"
)

// ports is a NAT that gives every port as it is wished, one from 1024 on at least.
type ports struct{ given []netip.AddrPort }

func (p *ports) Address(netip.Addr) (netip.Addr, bool) {
	return netip.MustParseAddr("81.2.69.142"), true
}

func (p *ports) Map(_ time.Time, r pcp.Request) (pcp.Granted, pcp.Refusal) {
	if !slices.Contains(p.given, r.Client) {
		p.given = append(p.given, r.Client)
	}
	outside, _ := p.Address(r.Client.Addr())
	return pcp.Granted{Outside: netip.AddrPortFrom(outside, max(r.Suggested.Port(), 1024)), Lifetime: r.Lifetime}, pcp.Made
}

func (p *ports) Unmap(_ time.Time, _ uint8, client netip.AddrPort) pcp.Refusal {
	p.given = slices.DeleteFunc(p.given, func(a netip.AddrPort) bool { return a == client })
	return pcp.Made
}

func TestNatpmpcMapsPortsAtTheMachine(t *testing.T) {
	if _, err := exec.LookPath("natpmpc"); err != nil {
		t.Fatal("natpmpc is missing: run scripts/install-deps test")
	}
	l := newUnwatchedLab(t, "gw", "h1")
	gw, h1 := l.hosts["gw"], l.hosts["h1"]
	gw.ip("link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", h1.ns)
	gw.ip("link", "set", "lan", "up")
	gw.ip("addr", "add", "192.168.8.1/24", "dev", "lan")
	h1.ip("addr", "add", "192.168.8.2/24", "dev", "eth0")
	h1.ip("link", "set", "eth0", "up")
	h1.ip("route", "add", "default", "via", "192.168.8.1")

	var socket *net.UDPConn
	gw.within(func() (err error) {
		socket, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 168, 8, 1), Port: pcp.ServerPort})
		return err
	})
	t.Cleanup(func() { socket.Close() })
	nat := &ports{}
	var running sync.WaitGroup
	running.Go(func() {
		s := pcp.New(pcp.Config{NATPMP: true, PCP: true}, nat, time.Now())
		buf := make([]byte, 2000)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if answer := s.Receive(time.Now(), from, buf[:n]); answer != nil {
				if _, err := socket.WriteToUDPAddrPort(answer, from); err != nil {
					return
				}
			}
		}
	})
	natpmpc := func(args ...string) string {
		t.Helper()
		out, _ := h1.try(append([]string{"natpmpc"}, args...)...)
		return out
	}
	// The spelling is its own.
	expect(t, natpmpc(), "Public IP address : 81.2.69.142")
	expect(t, natpmpc("-a", "5000", "4000", "tcp", "60"), "Mapped public port 5000 protocol TCP to local port 4000 liftime 60")
	expect(t, natpmpc("-a", "80", "4001", "udp", "3600"), "Mapped public port 1024 protocol UDP to local port 4001 liftime 3600")
	expect(t, natpmpc("-a", "0", "4000", "tcp", "0"), "Mapped public port 0 protocol TCP to local port 4000 liftime 0")
	expect(t, natpmpc("-a", "0", "0", "udp", "0"), "protocol UDP to local port 0 liftime 0")

	socket.Close()
	running.Wait()
	if len(nat.given) != 0 {
		t.Errorf("mappings are left: %v", nat.given)
	}
}
