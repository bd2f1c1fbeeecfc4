package rib

import (
	"runtime"
	"testing"
)

// BenchmarkFlap is a port with ten thousand routes behind one gateway that goes down and up.
func BenchmarkFlap(b *testing.B) {
	r := New(Options{})
	r.SetPort(core, true)
	if err := r.Update(start, connected("10.9.0.0/24", core)); err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 10000 {
		s := static("0.0.0.0/0", "10.9.0.2")
		s.Prefix = numbered(i)
		if err := r.Update(start, s); err != nil {
			b.Fatal(err)
		}
	}
	r.Changes()
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		r.SetPort(core, false)
		r.Changes()
		r.SetPort(core, true)
		r.Changes()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10000, "B/route")
}
