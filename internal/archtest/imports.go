package archtest

import (
	"slices"
	"strings"
)

// layer is a set of packages, their sub-packages included, that stand at one height.
type layer struct {
	name     string
	packages []string
	// siblings may import each other; elsewhere only a package and its own sub-packages may.
	siblings bool
}

// layers stand from the top down: a package imports what is below it, never what is above.
func layers() []layer {
	return []layer{
		{"commands", []string{"cmd"}, false},
		{"daemon", []string{"internal/daemon"}, false},
		{"shell", []string{"internal/config", "internal/control", "internal/port", "internal/router", "internal/hoststack", "internal/igd", "internal/leases"}, true},
		{"protocols and dataplane", []string{"pkg/rip", "pkg/arp", "pkg/dhcp", "pkg/dns", "pkg/pcp", "internal/rib", "pkg/dataplane"}, false},
		{"policies", []string{"pkg/nat", "pkg/firewall"}, false},
		{"sessions", []string{"pkg/conntrack", "internal/reassembly"}, false},
		{"foundations", []string{"internal/packet", "internal/rcu", "internal/order", "internal/capture"}, true},
	}
}

// outside are the folders whose programs and tests may import everything, and which
// nothing else may import.
func outside() []string {
	return []string{"bench", "test", "internal/archtest", "internal/simnet", "internal/simhost"}
}

// height finds a package's place: the index of its layer, and the package in whose
// subtree it is.
func height(pkg string) (index int, parent string) {
	for i, l := range layers() {
		for _, p := range l.packages {
			if under(pkg, p) {
				return i, p
			}
		}
	}
	return -1, ""
}

// Imports finds imports that go up or sideways, and packages that have no place yet.
func Imports(s Source) (faults []Fault) {
	if s.Test() || slices.ContainsFunc(outside(), func(o string) bool { return under(s.Package(), o) }) {
		return nil
	}
	mine, parent := height(s.Package())
	if mine < 0 {
		return []Fault{s.fault(s.syntax.Name, "package %s has no place in the layers: give it one in internal/archtest/imports.go, and say why in docs/architecture.md", s.Package())}
	}
	for imported, line := range s.imports() {
		pkg, ours := strings.CutPrefix(imported, module+"/")
		if !ours {
			continue
		}
		theirs, theirParent := height(pkg)
		var says string
		switch {
		case slices.ContainsFunc(outside(), func(o string) bool { return under(pkg, o) }):
			says = "imports " + pkg + ", which is for tests only"
		case theirs < 0 || theirParent == parent || theirs > mine || theirs == mine && layers()[mine].siblings:
			continue
		case theirs == mine:
			says = "imports " + pkg + ", which stands beside it: " + layers()[mine].name + " never import each other"
		default:
			says = "imports " + pkg + ", which stands above it: imports run from " + layers()[theirs].name + " to " + layers()[mine].name
		}
		faults = append(faults, Fault{s.Path, line, s.Package() + " " + says})
	}
	return faults
}
