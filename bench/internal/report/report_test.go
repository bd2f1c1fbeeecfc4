package report

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestASpreadIsTheMedianBetweenTheExtremes(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{7}, Spread{7, 7, 7}},
		{[]float64{9, 1, 2}, Spread{1, 2, 9}},
		{[]float64{9, 1, 2, 4}, Spread{1, 3, 9}},
	} {
		if got := SpreadOf(c.values); got != c.want {
			t.Errorf("%v: %v, expected %v", c.values, got, c.want)
		}
	}
	if none := SpreadOf(nil); !math.IsNaN(none.Median) {
		t.Errorf("of nothing: %v", none)
	}
}

func TestRatiosAreThoseOfNeighbouringTurns(t *testing.T) {
	if got := Ratios([]float64{2, 3, 8, 5}, []float64{1, 0, 4}); !slices.Equal(got, []float64{2, 2}) {
		t.Errorf("%v", got)
	}
}

func TestARowIsAppendedToWhatIsThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	for _, row := range []string{"one\n", "two\n"} {
		if err := Finish(row, file); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q, %v", text, err)
	}
}
