package main

import (
	"fmt"
	"os"
	"path/filepath"

	"vrouterd/bench/internal/site"
)

// place is a contender in its place.
type place struct {
	client           string // the namespace of dnsperf
	server, upstream *site.Process
}

// start starts a contender between a client and an upstream.
func start(s *site.Site, name string, o options) (p place, err error) {
	if p.client, err = s.Namespace("client"); err != nil {
		return p, err
	}
	up, err := s.Namespace("up")
	if err != nil {
		return p, err
	}
	if name == "dnsmasq" {
		p.server, err = startDNSMasq(s, p.client, up)
	} else {
		p.server, err = startVrouterd(s, o, p.client, up)
	}
	if err != nil {
		return p, err
	}
	// Its names live for an hour: none grows old during a turn.
	p.upstream, err = s.Spawn(up, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file",
		"--no-resolv", "--no-hosts", "--addn-hosts="+o.hosts(), "--local-ttl=3600", "--bind-dynamic", "--listen-address=10.9.8.2")
	return p, err
}

// startDNSMasq runs dnsmasq with veth pairs to both, and a cache as large as ours.
func startDNSMasq(s *site.Site, client, up string) (*site.Process, error) {
	ns, err := s.Namespace("dnsmasq")
	if err != nil {
		return nil, err
	}
	if err := s.Cable(site.End{Namespace: ns, Device: "lan", Address: "10.9.9.1/24"}, site.End{Namespace: client, Device: "eth0", Address: "10.9.9.2/24"}); err != nil {
		return nil, err
	}
	if err := s.Cable(site.End{Namespace: ns, Device: "wan", Address: "10.9.8.1/24"}, site.End{Namespace: up, Device: "eth0", Address: "10.9.8.2/24"}); err != nil {
		return nil, err
	}
	return s.Spawn(ns, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file",
		"--no-resolv", "--no-hosts", "--server=10.9.8.2", "--cache-size=10000", "--dns-forward-max=1000", "--bind-interfaces", "--listen-address=10.9.9.1")
}

// startVrouterd runs vrouterd with a TAP in either namespace.
func startVrouterd(s *site.Site, o options, client, up string) (*site.Process, error) {
	name := s.Daemon("r")
	text := fmt.Sprintf(`name: %s
ports:
  lan: {netns: %s, device: eth0, address: 10.9.9.1/24, host: {address: 10.9.9.2/24}}
  wan: {netns: %s, device: eth0, address: 10.9.8.1/24, host: {address: 10.9.8.2/24}}
dns: {listen: [lan], upstream: [10.9.8.2]}
`, name, client, up)
	file := filepath.Join(o.Dir, "vrouterd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	p, err := s.Spawn(up, filepath.Join(o.Dir, "vrouterd"), "-c", file, "--state-dir", filepath.Join(o.Dir, "state", name), "--socket-dir", o.Dir)
	if err != nil {
		return nil, err
	}
	return p, s.Until("vrouterd's ports are there", func() error { return s.IP("-n", up, "link", "show", "eth0") })
}
