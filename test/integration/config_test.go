package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// steady pings through the router, a thousand a second, while change happens, and fails
// the test if one packet is lost.
func (l *lab) steady(from, address string, change func()) {
	l.t.Helper()
	l.hosts[from].ping(address)
	p := l.hosts[from].start("ping", "-n", "-q", "-i", "0.001", "-W", "3", address)
	change()
	report := p.stop()
	counts := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(report)
	if counts == nil {
		l.t.Fatalf("ping's report has no counts:\n%s", report)
	}
	if counts[1] != counts[2] {
		// The last one may have been on its way when ping was stopped.
		var sent, received int
		fmt.Sscan(counts[1]+" "+counts[2], &sent, &received)
		if sent-received > 1 {
			l.t.Errorf("packets were lost meanwhile:\n%s", report)
		}
	}
}

const third = `
  lan3:
    netns: {h3}
    device: eth0
    address: 10.3.0.1/24
    host: {address: 10.3.0.2/24, gateway: 10.3.0.1}
routes:
  - {to: 172.16.0.0/16, via: 10.3.0.2}
`

func TestReloadBySIGHUPLosesNoPacket(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2", "h3")
	r := l.router("r1", twoHosts)
	l.steady("h1", "10.2.0.2", func() {
		for range 3 {
			r.write(twoHosts + third)
			r.signal(syscall.SIGHUP)
			r.ctl("wait", "route", "172.16.0.0/16", "via", "10.3.0.2", "--timeout", "10s")
			l.hosts["h2"].ping("10.3.0.2")
			r.write(twoHosts)
			r.signal(syscall.SIGHUP)
			eventually(t, 10*time.Second, "the port to go", func() error {
				if find(r.rows("ports"), "name", "lan3") != nil {
					return fmt.Errorf("it is there")
				}
				return nil
			})
		}
	})
}

func TestApplyingAConfigurationLosesNoPacket(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2", "h3")
	r := l.router("r1", twoHosts)
	l.steady("h1", "10.2.0.2", func() {
		r.write(twoHosts + third)
		expect(t, r.ctl("config", "diff", r.file), "+", "172.16.0.0/16")
		r.ctl("config", "apply", r.file)
		l.hosts["h2"].ping("10.3.0.2")
		expect(t, r.ctl("config", "show"), "172.16.0.0/16")
		r.write(twoHosts)
		r.ctl("config", "apply", r.file)
	})
	if find(r.rows("routes"), "prefix", "172.16.0.0/16") != nil {
		t.Errorf("the route is still there:\n%s", r.ctl("show", "routes"))
	}
	if n := len(strings.Split(strings.TrimSpace(r.ctl("config", "history")), "\n")); n < 3 {
		t.Errorf("expected three revisions in the history:\n%s", r.ctl("config", "history"))
	}
}

