package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The DHCP clients that people run, each in a host of its own: ISC dhclient, busybox's udhcpc, dhcpcd and
// systemd-networkd. What they would keep in /run and /var/lib lies in a folder of the test, which
// is mounted there for the client alone, and outlives its process: a client that is started again knows what it had.

// clientKinds are the names of the clients, and of their hosts.
var clientKinds = []string{"dhclient", "udhcpc", "dhcpcd", "networkd"}

// dhcpHost is a host whose address comes from a client.
type dhcpHost struct {
	*host
	kind string
	dir  string
	p    *process
	// For the next start: options of the command, and whether the client is to ask by ARP whether the address that it got is taken.
	ask   string // the address to ask for, where the program has an option for that
	check bool
	keep  bool   // networkd asks for what it had only where it is to keep its configuration
	more  string // further lines of its configuration
}

// dhcpHost prepares the client that the host's name says. Its eth0 hangs at a bridge of the wires.
func (h *host) dhcpHost(bridge string) *dhcpHost {
	h.lab.t.Helper()
	h.cable(bridge)
	c := &dhcpHost{host: h, kind: h.name, dir: h.lab.shortDir(h.name)}
	for _, folder := range []string{"run", "lib", "network"} {
		if err := os.Mkdir(filepath.Join(c.dir, folder), 0o755); err != nil {
			h.lab.t.Fatal(err)
		}
	}
	h.lab.t.Cleanup(func() {
		if h.lab.t.Failed() {
			c.dump()
		}
	})
	return c
}

