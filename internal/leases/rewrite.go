package leases

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
)

// A journal is written anew in a file beside it, by a goroutine of its own, while records go on being appended to the old one. What came meanwhile is
// appended to the new one too; then that is made durable and takes the old one's name. At every moment one whole journal has the name.

// rewritten is a new file with the leases of the moment when it was begun.
type rewritten struct {
	file  file
	size  int64
	lines int
	err   error
}

// beside is the name of the file under way.
func beside(path string) string { return path + ".new" }

// tidy begins to write the journal anew when more of it is dead than alive.
func (j *Journal) tidy() {
	dead := j.lines - len(j.live)
	if j.rewrite == nil && dead > max(len(j.live), j.limits.slack) && j.lines >= j.patience {
		j.begin()
	}
}

// begin writes the leases of this moment to a new file.
func (j *Journal) begin() {
	lines := make([]string, 0, len(j.live))
	for _, a := range slices.Sorted(maps.Keys(j.live)) {
		lines = append(lines, j.live[a])
	}
	done := make(chan rewritten, 1)
	j.rewrite, j.since = done, nil
	disk, path := j.disk, beside(j.path)
	go func() { done <- writeAll(disk, path, lines) }()
}

func writeAll(d disk, path string, lines []string) (r rewritten) {
	if r.file, r.err = d.Create(path); r.err != nil {
		return r
	}
	r.lines = len(lines)
	out := bufio.NewWriterSize(r.file, 64<<10)
	for _, line := range append([]string{header}, lines...) {
		out.WriteString(line)
		out.WriteByte('\n')
		r.size += int64(len(line)) + 1
	}
	if r.err = out.Flush(); r.err == nil {
		r.err = r.file.Sync() // most of it now, while nobody waits
	}
	return r
}

// replace puts a new file in the place of the old one. Where that fails the old one goes on.
func (j *Journal) replace(r rewritten) error {
	since, err := j.since, r.err
	j.rewrite, j.since = nil, nil
	if err == nil && len(since) > 0 {
		if _, err = r.file.Write(since); err == nil {
			err = r.file.Sync()
		}
	}
	if err == nil {
		err = j.disk.Rename(beside(j.path), j.path)
	}
	if err != nil {
		if r.file != nil {
			r.file.Close()
		}
		j.disk.Remove(beside(j.path))
		j.patience = 2 * j.lines
		j.log.Warn("leases: the journal could not be written anew, and grows on", "path", j.path, "lines", j.lines, "leases", len(j.live), "error", err)
		return fmt.Errorf("it cannot be written anew: %w", err)
	}
	j.file.Close() // its records are in the new one, which is durable
	j.file, j.size, j.lines = r.file, r.size+int64(len(since)), r.lines+countLines(since)
	j.patience, j.broken = 0, nil
	if err := j.disk.SyncDirectory(j.path); err != nil {
		// After a crash the name may be the old file's again: nothing may be acknowledged that is in the new one only.
		j.broken = err
		return err
	}
	j.mu.Lock()
	j.counters.Rewrites++
	j.mu.Unlock()
	j.count()
	return nil
}

// rewriteNow writes the journal anew before anything else, because what the file's end is, nobody knows.
func (j *Journal) rewriteNow() error {
	if j.rewrite == nil {
		j.begin()
	}
	return j.replace(<-j.rewrite)
}

func countLines(text []byte) (n int) {
	for _, c := range text {
		if c == '\n' {
			n++
		}
	}
	return n
}
