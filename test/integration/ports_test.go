package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTUNLinkIsPointToPoint(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", strings.Replace(twoHosts, "  lan2:\n", "  lan2:\n    kind: tun\n", 1))
	l.hosts["h1"].ping("10.2.0.2")
	l.hosts["h2"].ping("10.1.0.2")
	l.hosts["h2"].ping("10.2.0.1")
	if n := find(r.rows("neighbors"), "address", "10.2.0.2"); n != nil {
		t.Errorf("there is no ARP on a TUN link, but a neighbour: %v", n)
	}
	expect(t, l.hosts["h2"].ip("link", "show", "eth0"), "POINTOPOINT", "link/none")
}

func TestSlash31AndSlash32Links(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", `
ports:
  pair:
    netns: {h1}
    device: eth0
    address: 10.1.0.0/31
    host: {address: 10.1.0.1/31, gateway: 10.1.0.0}
  single: {kind: tun, netns: {h2}, device: eth0, address: 10.2.0.1/32}
routes:
  - {to: 10.2.0.2/32, port: single}
`)
	h2 := l.hosts["h2"]
	h2.ip("addr", "add", "10.2.0.2/32", "dev", "eth0")
	h2.ip("link", "set", "eth0", "up")
	h2.ip("route", "add", "default", "dev", "eth0")
	l.hosts["h1"].ping("10.1.0.0")
	l.hosts["h1"].ping("10.2.0.2")
	h2.ping("10.1.0.1")
	h2.ping("10.2.0.1")
}

func TestBridgesWithSeveralHosts(t *testing.T) {
	l := newLab(t, "h1", "h2", "h3", "h4")
	r := l.router("r1", `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 10.1.0.1/24}
  far: {netns: {net}, device: r1-far, bridge: far, address: 10.2.0.1/24}
`)
	l.hosts["h1"].plug("lan", "10.1.0.11/24", "10.1.0.1")
	l.hosts["h2"].plug("lan", "10.1.0.12/24", "10.1.0.1")
	l.hosts["h3"].plug("lan", "10.1.0.13/24", "10.1.0.1")
	l.hosts["h4"].plug("far", "10.2.0.14/24", "10.2.0.1")
	for _, from := range []string{"h1", "h2", "h3"} {
		l.hosts[from].ping("10.2.0.14")
		l.hosts[from].ping("10.1.0.11") // neighbours reach each other without the router
	}
	l.hosts["h4"].ping("10.1.0.12")
	for _, address := range []string{"10.1.0.11", "10.1.0.12", "10.1.0.13", "10.2.0.14"} {
		if state := r.neighbor(address); state == "" || state == "failed" || state == "incomplete" {
			t.Errorf("neighbour %s: expected its MAC to be known, it is %q", address, state)
		}
	}
}

func TestBridgeMembersJoinAndGoBack(t *testing.T) {
	l := newLab(t, "h1", "h2")
	// The host's cable stands for a virtual machine's network card.
	l.wires.ip("link", "add", "card", "type", "veth", "peer", "name", "eth0", "netns", l.hosts["h1"].ns)
	l.hosts["h1"].ip("addr", "add", "10.1.0.2/24", "dev", "eth0")
	l.hosts["h1"].ip("link", "set", "eth0", "up")
	l.wires.ip("link", "set", "card", "up")
	r := l.router("r1", `
ports:
  wan:
    netns: {net}
    device: r1-wan
    bridge: {name: br-wan, members: [card]}
    address: 10.1.0.1/24
`)
	expect(t, l.wires.ip("link", "show", "card"), "master br-wan")
	l.hosts["h1"].ping("10.1.0.1")
	r.stop()
	links := l.wires.ip("link", "show")
	if strings.Contains(links, "br-wan") || strings.Contains(links, "r1-wan") {
		t.Errorf("expected the bridge and the port to be gone:\n%s", links)
	}
	expect(t, links, "card")
}

func TestAnExistingBridgeStays(t *testing.T) {
	l := newLab(t, "h1")
	l.wires.ip("link", "add", "lan", "type", "bridge")
	l.wires.ip("link", "set", "lan", "up")
	l.hosts["h1"].plug("lan", "10.1.0.2/24", "10.1.0.1")
	r := l.router("r1", `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 10.1.0.1/24}
