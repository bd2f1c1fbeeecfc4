package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// mustParse parses a configuration that has to be right.
func mustParse(t testing.TB, source string) *Config {
	t.Helper()
	c, err := Parse("r1.yaml", []byte(source))
	if err != nil {
		t.Fatalf("the configuration is right, but Parse says:\n%v\n%s", err, source)
	}
	return c
}

func TestDefaultsAreFilledIn(t *testing.T) {
	c := mustParse(t, "ports:\n  lan: {address: 10.1.0.1/24}\n")
	if c.Name != "r1" {
		t.Errorf("name %q, want that of the file, r1", c.Name)
	}
	p := c.Ports[0]
	want := Port{
		Name: "lan", Kind: TAP, Device: "lan", Address: p.Address, MAC: DefaultMAC("r1", "lan"), MTU: 1500, Offload: true,
		Enabled: true, ReversePath: ReversePathOff, Redirects: true, Pos: Pos{2, 3},
	}
	if got, want := fmt.Sprintf("%+v", p), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("port\n got %s\nwant %s", got, want)
	}
	if c.ICMP != (ICMP{1000, 10}) || c.ARP != (ARP{30 * time.Second, 16384, false}) || c.Control.ReadOnly != "group" {
		t.Errorf("defaults of the sections: %+v %+v %+v", c.ICMP, c.ARP, c.Control)
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	c := mustParse(t, `
name: core-1
ports:
  lan:
    kind: tap
    netns: h1
    device: eth0
    address: [10.1.0.1/24, 10.2.0.1/24]
    mac: 02:00:5e:10:00:01
    mtu: 9000
    offload: off
    proxy_arp: [10.3.0.0/24]
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
    enabled: false
    mss_clamp: auto
    reverse_path: strict
    leak_guard: true
    redirects: false
    comment: "the lan"
  link: {kind: tun, address: 10.9.0.1/30}
  wan: {bridge: {name: br-wan, members: [eth1, eth2]}, address: 192.0.2.1/31, mss_clamp: 1360}
  core: {bridge: br-core}
  idle:
routes:
  - {to: default, via: 192.0.2.0, name: up, comment: uplink}
  - {to: 10.20.0.0/16, via: [10.1.0.2, 10.1.0.3], distance: 20, metric: 3, tag: 7}
  - {to: 10.30.0.0/16, via: 10.20.0.1}
  - {to: 10.9.9.0/24, port: wan}
  - {to: 10.40.0.0/16, via: 10.9.9.1}
  - {to: 192.0.2.0/24, type: blackhole}
neighbors:
  - {port: lan, address: 10.1.0.9, mac: 02:00:00:00:00:09, name: printer}
icmp: {rate: 0, per_destination: 5}
forwarding: {class_e: true, source_route: true}
arp: {reachable: 1m30s, max_cache: 64, probe: true}
control: {read_only: all}
`)
	const want = `{Name:core-1 Ports:[` +
		`{Name:lan Kind:tap Netns:h1 Device:eth0 Address:[10.1.0.1/24 10.2.0.1/24] DHCP:<nil> Peer:invalid IP MAC:02:00:5e:10:00:01 MTU:9000 Offload:false ProxyARP:[10.3.0.0/24] Bridge:<nil> Host:{[10.1.0.2/24] 10.1.0.1} Enabled:false MSSClamp:-1 ReversePath:strict LeakGuard:true Redirects:false Comment:the lan Pos:{Line:4 Column:3}} `
	got := strings.ReplaceAll(fmt.Sprintf("%+v", *c), fmt.Sprintf("Host:%p", c.Ports[0].Host), fmt.Sprintf("Host:%v", *c.Ports[0].Host))
	if !strings.HasPrefix(got, want) {
		t.Errorf("\n got %s\nwant %s…", got, want)
	}
	if n := len(c.Routes); n != 6 || c.Routes[0].To.String() != "0.0.0.0/0" || c.Routes[1].Tag != 7 || c.Routes[5].Type != Blackhole {
		t.Errorf("routes: %+v", c.Routes)
	}
	if b := c.Ports[2].Bridge; b.Name != "br-wan" || len(b.Members) != 2 || c.Ports[2].MSSClamp != 1360 {
		t.Errorf("bridge: %+v", b)
	}
	if c.Ports[1].MAC != (packet.MAC{}) {
		t.Errorf("a tun port got the MAC %s", c.Ports[1].MAC)
	}
	if c.ARP.Reachable != 90*time.Second || !c.ARP.Probe || c.ICMP.Rate != 0 || !c.Forwarding.SourceRoute || c.Control.ReadOnly != "all" {
		t.Errorf("sections: %+v", *c)
	}
}

// TestBadFilesAreRefusedWithTheirPlaces holds each file of testdata/bad against the
// errors written down beside it.
func TestBadFilesAreRefusedWithTheirPlaces(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/bad: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), source)
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("want Errors, got %T: %v", err, err)
			}
			got := all.Error() + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".errors"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("errors\n%swant\n%s", got, want)
			}
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.yaml")
	if err := os.WriteFile(path, []byte("ports: {lan: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || c.Name != "house" {
		t.Errorf("got %+v, %v; want the instance house", c, err)
	}
	if err := os.WriteFile(path, []byte("ports: {lan: {mtu: 1}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || err.Error() != path+":1:20: mtu is 1: give a whole number from 68 to 9216" {
		t.Errorf("got %v", err)
	}
	var all Errors
	if _, err := Load(path + ".missing"); !errors.Is(err, os.ErrNotExist) || errors.As(err, &all) {
		t.Errorf("a missing file is an ordinary error, got %v", err)
	}
	if _, err := Load(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v", err)
	}
	if _, err := Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file without end: %v", err)
	}
}

func TestOneNamespaceHasThreeSpellings(t *testing.T) {
	for spelling, want := range map[string]string{
		"h1": "h1", "/run/netns/h1": "h1", "/var/run/netns//h1": "h1", "/proc/1/ns/net": "/proc/1/ns/net", "": "", "/run/netns/a/b": "/run/netns/a/b",
	} {
		if got := netnsKey(spelling); got != want {
			t.Errorf("%q is %q, want %q", spelling, got, want)
		}
	}
}

func TestErrorsOpenUpToTheSingleOnes(t *testing.T) {
	_, err := Parse("x.yaml", []byte("nmae: 1\nports: {lan: {mtu: 1}}\n"))
	var one Error
	if !errors.As(err, &one) || one.Line != 1 || one.Column != 1 || one.File != "x.yaml" {
		t.Errorf("got %+v of %v", one, err)
	}
}
