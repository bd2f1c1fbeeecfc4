package integration

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Hosts that ask for their forwards themselves: NAT-PMP by natpmpc, PCP by hand.

// asking is a home whose hosts may ask.
var asking = policy{yaml: masquerade.yaml + "firewall: home\nport_mapping: {ports: [lan]}\n"}

// natpmpc runs the client against the router.
func (h *host) natpmpc(args ...string) (string, int) {
	h.lab.t.Helper()
	return h.try(append([]string{"timeout", "20", "natpmpc", "-g", "192.168.1.1"}, args...)...)
}

func TestNATPMPClientGetsItsForward(t *testing.T) {
	e := newHome(t, asking, "p2", "p5")
	p2 := e.hosts["p2"]
	out, code := p2.natpmpc()
	if code != 0 {
		t.Fatalf("natpmpc: %d\n%s", code, out)
	}
	expect(t, out, "Public IP address : "+publicAddress)
	p2.serveTCP("192.168.1.2:8080")
	p2.serveUDP("192.168.1.2:9090")
	e.out.gets(silent, "tcp4", publicAddress+":18080")
	granted := regexp.MustCompile(`Mapped public port (\d+) protocol (TCP|UDP) to local port (\d+) lif?e?time (\d+)`)
	for _, c := range []struct{ outside, inside, protocol, network string }{{"18080", "8080", "tcp", "tcp4"}, {"19090", "9090", "udp", "udp4"}} {
		out, code := p2.natpmpc("-a", c.outside, c.inside, c.protocol, "600")
		found := granted.FindStringSubmatch(out)
		if code != 0 || found == nil || found[1] != c.outside || found[3] != c.inside || found[4] != "600" {
			t.Fatalf("natpmpc -a: %d, %v\n%s", code, found, out)
		}
		e.out.gets(open, c.network, publicAddress+":"+c.outside)
		e.hosts["p5"].gets(open, c.network, publicAddress+":"+c.outside) // hairpin
		if m, err := e.named("nat mappings", "protocol", c.protocol, "inside", "192.168.1.2:"+c.inside, "outside", publicAddress+":"+c.outside, "by", "nat_pmp"); err != nil {
			t.Error(err)
		} else if left, _ := m["expires_seconds"].(float64); left < 500 || left > 600 {
			t.Errorf("the mapping expires in %v s", m["expires_seconds"])
		}
	}
	// The port is taken: somebody else gets another one (RFC 6886 section 3.3).
	out, code = e.hosts["p5"].natpmpc("-a", "18080", "80", "tcp", "600")
	if found := granted.FindStringSubmatch(out); code != 0 || found == nil || found[1] == "18080" {
		t.Errorf("a port that another host has: %d, %v\n%s", code, found, out)
	}
	// Lifetime 0 gives it back (section 3.4).
	if out, code := p2.natpmpc("-a", "18080", "8080", "tcp", "0"); code != 0 {
		t.Fatalf("natpmpc with lifetime 0: %d\n%s", code, out)
	}
	e.out.gets(silent, "tcp4", publicAddress+":18080")
	// Outside, nobody is answered: RFC 6886 section 3.1.
	if out, code := e.out.try("timeout", "2", "natpmpc", "-g", publicAddress); code == 0 {
		t.Errorf("the router answered NAT-PMP at its outside port:\n%s", out)
	}
}

// pcpMap asks by PCP for a mapping and returns the answer: result, lifetime, outside address and port.
func pcpMap(t *testing.T, c *net.UDPConn, nonce, protocol byte, inside, wish uint16, lifetime uint32) (result byte, granted uint32, outside netip.AddrPort) {
	t.Helper()
	request := make([]byte, 60)
	request[0], request[1] = 2, 1 // version 2, MAP (RFC 6887 sections 7.1 and 11.1)
	binary.BigEndian.PutUint32(request[4:], lifetime)
	own := netip.MustParseAddrPort(c.LocalAddr().String()).Addr().As16()
	copy(request[8:], own[:])
	request[24], request[36] = nonce, protocol
	binary.BigEndian.PutUint16(request[40:], inside)
	binary.BigEndian.PutUint16(request[42:], wish)
	copy(request[44:], net.IPv4zero.To16())
	eventually(t, 20*time.Second, "an answer by PCP", func() error {
		c.WriteToUDPAddrPort(request, netip.MustParseAddrPort("192.168.1.1:5351"))
		answer := make([]byte, 1100)
		c.SetReadDeadline(time.Now().Add(time.Second))
		n, err := c.Read(answer)
		if err != nil {
			return err
		}
		if n < 60 || answer[0] != 2 || answer[1] != 0x81 {
			return fmt.Errorf("the answer is % x", answer[:n])
		}
		result, granted = answer[3], binary.BigEndian.Uint32(answer[4:])
		outside = addrPort(answer[44:60], int(binary.BigEndian.Uint16(answer[42:])))
		return nil
	})
	return result, granted, outside
}

