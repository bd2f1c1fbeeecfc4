package leases

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp/server"
)

// limits of a journal.
type limits struct {
	slack   int           // lines that may be dead however few are alive
	waiting int           // octets of records that may wait for the disk
	spacing time.Duration // from the beginning of one sync to that of the next
}

// spacing is how far syncs are apart at least. The first lease after a pause is written at once; in a rush, what comes meanwhile shares the next sync: a sync for
// each lease would take the processor that serves the clients.
const spacing = 4 * time.Millisecond

// Refusals of Append.
var (
	ErrClosed = errors.New("the journal of leases is closed")
	ErrFull   = errors.New("the disk is behind: too many leases wait to be written")
)

// errGone is why a journal is written anew of which the file was removed, as editors do that put a new file in the place of the old one.
var errGone = errors.New("the file was removed")

// Journal is an open journal. Append, Counters and Close may be called from any goroutine.
type Journal struct {
	path   string
	disk   disk
	limits limits
	log    *slog.Logger
	wake   chan struct{}
	ended  chan struct{}

	mu       sync.Mutex
	next     *group // what waits
	closing  bool
	counters Counters

	// The rest is the goroutine's.
	spare     *group
	file      file
	size      int64                  // of what the file holds for certain
	lines     int                    // after the header
	live      map[packet.Addr]string // the line of each lease, without its end
	broken    error                  // what the file's end is, nobody knows: it must be written anew first
	failing   bool                   // the last group was lost, and that was told
	rewrite   chan rewritten         // of the one under way; nil: none is
	since     []byte                 // lines that came while it is
	patience  int                    // lines at which to try again to write anew, after it failed
	lastError error
}

// group is what is written with one write and one sync.
type group struct {
	text    []byte
	records []record
	waiting []func(error)
}

// record is a line of a group.
type record struct {
	addr       packet.Addr
	free       bool
	start, end int // in the group's text, with the line's end
}

// Counters tell how a journal does.
type Counters struct {
	Leases   int    // kept now
	Lines    int    // in the file now, dead ones too
	Octets   int64  // of the file
	Records  uint64 // written since the start
	Groups   uint64 // writes, each with one sync, that they took
	Lost     uint64 // records that the disk refused
	Refused  uint64 // records refused because too many waited
	Rewrites uint64 // times that the journal was written anew
	Failing  bool   // the disk refused the last write
}

// Open opens the journal of a path, or makes it, and tells the leases that it holds, by address. The file stays
// locked until Close: a second Open, of this process or another, fails with ErrLocked.
func Open(path string, log *slog.Logger) (*Journal, []server.Lease, error) {
	j, held, err := load(fileSystem{}, path, limits{slack: 1024, waiting: 16 << 20, spacing: spacing}, log)
	if err != nil {
		return nil, nil, fmt.Errorf("the journal of leases %s: %w", path, err)
	}
	go j.run()
	return j, held, nil
}

// load is Open without the goroutine.
func load(d disk, path string, l limits, log *slog.Logger) (*Journal, []server.Lease, error) {
	f, err := d.Open(path)
	if err != nil {
		return nil, nil, err
	}
	c, err := read(f, log)
	if err == nil {
		err = repair(d, path, f, c)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	j := &Journal{
		path: path, disk: d, limits: l, log: log, file: f, size: c.whole, lines: c.lines, live: map[packet.Addr]string{},
		wake: make(chan struct{}, 1), ended: make(chan struct{}), next: &group{}, spare: &group{},
	}
	held := slices.SortedFunc(maps.Values(c.leases), func(a, b server.Lease) int { return cmp.Compare(a.Addr, b.Addr) })
	for i := range held {
		j.live[held[i].Addr] = string(appendRecord(nil, &held[i]))
	}
	j.count()
	return j, held, nil
}

// repair makes the file end with a whole line.
func repair(d disk, path string, f file, c *contents) error {
	// What a rewriting has left behind that did not come to its end.
	if err := d.Remove(beside(path)); err != nil {
		return err
	}
	if c.cut {
		if err := f.Truncate(c.whole); err != nil {
			return err
		}
	}
	missing := ""
	switch {
	case c.whole == 0:
		missing = header + "\n"
	case c.open:
		missing = "\n"
	default:
		return nil
	}
	if _, err := f.Write([]byte(missing)); err != nil {
		return err
	}
	c.whole += int64(len(missing))
	if err := f.Sync(); err != nil {
		return err
	}
	return d.SyncDirectory(path)
}

// Append hands leases over, and returns at once. Where it returns nil, done is called on the journal's goroutine, in the order of the calls: with nil when
// all of them are durable, else with what the disk said, and then none of them counts. Done must not call Close, and should not block. Where Append
// returns an error, nothing was taken and done is not called. A lease that is Free is forgotten. None at all is a barrier: done follows those of all before.
func (j *Journal) Append(leases []server.Lease, done func(error)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	g := j.next
	switch {
	case j.closing:
		return ErrClosed
	case len(leases) > 0 && len(g.text) > j.limits.waiting:
		j.counters.Refused += uint64(len(leases))
		return ErrFull
	}
	text, records := g.text, g.records
	for i := range leases {
		l := &leases[i]
		start := len(text)
		if l.State == server.Free { // when that was, is all that there is to tell
			l = &server.Lease{Addr: l.Addr, Start: time.Now()}
		}
		text = append(appendRecord(text, l), '\n')
		if n := len(text) - start; n > maxLine || l.State == server.Offered {
			g.text = text[:len(g.text)]
			return fmt.Errorf("the lease of %v (%v) does not fit into the journal: its record would have %d octets", l.Addr, l.State, n)
		}
		records = append(records, record{l.Addr, l.State == server.Free, start, len(text)})
	}
	g.text, g.records, g.waiting = text, records, append(g.waiting, done)
	j.awake()
	return nil
}

// awake tells the goroutine that there is something to do.
func (j *Journal) awake() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Counters tell how the journal does.
func (j *Journal) Counters() Counters {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counters
}

// Close writes what waits, and closes the file. It returns the last error of the disk, if what was handed over last is not durable.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closing = true
	j.mu.Unlock()
	j.awake()
	<-j.ended
	return j.lastError
}

