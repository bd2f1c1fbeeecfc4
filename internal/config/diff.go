package config

import (
	"fmt"
	"strings"
)

// diffContext is how many equal lines stand around a change, as diff -u has it.
const diffContext = 3

// diffEffort bounds the search for a shortest difference; beyond it the middle is told as
// replaced. The search takes its square in memory.
const diffEffort = 1500

// Diff returns a unified diff that turns the text old, called a/running, into new,
// called b/ and the given name. It is empty for equal texts.
func Diff(old, new, name string) string {
	if old == new {
		return ""
	}
	a, b := splitLines(old), splitLines(new)
	var out strings.Builder
	fmt.Fprintf(&out, "--- a/running\n+++ b/%s\n", strings.TrimPrefix(name, "/"))
	for _, h := range hunks(diffLines(a, b)) {
		h.write(&out, a, b)
	}
	return out.String()
}

// splitLines keeps the end of each line, so that a missing last one is a difference.
func splitLines(s string) []string {
	lines := strings.SplitAfter(s, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// edit replaces a[aFrom:aTo] by b[bFrom:bTo].
type edit struct{ aFrom, aTo, bFrom, bTo int }

// diffLines returns the edits in order. What is equal at both ends is cut off
// first, so that the cost depends on the size of the change.
func diffLines(a, b []string) []edit {
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	edits := shortestEdits(a[start:len(a)-end], b[start:len(b)-end])
	for i := range edits {
		edits[i].aFrom += start
		edits[i].aTo += start
		edits[i].bFrom += start
		edits[i].bTo += start
	}
	return edits
}

// shortestEdits is Myers' greedy algorithm ("An O(ND) Difference Algorithm", 1986):
// furthest[k] is how far into a the best path with d edits on the diagonal k comes; the
// rows of all d are kept to walk back.
func shortestEdits(a, b []string) []edit {
	n, m := len(a), len(b)
	if n == 0 && m == 0 {
		return nil
	}
	most := min(n+m, diffEffort)
	furthest := make([]int, 2*most+3)
	middle := most + 1
	var rows [][]int
	for d := 0; d <= most; d++ {
		rows = append(rows, append([]int(nil), furthest[middle-d-1:middle+d+2]...))
		for k := -d; k <= d; k += 2 {
			x := furthest[middle+k-1] + 1
			if k == -d || k != d && furthest[middle+k-1] < furthest[middle+k+1] {
				x = furthest[middle+k+1]
			}
			for x < n && x-k < m && a[x] == b[x-k] {
				x++
			}
			furthest[middle+k] = x
			if x >= n && x-k >= m {
				return walkBack(rows, n, m)
			}
		}
	}
	return []edit{{0, n, 0, m}}
}

// walkBack follows the rows from the end and joins neighbouring edits.
func walkBack(rows [][]int, x, y int) []edit {
	var reversed []edit
	for d := len(rows) - 1; d > 0; d-- {
		row := rows[d] // row[i] is the diagonal i-d-1 before step d
		at := func(k int) int { return row[k+d+1] }
		k := x - y
		fromAbove := k == -d || k != d && at(k-1) < at(k+1)
		var px, py int
		if fromAbove {
			px = at(k + 1)
			py = px - (k + 1)
			reversed = append(reversed, edit{px, px, py, py + 1})
		} else {
			px = at(k - 1)
			py = px - (k - 1)
			reversed = append(reversed, edit{px, px + 1, py, py})
		}
		x, y = px, py
	}
	var edits []edit
	for i := len(reversed) - 1; i >= 0; i-- {
		e := reversed[i]
		if last := len(edits) - 1; last >= 0 && edits[last].aTo == e.aFrom && edits[last].bTo == e.bFrom {
			edits[last].aTo, edits[last].bTo = e.aTo, e.bTo
			continue
		}
		edits = append(edits, e)
	}
	return edits
}

// hunk is a run of edits whose contexts touch.
type hunk []edit

func hunks(edits []edit) []hunk {
	var all []hunk
	for _, e := range edits {
		if last := len(all) - 1; last >= 0 {
			h := all[last]
			if e.aFrom-h[len(h)-1].aTo <= 2*diffContext {
				all[last] = append(h, e)
				continue
			}
		}
		all = append(all, hunk{e})
	}
	return all
}

func (h hunk) write(out *strings.Builder, a, b []string) {
	first, last := h[0], h[len(h)-1]
	before := min(diffContext, first.aFrom)
	after := min(diffContext, len(a)-last.aTo)
	aFrom, aTo := first.aFrom-before, last.aTo+after
	bFrom, bTo := first.bFrom-before, last.bTo+after
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(aFrom, aTo), span(bFrom, bTo))
	at := aFrom
	for _, e := range h {
		writeLines(out, ' ', a[at:e.aFrom])
		writeLines(out, '-', a[e.aFrom:e.aTo])
		writeLines(out, '+', b[e.bFrom:e.bTo])
		at = e.aTo
	}
	writeLines(out, ' ', a[at:aTo])
}

// span is a range of lines as diff -u writes it: an empty one stands behind the line
// before it, and a length of one is left out.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprintf("%d", from+1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func writeLines(out *strings.Builder, sign byte, lines []string) {
	for _, line := range lines {
		out.WriteByte(sign)
		out.WriteString(line)
		if !strings.HasSuffix(line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}