func TestPCPClientGetsItsForward(t *testing.T) {
	e := newHome(t, asking, "p2", "p5")
	p2 := e.hosts["p2"]
	p2.serveTCP("192.168.1.2:8080")
	c := p2.listenUDP("192.168.1.2:0")
	result, granted, outside := pcpMap(t, c, 1, 6, 8080, 28080, 600)
	if result != 0 || granted != 600 || outside.String() != publicAddress+":28080" {
		t.Fatalf("MAP: result %d, %d s, %v", result, granted, outside)
	}
	e.out.gets(open, "tcp4", outside.String())
	if _, err := e.named("nat mappings", "inside", "192.168.1.2:8080", "outside", outside.String(), "by", "pcp"); err != nil {
		t.Error(err)
	}
	// Renewed it is the same, with another nonce it is somebody else's (RFC 6887 section 11.3).
	if result, _, again := pcpMap(t, c, 1, 6, 8080, 0, 1200); result != 0 || again != outside {
		t.Errorf("renewal: result %d, %v", result, again)
	}
	if result, _, _ := pcpMap(t, c, 2, 6, 8080, 0, 600); result != 2 { // NOT_AUTHORIZED
		t.Errorf("another nonce: result %d", result)
	}
	if result, _, _ := pcpMap(t, c, 1, 6, 8080, 0, 0); result != 0 {
		t.Errorf("giving it back: result %d", result)
	}
	e.out.gets(silent, "tcp4", outside.String())
}

func TestNATForgetsWhatHostsAskedForWhenTheyMayNoLonger(t *testing.T) {
	e := newHome(t, asking, "p2")
	p2 := e.hosts["p2"]
	p2.serveTCP("192.168.1.2:8080")
	if out, code := p2.natpmpc("-a", "18080", "8080", "tcp", "600"); code != 0 {
		t.Fatalf("natpmpc: %d\n%s", code, out)
	}
	e.out.gets(open, "tcp4", publicAddress+":18080")
	// What was granted stays through changes that do not concern it.
	e.tell(policy{yaml: strings.Replace(asking.yaml, "{ports: [lan]}", "{ports: [lan], max_per_host: 1}", 1)})
	e.out.gets(open, "tcp4", publicAddress+":18080")
	if out, code := p2.natpmpc("-a", "18081", "8081", "tcp", "600"); code == 0 {
		t.Errorf("a second mapping, where one for each host is allowed:\n%s", out)
	}
}

func TestUPnPClientGetsItsForward(t *testing.T) {
	t.Parallel() // it waits for discovery to time out
	e := newHome(t, policy{yaml: strings.Replace(asking.yaml, "{ports: [lan]}", "{ports: [lan], upnp: true}", 1)}, "p2", "p5")
	p2 := e.hosts["p2"]
	p2.serveTCP("192.168.1.2:8080")
	p2.serveUDP("192.168.1.2:9090")
	var out string
	eventually(t, 30*time.Second, "upnpc to find the router", func() error {
		var code int
		if out, code = p2.try("timeout", "30", "upnpc", "-m", "eth0", "-s"); code != 0 {
			return fmt.Errorf("exit status %d: %s", code, out)
		}
		return contains(out, "ExternalIPAddress = "+publicAddress)
	})
	expect(t, out, "Status : Connected")
	found := regexp.MustCompile(`desc: (http://192\.168\.1\.1:\S+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no description in:\n%s", out)
	}
	upnpc := func(h *host, args ...string) (string, int) { // discovery takes two seconds each time
		return h.try(append([]string{"timeout", "30", "upnpc", "-u", found[1]}, args...)...)
	}
	for _, c := range []struct{ outside, inside, protocol, network string }{{"38080", "8080", "TCP", "tcp4"}, {"39090", "9090", "UDP", "udp4"}} {
		if out, code := upnpc(p2, "-e", "a game", "-a", "192.168.1.2", c.inside, c.outside, c.protocol, "600"); code != 0 || !strings.Contains(out, "is redirected to internal 192.168.1.2:"+c.inside) {
			t.Fatalf("upnpc -a: %d\n%s", code, out)
		}
		e.out.gets(open, c.network, publicAddress+":"+c.outside)
		if m, err := e.named("nat mappings", "inside", "192.168.1.2:"+c.inside, "outside", publicAddress+":"+c.outside, "by", "upnp"); err != nil {
			t.Error(err)
		} else if owner := fmt.Sprint(m["owner"]); !strings.Contains(owner, "a game") {
			t.Errorf("the mapping's owner is %q", owner)
		}
	}
	if out, code := upnpc(p2, "-l"); code != 0 || !strings.Contains(out, "38080->192.168.1.2:8080") {
		t.Errorf("upnpc -l: %d\n%s", code, out)
	}
	// Nobody maps or takes away what is another host's.
	if out, _ := upnpc(e.hosts["p5"], "-a", "192.168.1.2", "22", "3022", "TCP", "600"); strings.Contains(out, "is redirected") {
		t.Errorf("a host mapped a port to another one:\n%s", out)
	}
	upnpc(e.hosts["p5"], "-d", "38080", "TCP")
	e.out.gets(open, "tcp4", publicAddress+":38080")
	if out, code := upnpc(p2, "-d", "38080", "TCP"); code != 0 {
		t.Errorf("upnpc -d: %d\n%s", code, out)
	}
	e.out.gets(silent, "tcp4", publicAddress+":38080")
	// Outside nobody finds it; and it is off unless it is asked for.
	if out, _ := e.out.try("timeout", "6", "upnpc", "-m", "eth0", "-s"); strings.Contains(out, "ExternalIPAddress = ") {
		t.Errorf("the router answered UPnP outside:\n%s", out)
	}
	e.tell(asking)
	if out, _ := p2.try("timeout", "6", "upnpc", "-m", "eth0", "-s"); strings.Contains(out, "ExternalIPAddress = ") {
		t.Errorf("the router answered UPnP though it is off:\n%s", out)
	}
}
