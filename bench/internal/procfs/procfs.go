// Package procfs reads the few figures of proc(5) that the benchmark needs. The
// functions take the text of a file, not its name.
package procfs

import (
	"fmt"
	"strconv"
	"strings"
)

// ticksPerSecond is USER_HZ, which Linux fixes at 100 for user space on every
// architecture that Go runs on.
const ticksPerSecond = 100

// Busy is the processor time in seconds that /proc/stat has counted since boot on all
// processors together: user, nice, system, irq and softirq; not idle, iowait and steal.
func Busy(stat string) (float64, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q; a line \"cpu\" with at least 7 figures was expected", line)
	}
	return ticks("/proc/stat", f[1], f[2], f[3], f[6], f[7])
}

// ProcessTime is utime plus stime in seconds of a process, all threads together,
// from the text of /proc/PID/stat.
func ProcessTime(stat string) (float64, error) {
	// The second field is the command in parentheses, which may itself hold both spaces and parentheses.
	end := strings.LastIndexByte(stat, ')')
	f := strings.Fields(stat[end+1:])
	if end < 0 || len(f) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat is %q; a command in parentheses and at least 13 figures were expected", stat)
	}
	return ticks("/proc/PID/stat", f[11], f[12])
}

func ticks(file string, figures ...string) (float64, error) {
	var sum uint64
	for _, f := range figures {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %q is not a count of ticks", file, f)
		}
		sum += n
	}
	return float64(sum) / ticksPerSecond, nil
}

// Resident is VmRSS in octets from the text of /proc/PID/status.
func Resident(status string) (int64, error) {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, "VmRSS:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/status: VmRSS is %q; a figure in kB was expected", strings.TrimSpace(rest))
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("/proc/PID/status has no VmRSS")
}

// Model is the processor's name from the text of /proc/cpuinfo, "" if it has none.
func Model(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
