package config

import (
	"fmt"
	"slices"
	"strings"
)

// suggest names what of the known names the operator may have meant, as the
// end of a sentence: `did you mean "address"?`, or all of them when none is near.
func suggest(wrong, whatTheyAre string, known []string) string {
	best, bestDistance := "", len(wrong)/3+1
	for _, name := range known {
		if d := editDistance(strings.ToLower(wrong), name, bestDistance); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = name, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "there are no " + whatTheyAre
	}
	const most = 32
	sorted := slices.Sorted(slices.Values(known))
	more := ""
	if len(sorted) > most {
		more = fmt.Sprintf(" and %d more", len(sorted)-most)
		sorted = sorted[:most]
	}
	return fmt.Sprintf("%s: %s%s", whatTheyAre, strings.Join(sorted, ", "), more)
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours between a and b (optimal string alignment). Beyond limit the result is only
// known to be larger than limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substitution := last[j-1]
			if a[i-1] != b[j-1] {
				substitution++
			}
			row[j] = min(substitution, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
