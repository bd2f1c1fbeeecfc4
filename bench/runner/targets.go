package main

import "fmt"

// target is one figure that vrouterd is to reach. Exactly one way of reading it applies: as
// a ratio to peer, as a difference to peer, or, with peer "", as it stands.
type target struct {
	own    string
	figure string
	peer   string
	diff   bool
	least  bool // at least, else at most
	value  float64
	unit   string
}

// targets are those of the project's first release, and of NAT with a firewall.
func targets() []target {
	return []target{
		{"vrouterd", "tcp1", "kernel", false, true, 0.7, ""},
		{"vrouterd", "tcp1", "gvisor", false, true, 15, ""},
		{"vrouterd", "tcp4", "kernel", false, true, 0.5, ""},
		{"vrouterd", "pps", "kernel", false, true, 1.0, ""},
		{"vrouterd", "pps", "gvisor", false, true, 3, ""},
		{"vrouterd", "rtt", "kernel", true, false, 60, "us"},
		{"vrouterd", "rtt99", "kernel", true, false, 300, "us"},
		{"vrouterd", "start", "", false, false, 100, "ms"},
		{"vrouterd", "rss", "", false, false, 40, "MB"},
		{"vrouterd-nat", "tcp1", "vrouterd", false, true, 0.9, ""},
		{"vrouterd-nat", "pps", "kernel-nft", false, true, 1.3, ""},
		{"vrouterd-nat", "new", "", false, false, 1000, "ns"},
		{"vrouterd-rules1000", "tcp1", "vrouterd-rules10", false, true, 0.95, ""},
		{"vrouterd-rules1000", "pps", "vrouterd-rules10", false, true, 0.95, ""},
		{"vrouterd-rules1000", "new", "vrouterd-rules10", false, false, 2, ""},
	}
}

// String says the target in the words of the table.
func (t target) String() string {
	bound := "at most"
	if t.least {
		bound = "at least"
	}
	switch {
	case t.peer == "":
		return fmt.Sprintf("%s %g %s", bound, t.value, t.unit)
	case t.diff:
		return fmt.Sprintf("%s %s + %g %s", bound, t.peer, t.value, t.unit)
	}
	return fmt.Sprintf("%s %g x %s", bound, t.value, t.peer)
}

// measured is what the target is compared with: the median over the pairs of turns.
func (t target) measured(sr series) (spread, bool) {
	own := sr.turns[t.own]
	switch {
	case t.peer == "":
		return spreadOf(pick(own, t.figure))
	case t.diff:
		return spreadOf(pairs(own, sr.turns[t.peer], t.figure, difference))
	}
	return spreadOf(pairs(own, sr.turns[t.peer], t.figure, ratio))
}

// met compares a median with the target.
func (t target) met(median float64) bool {
	if t.least {
		return median >= t.value
	}
	return median <= t.value
}