// run is the journal's goroutine.
func (j *Journal) run() {
	defer close(j.ended)
	j.tidy()
	var began time.Time // of the last sync
	for {
		select {
		case <-j.wake:
		case r := <-j.rewrite:
			j.replace(r)
			continue
		}
		if early := j.limits.spacing - time.Since(began); early > 0 {
			time.Sleep(early)
		}
		g, closing := j.take()
		if len(g.waiting) > 0 {
			began = time.Now()
			j.commit(g)
			j.tidy()
			j.awake() // more may have come, or the end
		} else if closing {
			break
		}
	}
	if j.rewrite != nil {
		j.replace(<-j.rewrite)
	}
	if err := j.file.Close(); err != nil && j.lastError == nil {
		j.lastError = err
	}
}

// take is all that waits.
func (j *Journal) take() (g *group, closing bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	g, j.next = j.next, j.spare
	j.spare = g
	return g, j.closing
}

// commit makes a group durable, and calls those who wait for it.
func (j *Journal) commit(g *group) {
	err := j.write(g.text)
	if err == nil {
		for _, r := range g.records {
			if r.free {
				delete(j.live, r.addr)
			} else {
				j.live[r.addr] = string(g.text[r.start : r.end-1])
			}
		}
		j.lines += len(g.records)
		if j.rewrite != nil {
			j.since = append(j.since, g.text...)
		}
	}
	j.tell(err, len(g.records))
	for i, done := range g.waiting {
		if done != nil {
			done(err)
		}
		g.waiting[i] = nil // what it holds is free
	}
	g.text, g.records, g.waiting = g.text[:0], g.records[:0], g.waiting[:0]
	if cap(g.text) > 1<<20 { // after a rush
		*g = group{}
	}
}

// write appends text to the file and makes it durable. After a failure the file ends where it did before, or is written anew before anything else.
func (j *Journal) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if j.broken == nil && j.file.Gone() {
		j.broken = errGone
		j.log.Warn("leases: somebody removed the journal, or put another file in its place: it is written anew", "path", j.path)
	}
	if j.broken != nil {
		if err := j.rewriteNow(); err != nil {
			return err
		}
	}
	_, err := j.file.Write(text)
	if err != nil {
		if cutting := j.file.Truncate(j.size); cutting != nil {
			j.broken = err
		}
		return err
	}
	if err := j.file.Sync(); err != nil {
		// After a sync that failed, the kernel may take what it could not write for written.
		j.file.Truncate(j.size)
		j.broken = err
		return err
	}
	j.size += int64(len(text))
	return nil
}

// tell counts what became of records, and logs when the disk begins or ceases to refuse.
func (j *Journal) tell(err error, records int) {
	if records == 0 {
		return // nothing was asked of the disk
	}
	j.lastError = err
	switch {
	case err != nil && !j.failing:
		j.log.Error("leases: the journal cannot be written: no lease is acknowledged until it can", "path", j.path, "error", err)
	case err == nil && j.failing:
		j.log.Info("leases: the journal is written again", "path", j.path)
	}
	j.failing = err != nil
	j.mu.Lock()
	if err != nil {
		j.counters.Lost += uint64(records)
	} else {
		j.counters.Records += uint64(records)
		j.counters.Groups++
	}
	j.counters.Failing = j.failing
	j.mu.Unlock()
	j.count()
}

// count publishes the sizes.
func (j *Journal) count() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counters.Leases, j.counters.Lines, j.counters.Octets = len(j.live), j.lines, j.size
}