// cable plugs eth0 of the host, without an address, into a bridge of the wires.
func (h *host) cable(bridge string) {
	h.lab.t.Helper()
	w := h.lab.wires
	w.ip("link", "add", "dev", h.name, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
	w.ip("link", "set", "dev", h.name, "master", bridge)
	w.ip("link", "set", "dev", h.name, "up")
	h.ip("link", "set", "dev", "eth0", "up")
}

// clientScript is what dhclient and udhcpc run at every turn, and what it notes: they leave it to
// a script to configure the host. dhcpcd runs it for the notes alone.
const clientScript = `#!/bin/bash
case KIND in
udhcpc)
    reason=$1 address=$ip mask=$subnet gateway=$router names=$dns time=$lease server=$serverid ;;
*)
    address=$new_ip_address mask=$new_subnet_mask gateway=$new_routers names=$new_domain_name_servers
    time=$new_dhcp_lease_time server=$new_dhcp_server_identifier ;;
esac
echo "$reason $address" >>DIR/reasons
case $reason in
BOUND | RENEW | REBIND | REBOOT | bound | renew)
    if [ KIND != dhcpcd ]; then
        if [ -e DIR/check ] && [ "$reason" != RENEW ] && ! arping -q -D -c 1 -w 1 -I eth0 "$address"; then exit 1; fi
        held=$(ip -4 -o addr show dev eth0 | awk '{print $4}')
        case $held in "$address"/*) ;; *) ip addr flush dev eth0 ;; esac
        ip addr replace "$address/$mask" dev eth0
        [ -z "$gateway" ] || ip route replace default via "${gateway%% *}"
    fi
    printf 'lease=%s\ndns=%s\nserver=%s\n' "$time" "$names" "$server" >DIR/told.new
    mv DIR/told.new DIR/told ;;
EXPIRE | FAIL | RELEASE | STOP | deconfig)
    [ KIND = dhcpcd ] || ip addr flush dev eth0 ;;
esac
exit 0
`

// start runs the client. What it knew before it was killed it knows again.
func (c *dhcpHost) start() {
	c.lab.t.Helper()
	script := filepath.Join(c.dir, "script")
	c.writeFile(script, strings.NewReplacer("KIND", c.kind, "DIR", c.dir).Replace(clientScript))
	if err := os.Chmod(script, 0o755); err != nil {
		c.lab.t.Fatal(err)
	}
	os.Remove(filepath.Join(c.dir, "check"))
	if c.check {
		c.writeFile(filepath.Join(c.dir, "check"), "")
	}
	// Everything is one process, and a group, from here to the client: it can be killed with its helpers.
	c.p = c.host.start("setsid", "unshare", "--mount", "--propagation", "private", "bash", "-euc", c.command())
}

// command is the script that becomes the client.
func (c *dhcpHost) command() string {
	dir := c.dir
	switch c.kind {
	case "dhclient":
		// It checks by its script, as distributions have it do; ask is an option of its file.
		config := "timeout 20; retry 3; reboot 3; select-timeout 0; initial-interval 1; backoff-cutoff 3;\nsend host-name \"dhclient\";\n" +
			"request subnet-mask, routers, domain-name-servers, domain-name, host-name;\n"
		if c.ask != "" {
			config += "send dhcp-requested-address " + c.ask + ";\n"
		}
		c.writeFile(dir+"/dhclient.conf", config)
		return fmt.Sprintf("exec dhclient -4 -d -v %s eth0", c.dhclientFiles())
	case "udhcpc":
		// It keeps nothing: who restarts it tells it the address.
		options := ""
		if c.ask != "" {
			options += " -r " + c.ask
		}
		if c.check {
			options += " -a500"
		}
		return fmt.Sprintf("exec udhcpc -f -i eth0 -s %s/script -t 5 -T 1 -A 2 -x hostname:udhcpc%s", dir, options)
	case "dhcpcd":
		config := "hostname dhcpcd\nclientid\noption domain_name_servers, routers, interface_mtu\nrequire dhcp_server_identifier\nipv4only\nnoipv4ll\nreboot 3\n"
		if c.ask != "" {
			config += "request " + c.ask + "\n"
		}
		if !c.check {
			config += "noarp\n"
		}
		c.writeFile(dir+"/dhcpcd.conf", config+c.more)
		return fmt.Sprintf("mount --bind %[1]s/run /run; mount --bind %[1]s/lib /var/lib/dhcpcd; exec dhcpcd -4 -B -d -f %[1]s/dhcpcd.conf -c %[1]s/script eth0", dir)
	case "networkd":
		// Without udev it takes its devices as they are only where /sys is read-only, as it is in containers.
		keep := "no"
		if c.keep {
			keep = "dhcp"
		}
		c.writeFile(dir+"/network/eth0.network", fmt.Sprintf("[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nKeepConfiguration=%s\n"+
			"[DHCPv4]\nHostname=networkd\nUseHostname=no\nSendDecline=%v\n%s", keep, c.check, c.more))
		return fmt.Sprintf("mkdir -p %[1]s/run/systemd; mount --bind %[1]s/run /run; mount --bind %[1]s/network /etc/systemd/network; mount -t sysfs -o ro sysfs /sys; "+
			"export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console; exec /lib/systemd/systemd-networkd", dir)
	}
	c.lab.t.Fatalf("there is no client %q", c.kind)
	return ""
}

func (c *dhcpHost) dhclientFiles() string {
	return strings.ReplaceAll("-cf DIR/dhclient.conf -lf DIR/leases -pf DIR/pid -sf DIR/script", "DIR", c.dir)
}

// kill ends the client and its helpers as a power cut does; the host keeps the address.
func (c *dhcpHost) kill() {
	c.lab.t.Helper()
	syscall.Kill(-c.p.cmd.Process.Pid, syscall.SIGKILL)
	<-c.p.done
	if c.kind == "udhcpc" {
		if held := c.address(); held.IsValid() {
			c.ask = held.Addr().String()
		}
	}
	// A host that boots has no address; but networkd knows what it had by that alone.
	if c.kind == "networkd" {
		c.keep = true
	} else {
		c.ip("addr", "flush", "dev", "eth0")
	}
}

// release gives the address back, by the client's own means.
func (c *dhcpHost) release() {
	c.lab.t.Helper()
	switch c.kind {
	case "dhclient":
		c.shell("dhclient -4 -r -v " + c.dhclientFiles() + " eth0")
	case "udhcpc":
		c.p.cmd.Process.Signal(syscall.SIGUSR2)
	case "dhcpcd":
		c.p.cmd.Process.Signal(syscall.SIGALRM)
	case "networkd":
		c.p.cmd.Process.Signal(syscall.SIGTERM)
	}
}

// nudge has udhcpc renew at once: it takes no lease for shorter than two minutes, and looks at no T1. The others renew by themselves.
func (c *dhcpHost) nudge() {
	if c.kind == "udhcpc" {
		c.p.cmd.Process.Signal(syscall.SIGUSR1)
	}
}

// address is what eth0 has; invalid: nothing.
func (h *host) address() netip.Prefix {
	h.lab.t.Helper()
	var links []struct {
		Info []struct {
			Local  netip.Addr `json:"local"`
			Length int        `json:"prefixlen"`
		} `json:"addr_info"`
	}
	text := h.ip("-j", "-4", "addr", "show", "dev", "eth0")
	if err := json.Unmarshal([]byte(text), &links); err != nil {
		h.lab.t.Fatalf("ip addr of %s: %v in %q", h.name, err, text)
	}
	for _, link := range links {
		if len(link.Info) > 0 {
			return netip.PrefixFrom(link.Info[0].Local, link.Info[0].Length)
		}
	}
	return netip.Prefix{}
}

// gateway is where the default route leads; "": nowhere.
func (h *host) gateway() string {
	h.lab.t.Helper()
	fields := strings.Fields(h.ip("-4", "route", "show", "default"))
	if len(fields) < 3 {
		return ""
	}
	return fields[2]
}

// mac is the hardware address of eth0.
func (h *host) mac() string {
	h.lab.t.Helper()
	return strings.Fields(h.ip("-br", "link", "show", "eth0"))[2]
}

// told is what the client was told beside its address: lease (seconds), dns and server.
func (c *dhcpHost) told() map[string]string {
	told := map[string]string{}
	text := readText(filepath.Join(c.dir, "told"))
	if c.kind == "networkd" {
		files, _ := filepath.Glob(filepath.Join(c.dir, "run/systemd/netif/leases/*"))
		if len(files) == 0 {
			return told
		}
		text = strings.NewReplacer("LIFETIME=", "lease=", "DNS=", "dns=", "SERVER_ADDRESS=", "server=").Replace(readText(files[0]))
	}
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			told[key] = value
		}
	}
	return told
}

