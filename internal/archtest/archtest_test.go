package archtest

import (
	"os"
	"strings"
	"testing"
)

const root = "../.."

func load(t *testing.T) []Source {
	t.Helper()
	sources, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 20 {
		t.Fatalf("only %d Go files found: that cannot be the whole project", len(sources))
	}
	return sources
}

func hold(t *testing.T, check func(Source) []Fault) {
	t.Helper()
	for _, s := range load(t) {
		for _, f := range check(s) {
			t.Error(f)
		}
	}
}

func TestImportsRunOneWay(t *testing.T)                 { hold(t, Imports) }
func TestPureMachinesHaveNoClockNorSocket(t *testing.T) { hold(t, Purity) }
func TestTestsNeitherSleepNorSkip(t *testing.T)         { hold(t, Waits) }
func TestFilesAreShortAndFinished(t *testing.T)         { hold(t, Shape) }

func TestEveryTestNamedInConformanceExists(t *testing.T) {
	const document = "docs/conformance.md"
	text, err := os.ReadFile(root + "/" + document)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Named(document, string(text), load(t)) {
		t.Error(f)
	}
	if n := strings.Count(string(text), "Test"); n < 50 {
		t.Errorf("%s names only %d tests", document, n)
	}
}

// planted are violations that the checks must find, one each; and clean files.
func TestPlantedViolationsAreFound(t *testing.T) {
	for _, c := range []struct {
		what  string
		check func(Source) []Fault
		path  string
		text  string
		want  string // part of the fault; "" for none
	}{
		{"upwards", Imports, "internal/packet/a.go", `package packet; import _ "vrouterd/pkg/dataplane"`, "stands above"},
		{"upwards from a protocol", Imports, "pkg/arp/a.go", `package arp; import _ "vrouterd/internal/router"`, "stands above"},
		{"sideways", Imports, "pkg/arp/a.go", `package arp; import _ "vrouterd/pkg/rip"`, "stands beside"},
		{"a protocol to the dataplane", Imports, "pkg/rip/a.go", `package rip; import _ "vrouterd/pkg/dataplane/fib"`, "stands beside"},
		{"a command from below", Imports, "internal/daemon/a.go", `package daemon; import _ "vrouterd/cmd/vrctl/show"`, "stands above"},
		{"the tests' world", Imports, "internal/router/a.go", `package router; import _ "vrouterd/internal/simnet"`, "for tests only"},
		{"no place", Imports, "internal/stuff/a.go", `package stuff`, "no place"},
		{"downwards", Imports, "internal/router/a.go", `package router; import _ "vrouterd/pkg/arp"`, ""},
		{"the same package", Imports, "pkg/dataplane/a.go", `package dataplane; import _ "vrouterd/pkg/dataplane/fib"`, ""},
		{"in a test", Imports, "pkg/arp/a_test.go", `package arp; import _ "vrouterd/pkg/rip"`, ""},
		{"others' packages", Imports, "internal/packet/a.go", `package packet; import _ "net/netip"`, ""},

		{"a clock", Purity, "pkg/arp/a.go", "package arp; import \"time\"\nvar x = time.Now()", "must not call time.Now"},
		{"a renamed clock", Purity, "pkg/dataplane/a.go", "package dataplane; import t \"time\"\nvar x = t.Since", "must not call time.Since"},
		{"a timer", Purity, "pkg/nat/a.go", "package nat; import \"time\"\nvar x = time.NewTimer(1)", "must not call time.NewTimer"},
		{"a socket", Purity, "pkg/dns/a.go", `package dns; import _ "net"`, "must not import net"},
		{"a lock", Purity, "internal/rib/a.go", `package rib; import _ "sync"`, "must not import sync"},
		{"a log", Purity, "pkg/dhcp/a.go", `package dhcp; import _ "log/slog"`, "must not import log/slog"},
		{"a goroutine", Purity, "internal/reassembly/a.go", `package reassembly; func f() { go f() }`, "must not start a goroutine"},
		{"durations", Purity, "pkg/arp/a.go", "package arp; import (\"time\"; \"net/netip\")\nvar x time.Duration = time.Second\nvar y netip.Addr", ""},
		{"a clock above", Purity, "internal/router/a.go", "package router; import \"time\"\nvar x = time.Now()", ""},
		{"a lock in the FIB", Purity, "pkg/dataplane/fib/a.go", `package fib; import _ "sync"`, "must not import sync"},
		{"atomics elsewhere", Purity, "pkg/arp/a.go", `package arp; import _ "sync/atomic"`, "must not import sync/atomic"},
		{"a clock in the grace periods", Purity, "internal/rcu/a.go", "package rcu; import \"time\"\nvar x = time.Now()", "must not call time.Now"},
		{"atomics in the FIB", Purity, "pkg/dataplane/fib/a.go", `package fib; import _ "sync/atomic"`, ""},

		{"a test that sleeps", Waits, "pkg/arp/a_test.go", "package arp; import \"time\"\nfunc f() { time.Sleep(1) }", "must poll"},
		{"a test that skips", Waits, "pkg/arp/a_test.go", "package arp; import \"testing\"\nfunc TestX(t *testing.T) { t.Skip() }", "must fail or run"},
		{"a program that sleeps", Waits, "bench/a.go", "package main; import \"time\"\nfunc f() { time.Sleep(1) }", ""},

		{"a long file", Shape, "pkg/arp/a.go", "package arp\n" + strings.Repeat("\n", maxLines), "split it by topic"},
		{"a file of full length", Shape, "pkg/arp/a.go", "package arp\n" + strings.Repeat("\n", maxLines-1), ""},
		{"an unfinished note", Shape, "pkg/arp/a.go", "package arp // TO" + "DO: more", "do it"},
		{"an init function", Shape, "pkg/arp/a.go", "package arp; func init() {}", "init function"},
		{"a name that says nothing", Shape, "internal/util/a.go", "package util", "says nothing"},
	} {
		t.Run(c.what, func(t *testing.T) {
			s, err := Parse(c.path, c.text)
			if err != nil {
				t.Fatal(err)
			}
			faults := c.check(s)
			switch {
			case c.want == "" && len(faults) > 0:
				t.Errorf("expected no fault, got %v", faults)
			case c.want != "" && (len(faults) == 0 || !strings.Contains(faults[0].Says, c.want)):
				t.Errorf("expected a fault with %q, got %v", c.want, faults)
			}
		})
	}
}

func TestATestThatNobodyWroteIsFound(t *testing.T) {
	s, err := Parse("pkg/arp/a_test.go", "package arp\nfunc TestThere() {}")
	if err != nil {
		t.Fatal(err)
	}
	faults := Named("a.md", "| x | TestThere, TestNotThere |", []Source{s})
	if len(faults) != 1 || !strings.Contains(faults[0].Says, "TestNotThere") {
		t.Errorf("expected one fault about TestNotThere, got %v", faults)
	}
}
