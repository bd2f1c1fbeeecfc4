package main

import (
	"context"
	"fmt"
	"os"

	"vrouterd/bench/internal/site"
)

// lab is where the contenders run.
type lab struct {
	*site.Site
	ctx context.Context
	dir string // with the binaries
}

// links are the pairs of routers, 0 for A, at links 1 to 6.
var links = [][2]int{{0, 1}, {1, 2}, {0, 3}, {1, 4}, {2, 4}, {3, 4}}

// topology is what a contender runs: the five routers, or one router with one link to
// a namespace where this program is its neighbour.
type topology struct{ single bool }

// contender is a set of routers of one make.
type contender interface {
	// start starts all daemons at once.
	start() error
	// link sets both ends of a link up or down.
	link(number int, up bool) error
	// metrics are those of networks A to E, 10.0.1.0/24 to 10.0.5.0/24, at a router; 0: none.
	metrics(router int) ([5]int, error)
	// learned counts the routes that the single router has from its neighbour.
	learned() (int, error)
	// neighborNamespace is where the single router's neighbour has eth0 with 10.9.1.2.
	neighborNamespace() string
	// processes are those of the single router.
	processes() []*site.Process
}

func (l *lab) newContender(name string, t topology) (contender, error) {
	l.Turn()
	switch name {
	case "vrouterd":
		return newVrouterd(l, t)
	case "frr":
		return newFRR(l, t)
	case "bird":
		return newBIRD(l, t)
	}
	return nil, fmt.Errorf("there is no such contender; there are vrouterd, frr and bird")
}

// kernelRouters makes a namespace for each router, with its network on lo and a veth pair for
// each link: what FRR and BIRD run on.
func (l *lab) kernelRouters(t topology) (routers []string, neighbor string, err error) {
	count := 5
	if t.single {
		count = 1
	}
	for i := range count {
		ns, err := l.Namespace(string(rune('a' + i)))
		if err != nil {
			return nil, "", err
		}
		routers = append(routers, ns)
		if err := l.IP("-n", ns, "addr", "add", fmt.Sprintf("10.0.%d.1/24", i+1), "dev", "lo"); err != nil {
			return nil, "", err
		}
	}
	if t.single {
		if neighbor, err = l.Namespace("n"); err != nil {
			return nil, "", err
		}
		return routers, neighbor, l.Cable(site.End{Namespace: routers[0], Device: "link1", Address: "10.9.1.1/24"}, site.End{Namespace: neighbor, Device: "eth0", Address: "10.9.1.2/24"})
	}
	for n, ends := range links {
		end := func(router int) site.End {
			return site.End{Namespace: routers[router], Device: fmt.Sprintf("link%d", n+1), Address: fmt.Sprintf("10.9.%d.%d/24", n+1, router+1)}
		}
		if err := l.Cable(end(ends[0]), end(ends[1])); err != nil {
			return nil, "", err
		}
	}
	return routers, "", nil
}

// setLink sets both ends of a veth link.
func (l *lab) setLink(routers []string, number int, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	for _, router := range links[number-1] {
		if err := l.IP("-n", routers[router], "link", "set", fmt.Sprintf("link%d", number), state); err != nil {
			return err
		}
	}
	return nil
}

// folder is a daemon's own, writable by an account.
func (l *lab) folder(name string, uid, gid int) (string, error) {
	dir, err := l.Folder(name)
	if err != nil {
		return "", err
	}
	return dir, os.Chown(dir, uid, gid)
}