`)
	l.hosts["h1"].ping("10.1.0.1")
	r.stop()
	expect(t, l.wires.ip("link", "show"), "lan:")
}

func TestExistingDevicesAreAttachedToAndStay(t *testing.T) {
	for _, offload := range []string{"auto", "off"} {
		for _, kind := range []string{"tap", "tun"} {
			t.Run(kind+" offload "+offload, func(t *testing.T) {
				l := newLab(t, "h1", "h2")
				h2 := l.hosts["h2"]
				h2.ip("tuntap", "add", "mine0", "mode", kind)
				h2.ip("addr", "add", "10.2.0.2/24", "dev", "mine0")
				h2.ip("link", "set", "mine0", "up")
				h2.ip("route", "add", "default", "via", "10.2.0.1")
				config := `
ports:
  lan1:
    netns: {h1}
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  lan2: {kind: ` + kind + `, netns: {h2}, device: mine0, offload: "` + offload + `", address: 10.2.0.1/24}
`
				r := l.router("r1", config)
				l.hosts["h1"].ping("10.2.0.2")
				r.stop()
				expect(t, h2.ip("addr", "show", "mine0"), "10.2.0.2/24")
				// And once more, also after the router was killed.
				r.start()
				r.ready()
				l.hosts["h1"].ping("10.2.0.2")
				r.kill()
				expect(t, h2.ip("link", "show", "mine0"), "mine0")
			})
		}
	}
}

func TestATAPThatTheHostTakesDownHeals(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+unlimited)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	h1.ping("10.2.0.2")
	for range 3 {
		h2.ip("link", "set", "eth0", "down")
		r.portUp("lan2", false)
		// Its network is gone with it, and others are told so.
		expect(t, h1.pingFails("10.2.0.2"), "Unreachable")
		h2.ip("link", "set", "eth0", "up")
		r.portUp("lan2", true)
		h1.ping("10.2.0.2")
	}
	expect(t, r.ctl("show", "events"), "port_down", "port_up")
}

func TestADeletedDeviceIsMadeAgain(t *testing.T) {
	for _, offload := range []string{"auto", "off"} {
		t.Run("offload "+offload, func(t *testing.T) {
			l := newLab(t, "h1", "h2")
			r := l.router("r1", mixed("auto", `"`+offload+`"`))
			l.hosts["h1"].ping("10.2.0.2")
			before := strings.Fields(l.hosts["h2"].ip("-o", "link", "show", "eth0"))[0]
			l.hosts["h2"].ip("link", "del", "eth0")
			eventually(t, 10*time.Second, "the device to come back", func() error {
				out, code := l.try("ip", "-n", l.hosts["h2"].ns, "-o", "link", "show", "eth0")
				if code != 0 || strings.Fields(out)[0] == before {
					return fmt.Errorf("there is none: %s", out)
				}
				return nil
			})
			r.portUp("lan2", true)
			eventually(t, 10*time.Second, "h2 to be reached again", func() error {
				out, code := l.hosts["h1"].try("ping", "-n", "-c", "1", "-W", "1", "10.2.0.2")
				if code != 0 {
					return fmt.Errorf("%s", out)
				}
				return nil
			})
		})
	}
}

func TestANamespaceThatGoesAndComesBackHeals(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+unlimited)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	h1.ping("10.2.0.2")
	l.must("ip", "netns", "del", h2.ns)
	r.portUp("lan2", false)
	if reason := fmt.Sprint(find(r.rows("ports"), "name", "lan2")["reason"]); !strings.Contains(reason, h2.ns) {
		t.Errorf("expected the reason to name the namespace %s: %q", h2.ns, reason)
	}
	l.hosts["h1"].ping("10.1.0.1") // the other port never noticed
	h2.create()
	r.portUp("lan2", true)
	eventually(t, 10*time.Second, "h2 to be reached again", func() error {
		if out, code := h1.try("ping", "-n", "-c", "1", "-W", "1", "10.2.0.2"); code != 0 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

func TestPortsAreTakenDownAndUpByCommand(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+unlimited)
	h1 := l.hosts["h1"]
	r.ctl("port", "down", "lan2")
	r.portUp("lan2", false)
	expect(t, h1.pingFails("10.2.0.2"), "Unreachable")
	r.ctl("port", "up", "lan2")
	r.portUp("lan2", true)
	h1.ping("10.2.0.2")
}

func TestTwoAddressesOnAPort(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", strings.NewReplacer(
		"address: 10.2.0.1/24", "address: [10.2.0.1/24, 10.3.0.1/24]",
		"address: 10.2.0.2/24", "address: [10.2.0.2/24, 10.3.0.2/24]").Replace(twoHosts))
	for _, address := range []string{"10.2.0.1", "10.3.0.1", "10.2.0.2", "10.3.0.2"} {
		l.hosts["h1"].ping(address)
	}
	l.hosts["h2"].ping("10.1.0.2", "-I", "10.3.0.2")
	for _, prefix := range []string{"10.2.0.0/24", "10.3.0.0/24"} {
		if find(r.rows("routes"), "prefix", prefix, "protocol", "connected", "port", "lan2") == nil {
			t.Errorf("expected a connected route to %s:\n%s", prefix, r.ctl("show", "routes"))
		}
	}
}

func TestAKilledRouterStartsAgain(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	l.hosts["h1"].ping("10.2.0.2")
	r.kill()
	if _, err := os.Stat(r.socket()); err != nil {
		t.Fatalf("expected a killed router's socket to be there still: %v", err)
	}
	r.start()
	r.ready()
	l.hosts["h1"].ping("10.2.0.2")
}

// A script that kills and starts in one breath meets a process that is still on its way out.
func TestAKilledRouterStartsAgainAtOnce(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	r.signal(syscall.SIGKILL)
	before := r.ended
	r.start()
	<-before
	r.ready()
	l.hosts["h1"].ping("10.2.0.2")
}

func TestASecondRouterOfTheSameNameIsRefused(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	out, code := l.wires.try(binaries+"/vrouterd", "-c", r.file, "--state-dir", l.dir+"/second")
	if code == 0 {
		t.Fatal("a second vrouterd of the same name started")
	}
	expect(t, out, r.instance)
	l.hosts["h1"].ping("10.2.0.2") // and the first never noticed
	r.ctl("show", "status")
}

func TestStoppingLeavesNothingBehind(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			l := newUnwatchedLab(t, "h1", "h2")
			links := func() string {
				return l.wires.ip("-o", "link") + l.hosts["h1"].ip("-o", "link") + l.hosts["h2"].ip("-o", "link")
			}
			before := links()
			r := l.router("r1", twoHosts+`
  core: {netns: {net}, device: r1-core, bridge: br-core, address: 10.9.0.1/24}
  own: {address: 10.10.0.1/24}
`)
			l.hosts["h1"].ping("10.2.0.2")
			r.signal(signal)
			select {
			case <-r.ended:
			case <-time.After(10 * time.Second):
				t.Fatalf("vrouterd did not stop within 10 s of %v", signal)
			}
			if code := r.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("expected exit status 0, got %v", r.cmd.ProcessState)
			}
			if after := links(); after != before {
				t.Errorf("the devices are not as they were:\nbefore:\n%s\nafter:\n%s", before, after)
			}
			if _, err := os.Stat(r.socket()); err == nil {
				t.Errorf("the socket is still there")
			}
		})
	}
}
