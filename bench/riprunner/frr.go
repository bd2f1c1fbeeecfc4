package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vrouterd/bench/internal/site"
)

// frr is zebra and ripd in each router's namespace. Zebra runs before the clock starts.
type frr struct {
	*lab
	routers  []string
	dirs     []string
	neighbor string
	ends     []*site.Process
}

func newFRR(l *lab, t topology) (contender, error) {
	account, err := user.Lookup("frr")
	if err != nil {
		return nil, fmt.Errorf("FRR is not installed: scripts/install-deps test: %w", err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	f := &frr{lab: l}
	if f.routers, f.neighbor, err = l.kernelRouters(t); err != nil {
		return nil, err
	}
	for i, ns := range f.routers {
		dir, err := l.folder(fmt.Sprintf("frr%d", i), uid, gid)
		if err != nil {
			return nil, err
		}
		f.dirs = append(f.dirs, dir)
		config := "router rip\n timers basic 5 30 10\n network lo\n"
		for n := range 6 {
			config += fmt.Sprintf(" network link%d\n", n+1)
		}
		for name, text := range map[string]string{"zebra.conf": "", "ripd.conf": config} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("hostname bench\n"+text), 0o644); err != nil {
				return nil, err
			}
		}
		if err := f.daemon(ns, dir, "zebra"); err != nil {
			return nil, err
		}
		there := func() error { _, err := os.Stat(filepath.Join(dir, "zserv.api")); return err }
		if err := l.Until("zebra answers", there); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *frr) daemon(ns, dir, name string) error {
	p, err := f.Spawn(ns, "/usr/lib/frr/"+name, "-u", "frr", "-g", "frr", "-P", "0", "-f", filepath.Join(dir, name+".conf"),
		"-i", filepath.Join(dir, name+".pid"), "-z", filepath.Join(dir, "zserv.api"), "--vty_socket", dir)
	f.ends = append(f.ends, p)
	return err
}

func (f *frr) start() error {
	for i, ns := range f.routers {
		if err := f.daemon(ns, f.dirs[i], "ripd"); err != nil {
			return err
		}
	}
	return nil
}

func (f *frr) link(number int, up bool) error { return f.setLink(f.routers, number, up) }

// show asks ripd's terminal socket: a command ends with a zero octet, an answer with three
// and the status.
func (f *frr) show(router int, command string) (string, error) {
	c, err := net.DialTimeout("unix", filepath.Join(f.dirs[router], "ripd.vty"), time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var text bytes.Buffer
	for _, line := range []string{"enable", command} {
		text.Reset()
		if _, err := io.WriteString(c, line+"\x00"); err != nil {
			return "", err
		}
		buf := make([]byte, 65536)
		for !bytes.HasSuffix(trimLast(text.Bytes()), []byte{0, 0, 0}) {
			n, err := c.Read(buf)
			if err != nil {
				return "", err
			}
			text.Write(buf[:n])
		}
	}
	return text.String(), nil
}

func trimLast(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	return b[:len(b)-1]
}

func (f *frr) metrics(router int) (m [5]int, err error) {
	text, err := f.show(router, "show ip rip")
	for line := range strings.Lines(text) {
		if field := strings.Fields(line); len(field) >= 5 && field[0] == "R(n)" {
			metric, _ := strconv.Atoi(field[3])
			count(&m, field[1], metric)
		}
	}
	return m, err
}

// count notes the metric of one of the five networks.
func count(m *[5]int, prefix string, metric int) {
	for i := range m {
		if prefix == fmt.Sprintf("10.0.%d.0/24", i+1) && metric < 16 && (m[i] == 0 || metric < m[i]) {
			m[i] = metric
		}
	}
}

func (f *frr) learned() (int, error) {
	text, err := f.show(0, "show ip rip")
	return strings.Count(text, "R(n) "), err
}

func (f *frr) neighborNamespace() string { return f.neighbor }

func (f *frr) processes() []*site.Process { return f.ends }
