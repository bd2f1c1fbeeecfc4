package report

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/procfs"
)

// Kernel is the running Linux.
func Kernel() string {
	var u unix.Utsname
	unix.Uname(&u) // cannot fail: the address is valid
	return unix.ByteSliceToString(u.Release[:])
}

// Processor is the name of the machine's processor.
func Processor() string {
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := procfs.Model(string(text)); model != "" {
			return model
		}
	}
	return "unknown processor"
}

// OthersBusy is how many processors are busy while the benchmark does nothing yet.
func OthersBusy(ctx context.Context) (float64, error) {
	busy := func() (float64, error) {
		text, err := os.ReadFile("/proc/stat")
		if err != nil {
			return 0, err
		}
		return procfs.Busy(string(text))
	}
	before, err := busy()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(2 * time.Second):
	}
	after, err := busy()
	return (after - before) / time.Since(began).Seconds(), err
}