func TestChangingOnePortLeavesTheOthersAlone(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2", "h3")
	r := l.router("r1", twoHosts+third)
	l.steady("h1", "10.2.0.2", func() {
		r.write(strings.NewReplacer("10.3.0.1/24", "10.33.0.1/24", "10.3.0.2", "10.33.0.2", "gateway: 10.3.0.1", "gateway: 10.33.0.1").Replace(twoHosts + third))
		r.ctl("config", "apply", r.file)
		eventually(t, 10*time.Second, "the host's new address to be reached", func() error {
			if out, code := l.hosts["h2"].try("ping", "-n", "-c", "1", "-W", "1", "10.33.0.2"); code != 0 {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	})
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	before := r.ctl("config", "show")
	for what, bad := range map[string]string{
		"an unknown key":       twoHosts + "colour: red\n",
		"a duplicate key":      twoHosts + "icmp: {rate: 5}\nicmp: {rate: 6}\n",
		"overlapping networks": strings.Replace(twoHosts, "10.2.0.1/24", "10.1.0.77/16", 1),
		"a route to nowhere":   twoHosts + "routes: [{to: 172.16.0.0/16, port: nowhere}]\n",
		"no YAML":              "ports: [",
		"a bad address":        strings.Replace(twoHosts, "10.2.0.1/24", "10.2.0.300/24", 1),
	} {
		t.Run(what, func(t *testing.T) {
			r.write(bad)
			place := regexp.MustCompile(regexp.QuoteMeta(r.file) + `:\d+:\d+: `)
			out, code := l.try(binaries+"/vrouterd", "check", r.file)
			if code != 2 || !place.MatchString(out) {
				t.Errorf("vrouterd check: expected exit status 2 and the place, got %d:\n%s", code, out)
			}
			if out, code := r.try("config", "apply", r.file); code != 2 {
				t.Errorf("vrctl config apply: expected exit status 2, got %d:\n%s", code, out)
			}
			if out, code := r.try("config", "check", r.file); code != 2 {
				t.Errorf("vrctl config check: expected exit status 2, got %d:\n%s", code, out)
			}
			said := strings.Count(r.log(), "\n")
			r.signal(syscall.SIGHUP)
			eventually(t, 10*time.Second, "the refusal to be in the log", func() error {
				lines := strings.Split(r.log(), "\n")
				return contains(strings.Join(lines[said:], "\n"), filepath.Base(r.file)+":")
			})
			if after := r.ctl("config", "show"); after != before {
				t.Errorf("the running configuration changed:\n%s", after)
			}
			l.hosts["h1"].ping("10.2.0.2")
		})
	}
}

func TestAnUnconfirmedConfigurationIsUndone(t *testing.T) {
	l := newLab(t, "h1", "h2", "h3")
	r := l.router("r1", twoHosts)
	r.write(twoHosts + third)
	r.ctl("config", "apply", r.file, "--confirm", "1s")
	r.ctl("wait", "route", "172.16.0.0/16", "--timeout", "5s")
	eventually(t, 20*time.Second, "the change to be undone", func() error {
		if find(r.rows("ports"), "name", "lan3") != nil {
			return fmt.Errorf("lan3 is there")
		}
		return nil
	})
	l.hosts["h1"].ping("10.2.0.2")
	// Confirmed, it stays; and a rollback takes it back.
	r.ctl("config", "apply", r.file, "--confirm", "60s")
	r.ctl("config", "confirm")
	if out, code := r.try("config", "confirm"); code != 1 {
		t.Errorf("nothing waits to be confirmed: expected exit status 1, got %d: %s", code, out)
	}
	l.hosts["h1"].ping("10.3.0.2")
	r.ctl("config", "rollback")
	if find(r.rows("ports"), "name", "lan3") != nil {
		t.Errorf("lan3 is there after the rollback:\n%s", r.ctl("show", "ports"))
	}
}

func TestChangesByCommandAreSaved(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	r.ctl("route", "add", "172.16.0.0/16", "via", "10.2.0.2")
	r.ctl("config", "save")
	expect(t, readText(r.file), "172.16.0.0/16")
	l.must(binaries+"/vrouterd", "check", r.file)
	r.stop()
	r.start()
	r.ready()
	r.ctl("assert", "route", "172.16.0.0/16", "via", "10.2.0.2")
}

func TestSampleConfigurationsAreValid(t *testing.T) {
	l := newUnwatchedLab(t)
	samples, _ := filepath.Glob("../../configs/*.yaml")
	if len(samples) < 3 {
		t.Fatalf("expected samples in configs, found %v", samples)
	}
	for _, file := range samples {
		if out, code := l.try(binaries+"/vrouterd", "check", file); code != 0 || out != "" {
			t.Errorf("vrouterd check %s: exit status %d: %s", file, code, out)
		}
	}
}

func TestWithoutPrivilegesTheMissingCapabilityIsNamed(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	file := filepath.Join(t.TempDir(), "r.yaml")
	if err := os.WriteFile(file, []byte("name: "+l.id+"-nobody\n"+l.fill(twoHosts)), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := file; dir != "/"; dir = filepath.Dir(dir) { // nobody has to get at it
		if info, err := os.Stat(dir); err == nil {
			os.Chmod(dir, info.Mode().Perm()|0o055)
		}
		if dir == os.TempDir() {
			break
		}
	}
	nobody := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"}
	out, code := l.wires.try(append(nobody, binaries+"/vrouterd", "-c", file)...)
	if code == 0 {
		t.Fatal("vrouterd ran without privileges")
	}
	expect(t, out, "CAP_NET_ADMIN")
	if n := strings.Count(strings.TrimSpace(out), "\n"); n > 5 {
		t.Errorf("expected a sentence, not %d lines:\n%s", n, out)
	}
	// Checking a configuration takes none.
	if out, code := l.try(append(nobody, binaries+"/vrouterd", "check", file)...); code != 0 || out != "" {
		t.Errorf("vrouterd check as nobody: exit status %d: %s", code, out)
	}
}
