package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/echo"
)

// replyTimeout is how long one reply may take before the request counts as lost.
const replyTimeout = 200 * time.Millisecond

func measure(netns string, dst netip.Addr, warmup, length, gap time.Duration) (result, error) {
	// Neither the scheduler nor the collector shall add to what is measured.
	runtime.LockOSThread()
	debug.SetGCPercent(-1)

	e, err := echo.Open(netns, dst, replyTimeout)
	if err != nil {
		return result{}, err
	}
	defer e.Close()

	var samples []time.Duration
	lost := 0
	start := time.Now()
	for {
		now := time.Since(start)
		if now > warmup+length {
			break
		}
		took, err := e.Once()
		switch {
		case errors.Is(err, unix.EAGAIN):
			lost++
		case err != nil:
			return result{}, err
		case now > warmup:
			samples = append(samples, took)
		}
		if gap > 0 {
			ts := unix.NsecToTimespec(int64(gap))
			unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		}
	}
	if len(samples) == 0 {
		return result{}, fmt.Errorf("no reply from %s within %v each to %d requests", dst, replyTimeout, lost)
	}
	return summarise(samples, lost), nil
}

// summarise orders the samples and reads the quantiles off: the smallest
// sample that at least that share of all samples does not exceed.
func summarise(samples []time.Duration, lost int) result {
	slices.Sort(samples)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	at := func(q float64) float64 {
		i := int(q*float64(len(samples))+0.999999) - 1
		return us(samples[min(max(i, 0), len(samples)-1)])
	}
	return result{
		Samples: len(samples), Lost: lost,
		Min: us(samples[0]), Median: at(0.5), P90: at(0.9), P99: at(0.99), Max: us(samples[len(samples)-1]),
	}
}
