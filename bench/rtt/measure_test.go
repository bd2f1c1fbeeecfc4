package main

import (
	"testing"
	"time"
)

func TestQuantilesAreTheSmallestSampleThatCoversTheShare(t *testing.T) {
	var samples []time.Duration
	for i := 100; i >= 1; i-- {
		samples = append(samples, time.Duration(i)*time.Microsecond)
	}
	r := summarise(samples, 3)
	if r.Samples != 100 || r.Lost != 3 || r.Min != 1 || r.Median != 50 || r.P90 != 90 || r.P99 != 99 || r.Max != 100 {
		t.Errorf("of 1..100 us: %+v", r)
	}
}

func TestOneSampleIsEveryQuantile(t *testing.T) {
	r := summarise([]time.Duration{1500 * time.Nanosecond}, 0)
	if r.Min != 1.5 || r.Median != 1.5 || r.P99 != 1.5 || r.Max != 1.5 {
		t.Errorf("of one sample of 1.5 us: %+v", r)
	}
}
