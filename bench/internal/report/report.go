// Package report is what a benchmark tells at its end: figures with their spread, what they are to a peer's, on which machine, and the
// row of bench/RESULTS.md.
package report

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Results are the figures of each contender, by name, in the order of the turns.
type Results map[string]map[string][]float64

// Add notes a figure of a turn.
func (r Results) Add(contender, figure string, value float64) {
	if r[contender] == nil {
		r[contender] = map[string][]float64{}
	}
	r[contender][figure] = append(r[contender][figure], value)
}

// Spread is a median between the least and the greatest value.
type Spread struct{ Min, Median, Max float64 }

// SpreadOf is that of values in any order; of none it is no number.
func SpreadOf(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Sorted(slices.Values(values))
	return Spread{v[0], (v[(n-1)/2] + v[n/2]) / 2, v[n-1]}
}

// Ratios are ours to a peer's turn by turn: the machine's mood is much the same in neighbouring ones. A turn in which the peer has nothing is left out.
func Ratios(ours, peer []float64) (all []float64) {
	for i := range min(len(ours), len(peer)) {
		if peer[i] > 0 {
			all = append(all, ours[i]/peer[i])
		}
	}
	return all
}

// Heading begins a row: what was measured and when, on which machine, and how.
func Heading(ctx context.Context, what string, began time.Time, how string) string {
	commit := "unknown"
	// Root runs this in a tree that somebody else owns, which git would refuse.
	if text, err := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		commit = strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("\n## %s, %s\n\ncommit %s, Linux %s, %s, %d cores; %s\n\n", what, began.UTC().Format("2006-01-02 15:04 UTC"),
		commit, Kernel(), Processor(), runtime.NumCPU(), how)
}

// Finish prints a row and appends it to a file; "": to none.
func Finish(row, file string) error {
	fmt.Print(row)
	if file == "" {
		fmt.Println("\nNo row is written.")
		return nil
	}
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := out.WriteString(row); err != nil {
		out.Close()
		return err
	}
	fmt.Printf("\nA row was appended to %s.\n", file)
	return out.Close()
}
