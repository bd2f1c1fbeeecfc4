package main

import (
	"fmt"
	"math"
	"slices"
)

// spread is a median with the least and the greatest value.
type spread struct{ min, median, max float64 }

// spreadOf orders a copy; of an even number of values the median is the mean of
// the two in the middle. It is false for no values.
func spreadOf(values []float64) (spread, bool) {
	if len(values) == 0 {
		return spread{}, false
	}
	v := slices.Clone(values)
	slices.Sort(v)
	n := len(v)
	return spread{v[0], (v[(n-1)/2] + v[n/2]) / 2, v[n-1]}, true
}

// pick takes one figure out of a contender's turns; turns without it are left out.
func pick(turns []turn, key string) []float64 {
	var v []float64
	for _, t := range turns {
		if x, ok := t[key]; ok {
			v = append(v, x)
		}
	}
	return v
}

// pairs joins two contenders' turns of the same half-round and combines each
// pair of figures. A pair with a figure missing, or a result that is no
// number (a division by zero), is left out.
func pairs(a, b []turn, key string, combine func(a, b float64) float64) []float64 {
	var v []float64
	for i := range min(len(a), len(b)) {
		x, okX := a[i][key]
		y, okY := b[i][key]
		if !okX || !okY {
			continue
		}
		if r := combine(x, y); !math.IsNaN(r) && !math.IsInf(r, 0) {
			v = append(v, r)
		}
	}
	return v
}

func ratio(a, b float64) float64      { return a / b }
func difference(a, b float64) float64 { return a - b }

// number prints with a fixed number of decimals, but at least three
// significant digits' worth for small values.
func number(x float64, decimals int) string {
	if a := math.Abs(x); a > 0 && a < 1 && decimals < 2 {
		decimals = 2
	}
	return fmt.Sprintf("%.*f", decimals, x)
}

// times prints a ratio: 0.83, 1.46, 12.4, 132.
func times(x float64) string {
	switch a := math.Abs(x); {
	case a < 10:
		return fmt.Sprintf("%.2f", x)
	case a < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
