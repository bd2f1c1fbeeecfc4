package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FRR and BIRD, started here in hosts of a lab, with folders of their own for configuration,
// sockets and logs: nothing of the machine's own FRR or BIRD is touched. The kernel end
// of a port of vrouterd is the peer's network card.

// ripPeer is what the tests ask of either.
type ripPeer interface {
	// rip is the peer's own RIP table: what it has learned, by prefix.
	rip() map[string]ripRoute
	kill()
	restart()
}

// ripRoute is a route as a peer's table has it. Where a metric stands depends
// on the peer: both show it with the cost of the link added.
type ripRoute struct {
	via    string // next hops, sorted by the peer, separated by a space
	from   string // FRR only
	metric int
	tag    int
}

// shortDir makes a folder with a short path, for sockets: their names have room for 107 octets.
func (l *lab) shortDir(name string) string {
	l.t.Helper()
	dir, err := os.MkdirTemp("", l.id+"-"+name+"-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// frr is zebra and ripd in a host.
type frr struct {
	*host
	dir         string
	zebra, ripd *process
}

// frr starts zebra and ripd; the text is ripd's configuration.
func (h *host) frr(ripd string) *frr {
	h.lab.t.Helper()
	f := &frr{host: h, dir: h.lab.shortDir(h.name)}
	// The daemons give up root for the account that the package has made.
	account, err := user.Lookup("frr")
	if err != nil {
		h.lab.t.Fatalf("FRR is not installed: run scripts/install-deps test: %v", err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	h.writeFile(filepath.Join(f.dir, "zebra.conf"), "hostname "+h.name+"\nlog file "+f.dir+"/zebra.log\n")
	h.writeFile(filepath.Join(f.dir, "ripd.conf"), "hostname "+h.name+"\nlog file "+f.dir+"/ripd.log\n"+ripd)
	if err := os.Chown(f.dir, uid, gid); err != nil {
		h.lab.t.Fatal(err)
	}
	f.zebra = f.daemon("zebra")
	// Ripd waits ten seconds where it does not find zebra at once.
	eventually(h.lab.t, 20*time.Second, "zebra of "+h.name, func() error {
		_, err := os.Stat(filepath.Join(f.dir, "zserv.api"))
		return err
	})
	f.restart()
	h.lab.t.Cleanup(func() {
		if h.lab.t.Failed() {
			h.lab.t.Logf("==== FRR in %s, configured as\n%s", h.name, ripd)
			for _, command := range []string{"show ip rip", "show ip rip status", "show ip route"} {
				text, _ := h.lab.try(f.vtyshCommand(command)...)
				h.lab.t.Logf("==== FRR in %s: %s\n%s", h.name, command, firstLines(text, 60))
			}
			h.lab.t.Logf("==== log of ripd in %s\n%s", h.name, firstLines(readText(f.dir+"/ripd.log"), 60))
		}
	})
	return f
}

func (h *host) writeFile(path, text string) {
	h.lab.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.lab.t.Fatal(err)
	}
}

func (f *frr) daemon(name string) *process {
	f.lab.t.Helper()
	return f.start("/usr/lib/frr/"+name, "-u", "frr", "-g", "frr", "-P", "0", "-f", filepath.Join(f.dir, name+".conf"),
		"-i", filepath.Join(f.dir, name+".pid"), "-z", filepath.Join(f.dir, "zserv.api"), "--vty_socket", f.dir)
}

// restart starts ripd, after kill, and waits until it answers.
func (f *frr) restart() {
	f.lab.t.Helper()
	f.ripd = f.daemon("ripd")
	eventually(f.lab.t, 20*time.Second, "FRR of "+f.name, func() error {
		if text, code := f.lab.try(f.vtyshCommand("show ip rip status")...); code != 0 || !strings.Contains(text, "Routing Protocol") {
			return fmt.Errorf("vtysh: exit status %d: %s", code, text)
		}
		return nil
	})
}

// kill ends ripd as a crash does. Zebra stays.
func (f *frr) kill() {
	f.ripd.cmd.Process.Kill()
	<-f.ripd.done
}

func (f *frr) vtyshCommand(commands ...string) []string {
	line := []string{"vtysh", "--vty_socket", f.dir}
	for _, c := range commands {
		line = append(line, "-c", c)
	}
	return line
}

// vtysh runs commands of FRR's.
func (f *frr) vtysh(commands ...string) string {
	f.lab.t.Helper()
	return f.lab.must(f.vtyshCommand(commands...)...)
}

// rip reads `show ip rip`: what was learned from neighbours.
func (f *frr) rip() map[string]ripRoute {
	f.lab.t.Helper()
	table := map[string]ripRoute{}
	for line := range strings.Lines(f.vtysh("show ip rip")) {
		field := strings.Fields(line)
		if len(field) < 6 || field[0] != "R(n)" {
			continue
		}
		metric, _ := strconv.Atoi(field[3])
		tag, _ := strconv.Atoi(field[5])
		table[field[1]] = ripRoute{via: field[2], from: field[4], metric: metric, tag: tag}
	}
	return table
}

// kernel are the routes that the host itself uses, by prefix, as `ip` prints them.
func (h *host) kernel() map[string]string {
	h.lab.t.Helper()
	var rows []struct {
		Dst      string
		Gateway  string
		Protocol string
		Type     string
	}
	text := h.lab.must("ip", "-n", h.ns, "-j", "-d", "route", "show")
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		h.lab.t.Fatalf("ip -j route: %v in %s", err, text)
	}
	table := map[string]string{}
	for _, r := range rows {
		table[r.Dst] = r.Gateway
	}
	return table
}

// bird is BIRD in a host.
type bird struct {
	*host
	dir     string
	process *process
}

// bird starts BIRD. The text is its configuration but for what every one has; the
// protocol RIP is to be called rip1.
func (h *host) bird(config string) *bird {
	h.lab.t.Helper()
	b := &bird{host: h, dir: h.lab.shortDir(h.name)}
	h.writeFile(filepath.Join(b.dir, "bird.conf"), `log "`+b.dir+`/log" all;
router id 192.0.2.1;
protocol device { scan time 1; }
protocol direct { ipv4; }
protocol kernel { ipv4 { export all; }; merge paths on; }
`+config)
	b.restart()
	h.lab.t.Cleanup(func() {
		if h.lab.t.Failed() {
			h.lab.t.Logf("==== BIRD in %s, configured as\n%s", h.name, firstLines(readText(b.dir+"/bird.conf"), 60))
			for _, command := range []string{"show protocols", "show rip neighbors", "show route all"} {
				text, _ := h.lab.try(b.birdcCommand(command)...)
				h.lab.t.Logf("==== BIRD in %s: %s\n%s", h.name, command, firstLines(text, 80))
			}
			h.lab.t.Logf("==== log of BIRD in %s\n%s", h.name, firstLines(readText(b.dir+"/log"), 60))
		}
	})
	return b
}

func (b *bird) kill() {
	b.process.cmd.Process.Kill()
	<-b.process.done
}

func (b *bird) restart() {
	b.lab.t.Helper()
	b.process = b.start("bird", "-f", "-c", b.dir+"/bird.conf", "-s", b.dir+"/ctl", "-P", b.dir+"/pid")
	eventually(b.lab.t, 20*time.Second, "BIRD of "+b.name, func() error {
		if text, code := b.lab.try(b.birdcCommand("show status")...); code != 0 || !strings.Contains(text, "up and running") {
			return fmt.Errorf("birdc: exit status %d: %s%s", code, text, b.process.ending())
		}
		return nil
	})
}

// ending is what a process that has ended said; nothing while it runs.
func (p *process) ending() string {
	select {
	case <-p.done:
		return p.output.String()
	default:
		return ""
	}
}

func (b *bird) birdcCommand(command string) []string {
	return append([]string{"birdc", "-r", "-s", b.dir + "/ctl"}, strings.Fields(command)...)
}

// birdc runs a command of BIRD's.
func (b *bird) birdc(command string) string {
	b.lab.t.Helper()
	args := b.birdcCommand(command)
	return b.lab.must(append(args[:1:1], args[2:]...)...) // not restricted to looking
}

// rip reads `show route all` of the protocol rip1.
func (b *bird) rip() map[string]ripRoute {
	b.lab.t.Helper()
	return birdRoutes(b.birdc("show route all protocol rip1"))
}

// birdRoutes reads lines such as
//
//	172.20.1.1/32        unicast [rip1 01:47:02.892] * (120/3)
//		via 10.2.0.1 on eth0
//		Type: RIP univ
//		RIP.metric: 3
//		RIP.tag: 0014
//
// where further routes to a prefix leave its column empty.
func birdRoutes(text string) map[string]ripRoute {
	table := map[string]ripRoute{}
	prefix, r := "", ripRoute{}
	for line := range strings.Lines(text) {
		field := strings.Fields(line)
		if len(field) < 2 {
			continue
		}
		if p, err := netip.ParsePrefix(field[0]); err == nil {
			prefix, r = p.String(), ripRoute{}
		}
		switch field[0] {
		case "via":
			r.via = strings.TrimSpace(r.via + " " + field[1])
		case "RIP.metric:":
			r.metric, _ = strconv.Atoi(field[1])
		case "RIP.tag:":
			tag, _ := strconv.ParseInt(field[1], 16, 32)
			r.tag = int(tag)
		}
		if prefix != "" {
			table[prefix] = r
		}
	}
	return table
}

// learns waits until a peer has learned a route as it is to be.
func learns(t *testing.T, who string, p ripPeer, limit time.Duration, want map[string]ripRoute) {
	t.Helper()
	eventually(t, limit, who+" learns", func() error {
		table := p.rip()
		for prefix, route := range want {
			have, is := table[prefix]
			have.from = "" // the tests look at the next hop
			if !is {
				return fmt.Errorf("it has no route to %s: %v", prefix, table)
			}
			if have != route {
				return fmt.Errorf("its route to %s is %+v, expected %+v", prefix, have, route)
			}
		}
		return nil
	})
}

// loses waits until a peer has no usable route to the prefixes.
func loses(t *testing.T, who string, p ripPeer, limit time.Duration, prefixes ...string) {
	t.Helper()
	eventually(t, limit, who+" loses "+strings.Join(prefixes, ", "), func() error {
		table := p.rip()
		for _, prefix := range prefixes {
			if have, is := table[prefix]; is && have.metric < 16 {
				return fmt.Errorf("it still has %s: %+v", prefix, have)
			}
		}
		return nil
	})
}

// has waits until a table of the router has a row.
func (r *router) has(limit time.Duration, noun string, keysAndValues ...string) row {
	r.lab.t.Helper()
	var found row
	eventually(r.lab.t, limit, fmt.Sprintf("show %s of %s with %v", noun, r.name, keysAndValues), func() error {
		rows := r.rows(strings.Fields(noun)...)
		if found = find(rows, keysAndValues...); found == nil {
			return fmt.Errorf("%d rows, none like that: %.2000v", len(rows), rows)
		}
		return nil
	})
	return found
}

// hasNo waits until a table of the router has no such row.
func (r *router) hasNo(limit time.Duration, noun string, keysAndValues ...string) {
	r.lab.t.Helper()
	eventually(r.lab.t, limit, fmt.Sprintf("show %s of %s without %v", noun, r.name, keysAndValues), func() error {
		if found := find(r.rows(strings.Fields(noun)...), keysAndValues...); found != nil {
			return fmt.Errorf("there is %v", found)
		}
		return nil
	})
}

// number reads a number of a row.
func (w row) number(t *testing.T, key string) int {
	t.Helper()
	n, is := w[key].(float64)
	if !is {
		t.Fatalf("%q of %v is no number", key, w)
	}
	return int(n)
}

// bad counts what a neighbour sent that was refused for a reason.
func (w row) bad(reason string) int {
	list, _ := w["bad"].([]any)
	for _, one := range list {
		if fields, is := one.(map[string]any); is && fields["reason"] == reason {
			n, _ := fields["count"].(float64)
			return int(n)
		}
	}
	return 0
}

// TestTheRIPPeersAreInstalled says what is missing before thirty tests say it their way.
func TestTheRIPPeersAreInstalled(t *testing.T) {
	for _, tool := range []string{"/usr/lib/frr/zebra", "/usr/lib/frr/ripd", "vtysh", "bird", "birdc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Errorf("%v: run scripts/install-deps test", err)
		}
	}
}
