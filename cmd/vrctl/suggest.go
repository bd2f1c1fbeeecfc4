package main

import (
	"slices"
	"strings"
)

// meant says which of the words was meant, or where none is near, which there are:
// it ends a sentence after a colon.
func meant(word string, all []string) string {
	best, least := "", 3
	for _, w := range all {
		// Of a short word one letter may be wrong: icmp is no slip of tcp.
		if d := distance(strings.ToLower(word), strings.ToLower(w)); d < least && (d < 2 || len(w) > 4) {
			best, least = w, d
		}
	}
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(all) == 0:
		return "there are none"
	case len(all) == 1:
		return all[0] + " is"
	}
	last := len(all) - 1
	return commas(all[:last]) + " and " + all[last] + " are"
}

// distance is how many letters must be added, taken away, changed or swapped with the next
// to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// protocols that have names here; every other is a number.
var protocols = []string{"tcp", "udp", "icmp"}

// protocolWord checks a protocol, as a name or a number.
func protocolWord(what, s string) error {
	if s == "" || slices.Contains(protocols, strings.ToLower(s)) {
		return nil
	}
	if _, err := number(what, s, 0, 255); err == nil {
		return nil
	}
	if hint := meant(s, protocols); strings.HasPrefix(hint, "did") {
		return usagef("%s %s: %s", what, s, hint)
	}
	return usagef("%s %s: tcp, udp, icmp or a number from 0 to 255 is wanted", what, s)
}
