package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vrouterd/bench/internal/site"
)

// vrouterd is a daemon a router. A link is a bridge with a TAP of either router in it.
type vrouterd struct {
	*lab
	wires    string
	names    []string
	files    []string
	clients  []*http.Client
	neighbor string
	ends     []*site.Process
}

func newVrouterd(l *lab, t topology) (contender, error) {
	v := &vrouterd{lab: l}
	var err error
	if v.wires, err = l.Namespace("net"); err != nil {
		return nil, err
	}
	routers := 5
	if t.single {
		routers = 1
		if v.neighbor, err = l.Namespace("n"); err != nil {
			return nil, err
		}
	}
	dir, err := l.folder("vrouterd", 0, 0)
	if err != nil {
		return nil, err
	}
	for i := range routers {
		letter := string(rune('a' + i))
		name := l.Daemon(letter)
		var ports, rip strings.Builder
		fmt.Fprintf(&ports, "  self: {netns: %s, device: self-%s, address: 10.0.%d.1/24}\n", v.wires, letter, i+1)
		fmt.Fprintf(&rip, "    self: {passive: true}\n")
		for n, ends := range links {
			switch {
			case t.single && n > 0 || !slices.Contains(ends[:], i):
				continue
			case t.single:
				fmt.Fprintf(&ports, "  link1: {netns: %s, device: eth0, address: 10.9.1.1/24, host: {address: 10.9.1.2/24}}\n", v.neighbor)
			default:
				fmt.Fprintf(&ports, "  link%d: {netns: %s, device: %s-link%d, bridge: link%d, address: 10.9.%d.%d/24}\n", n+1, v.wires, letter, n+1, n+1, n+1, i+1)
			}
			fmt.Fprintf(&rip, "    link%d:\n", n+1)
		}
		file := filepath.Join(dir, letter+".yaml")
		text := fmt.Sprintf("name: %s\nports:\n%srip:\n  timers: {update: 5s, timeout: 30s, garbage: 10s}\n  ports:\n%s", name, ports.String(), rip.String())
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
		v.names, v.files = append(v.names, name), append(v.files, file)
		socket := "/run/vrouterd/" + name + ".sock"
		v.clients = append(v.clients, &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		}})
	}
	return v, nil
}

func (v *vrouterd) start() error {
	for i, file := range v.files {
		p, err := v.Spawn(v.wires, filepath.Join(v.dir, "vrouterd"), "-c", file, "--state-dir", filepath.Join(v.dir, "state", v.names[i]))
		if err != nil {
			return err
		}
		v.ends = append(v.ends, p)
	}
	return nil
}

func (v *vrouterd) link(number int, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	for _, router := range links[number-1] {
		text, err := exec.CommandContext(v.ctx, filepath.Join(v.dir, "vrctl"), "-n", v.names[router], "port", state, fmt.Sprintf("link%d", number)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("vrctl port %s: %w: %s", state, err, text)
		}
	}
	return nil
}

type ripRow struct {
	Prefix, Source, State string
	Metric                int
	Selected              bool
}

func (v *vrouterd) table(router int) (rows []ripRow, err error) {
	answer, err := v.clients[router].Get("http://vrouterd/v1/rip")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return rows, json.NewDecoder(answer.Body).Decode(&rows)
}

func (v *vrouterd) metrics(router int) (m [5]int, err error) {
	rows, err := v.table(router)
	for _, row := range rows {
		if row.Source == "rip" && row.State == "valid" && row.Selected {
			count(&m, row.Prefix, row.Metric)
		}
	}
	return m, err
}

func (v *vrouterd) learned() (n int, err error) {
	rows, err := v.table(0)
	for _, row := range rows {
		if row.Source == "rip" && row.State == "valid" {
			n++
		}
	}
	return n, err
}

func (v *vrouterd) neighborNamespace() string { return v.neighbor }

func (v *vrouterd) processes() []*site.Process { return v.ends }
