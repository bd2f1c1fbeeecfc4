package config

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDiffReadsAsDiffU(t *testing.T) {
	old := "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n"
	new := "a\nb\nX\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n"
	want := `--- a/running
+++ b/new.yaml
@@ -1,6 +1,6 @@
 a
 b
-c
+X
 d
 e
 f
@@ -10,3 +10,4 @@
 j
 k
 l
+m
`
	if got := Diff(old, new, "new.yaml"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Diff(old, old, "same"); got != "" {
		t.Errorf("equal texts differ:\n%s", got)
	}
	if got, want := Diff("a", "a\n", "x"), "--- a/running\n+++ b/x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := Diff("", "a\n", "x"), "--- a/running\n+++ b/x\n@@ -0,0 +1 @@\n+a\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestEditsTurnOneTextIntoTheOther applies the edits of random texts, and holds their
// number against the longest common subsequence, computed the slow way.
func TestEditsTurnOneTextIntoTheOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() []string {
		lines := make([]string, random.IntN(14))
		for i := range lines {
			lines[i] = string(rune('a'+random.IntN(4))) + "\n"
		}
		return lines
	}
	for range 3000 {
		a, b := text(), text()
		var got []string
		at, changed := 0, 0
		for _, e := range diffLines(a, b) {
			got = append(got, a[at:e.aFrom]...)
			got = append(got, b[e.bFrom:e.bTo]...)
			changed += e.aTo - e.aFrom + e.bTo - e.bFrom
			at = e.aTo
		}
		got = append(got, a[at:]...)
		if strings.Join(got, "") != strings.Join(b, "") {
			t.Fatalf("%q to %q became %q", a, b, got)
		}
		if want := len(a) + len(b) - 2*commonLines(a, b); changed != want {
			t.Fatalf("%q to %q took %d lines, the shortest way has %d", a, b, changed, want)
		}
	}
}

func commonLines(a, b []string) int {
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			above := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

func TestDiffOfHugeDifferentTextsIsBounded(t *testing.T) {
	a, b := strings.Repeat("a\n", 20_000), strings.Repeat("b\n", 20_000)
	if got := Diff(a, b, "x"); strings.Count(got, "\n") != 40_003 {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}
