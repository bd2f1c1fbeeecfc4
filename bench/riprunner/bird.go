package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vrouterd/bench/internal/site"
)

// bird is BIRD in each router's namespace.
type bird struct {
	*lab
	routers  []string
	dirs     []string
	neighbor string
	ends     []*site.Process
}

func newBIRD(l *lab, t topology) (contender, error) {
	b := &bird{lab: l}
	var err error
	if b.routers, b.neighbor, err = l.kernelRouters(t); err != nil {
		return nil, err
	}
	for i := range b.routers {
		dir, err := l.folder(fmt.Sprintf("bird%d", i), 0, 0)
		if err != nil {
			return nil, err
		}
		b.dirs = append(b.dirs, dir)
		config := fmt.Sprintf(`router id 192.0.2.%d;
protocol device { scan time 5; }
protocol direct { ipv4; }
protocol kernel { ipv4 { export all; }; merge paths on; }
protocol rip rip1 {
	ipv4 { import all; export all; };
	interface "link*" { update time 5; timeout time 30; garbage time 10; };
}
`, i+1)
		if err := os.WriteFile(filepath.Join(dir, "bird.conf"), []byte(config), 0o644); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *bird) start() error {
	for i, ns := range b.routers {
		dir := b.dirs[i]
		p, err := b.Spawn(ns, "bird", "-f", "-c", dir+"/bird.conf", "-s", dir+"/ctl", "-P", dir+"/pid")
		if err != nil {
			return err
		}
		b.ends = append(b.ends, p)
	}
	return nil
}

func (b *bird) link(number int, up bool) error { return b.setLink(b.routers, number, up) }

// show asks the control socket: a line begins with a code, and four digits and a space end an answer.
func (b *bird) show(router int, command string, line func(string)) error {
	c, err := net.DialTimeout("unix", filepath.Join(b.dirs[router], "ctl"), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	in := bufio.NewScanner(c)
	greeted := false
	for in.Scan() {
		text := in.Text()
		last := len(text) >= 5 && text[4] == ' ' && text[0] >= '0' && text[0] <= '9'
		switch {
		case last && greeted:
			return nil
		case last:
			greeted = true
			if _, err := io.WriteString(c, command+"\n"); err != nil {
				return err
			}
		case len(text) > 5 && text[4] == '-':
			line(text[5:])
		default:
			line(text)
		}
	}
	return fmt.Errorf("BIRD's answer to %q breaks off: %w", command, in.Err())
}

func (b *bird) metrics(router int) (m [5]int, err error) {
	prefix := ""
	err = b.show(router, "show route all protocol rip1", func(line string) {
		field := strings.Fields(line)
		switch {
		case len(field) > 1 && strings.Contains(field[0], "/"):
			prefix = field[0]
		case len(field) == 2 && field[0] == "RIP.metric:":
			metric, _ := strconv.Atoi(field[1])
			count(&m, prefix, metric)
		}
	})
	return m, err
}

func (b *bird) learned() (n int, err error) {
	err = b.show(0, "show route protocol rip1", func(line string) {
		if strings.Contains(line, "/32") {
			n++
		}
	})
	return n, err
}

func (b *bird) neighborNamespace() string { return b.neighbor }

func (b *bird) processes() []*site.Process { return b.ends }
