package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vrouterd/bench/internal/site"
)

// The network: 10.64.0.0/12 with the server at .0.1 and the generator, which is a relay agent, at the end.
const (
	serverAddress    = "10.64.0.1/12"
	generatorAddress = "10.79.255.254/12"
	firstAddress     = "10.64.1.0"
	lastAddress      = "10.78.255.255"
)

// lab is where trials take place.
type lab struct {
	*site.Site
	ctx    context.Context
	dir    string // with the binaries
	client string // the generator's namespace
}

// newServer makes the network, starts a contender in it with no leases, and waits until it gives addresses.
func (l *lab) newServer(name string) (*site.Process, error) {
	l.Turn()
	wires, err := l.Namespace("net")
	if err != nil {
		return nil, err
	}
	if l.client, err = l.Namespace("c"); err != nil {
		return nil, err
	}
	// The same switch for all. vrouterd has a TAP in it, the others a veth.
	for _, args := range [][]string{
		{"-n", wires, "link", "add", "lan", "type", "bridge"},
		{"-n", wires, "link", "set", "dev", "lan", "up"},
	} {
		if err := l.IP(args...); err != nil {
			return nil, err
		}
	}
	if err := l.plug(wires, "c", l.client, generatorAddress); err != nil {
		return nil, err
	}
	dir, err := l.Folder(name)
	if err != nil {
		return nil, err
	}
	kind, probe, _ := strings.Cut(name, "-")
	start := map[string]func(wires, dir string, probe bool) (*site.Process, error){"vrouterd": l.vrouterd, "dnsmasq": l.dnsmasq, "kea": l.kea}[kind]
	if start == nil {
		return nil, fmt.Errorf("there is no such contender; there are vrouterd, dnsmasq, kea, vrouterd-probe and dnsmasq-ping")
	}
	p, err := start(wires, dir, probe != "")
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		// perfdhcp does not always wait for the last of its exchanges.
		text, err := l.perfdhcp("-4", "-l", "eth0", "-r", "50", "-n", "5", "-R", "5", "-b", "mac=00:0d:00:00:00:01", "-g", "single", "-W", "200000")
		if err != nil {
			return nil, err
		}
		if t, err := parse(text); err == nil && t.complete > 0 {
			return p, nil
		}
		if err := l.Alive(); err != nil {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("it gives no address within 30 s: %s", p.Said())
		}
	}
}

func (l *lab) vrouterd(wires, dir string, probe bool) (*site.Process, error) {
	file := filepath.Join(dir, "vrouterd.yaml")
	text := fmt.Sprintf("name: %s\nports:\n  lan: {netns: %s, device: tap0, bridge: lan, address: %s}\ndhcp:\n  lan: {range: %s-%s, lease: 1h, probe: %s}\ndhcp_server: {max_leases: 1048576}\n",
		l.Daemon("r"), wires, serverAddress, firstAddress, lastAddress, strconv.FormatBool(probe))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return l.Spawn(wires, filepath.Join(l.dir, "vrouterd"), "-c", file, "--state-dir", filepath.Join(dir, "state"))
}

// plug cables eth0 of a namespace, with an address, into the switch.
func (l *lab) plug(wires, name, ns, address string) error {
	for _, args := range [][]string{
		{"-n", wires, "link", "add", "dev", name, "type", "veth", "peer", "name", "eth0", "netns", ns},
		{"-n", wires, "link", "set", "dev", name, "master", "lan"},
		{"-n", wires, "link", "set", "dev", name, "up"},
		{"-n", ns, "addr", "add", address, "dev", "eth0"},
		{"-n", ns, "link", "set", "dev", "eth0", "up"},
	} {
		if err := l.IP(args...); err != nil {
			return err
		}
	}
	return nil
}

// serverNamespace is where dnsmasq and Kea have eth0.
func (l *lab) serverNamespace(wires string) (string, error) {
	ns, err := l.Namespace("s")
	if err != nil {
		return "", err
	}
	return ns, l.plug(wires, "s", ns, serverAddress)
}

func (l *lab) dnsmasq(wires, dir string, probe bool) (*site.Process, error) {
	ns, err := l.serverNamespace(wires)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("user=root\nport=0\ninterface=eth0\nbind-interfaces\nno-resolv\nno-hosts\npid-file=\nlog-facility=%[1]s/log\nquiet-dhcp\ndhcp-authoritative\ndhcp-lease-max=1000000\n"+
		"dhcp-leasefile=%[1]s/leases\ndhcp-range=%[2]s,%[3]s,255.240.0.0,1h\n", dir, firstAddress, lastAddress)
	if !probe {
		text += "no-ping\n"
	}
	file := filepath.Join(dir, "dnsmasq.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return l.Spawn(ns, "dnsmasq", "--keep-in-foreground", "-C", file)
}

func (l *lab) kea(wires, dir string, _ bool) (*site.Process, error) {
	ns, err := l.serverNamespace(wires)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`{"Dhcp4": {
  "interfaces-config": {"interfaces": ["eth0"]},
  "lease-database": {"type": "memfile", "persist": true, "name": "%[1]s/leases.csv"},
  "valid-lifetime": 3600, "authoritative": true,
  "subnet4": [{"subnet": "10.64.0.0/12", "pools": [{"pool": "%[2]s - %[3]s"}], "option-data": [{"name": "routers", "data": "10.64.0.1"}]}],
  "loggers": [{"name": "kea-dhcp4", "severity": "WARN", "output_options": [{"output": "stdout"}]}]
}}`, dir, firstAddress, lastAddress)
	file := filepath.Join(dir, "kea.json")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return l.Spawn(ns, "env", "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "kea-dhcp4", "-c", file)
}