// bound waits until the host has an address for which the condition holds, and returns it.
func (c *dhcpHost) bound(limit time.Duration, what string, right func(netip.Addr) bool) netip.Addr {
	c.lab.t.Helper()
	var held netip.Prefix
	eventually(c.lab.t, limit, c.name+" to have "+what, func() error {
		if held = c.address(); !held.IsValid() || !right(held.Addr()) {
			return fmt.Errorf("it has %v", held)
		}
		return nil
	})
	return held.Addr()
}

func (c *dhcpHost) dump() {
	if c.p == nil {
		return
	}
	c.lab.t.Logf("==== %s: has %v, was told %v; reasons:\n%s", c.name, c.address(), c.told(), firstLines(readText(filepath.Join(c.dir, "reasons")), 40))
	select {
	case <-c.p.done:
	default:
		syscall.Kill(-c.p.cmd.Process.Pid, syscall.SIGKILL)
		<-c.p.done
	}
	c.lab.t.Logf("==== what %s says\n%s", c.name, lastLines(c.p.output.String(), 60))
}

func lastLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// each runs a part of the test for each client, one after the other.
func each(t *testing.T, clients []*dhcpHost, f func(t *testing.T, c *dhcpHost)) {
	t.Helper()
	for _, c := range clients {
		t.Run(c.kind, func(t *testing.T) { f(t, c) })
	}
}
