// Package rcu tells a writer when every reader has let go of what it saw.
//
// The dataplane reads its tables without locks: a worker enters a read
// section before it handles a batch of packets and leaves it before it sleeps.
// A writer that has unlinked something (a FIB block, an adjacency number, a
// port's descriptor) may reuse it only after a grace period: once every worker
// that was inside a read section at the time has left it.
//
//	reader                              writer
//	r.Enter()                           unlink the old thing
//	  ... read tables ...               t := d.Retire()
//	r.Exit()                            when d.Passed(t): reuse or close it
package rcu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Domain is one set of readers and the writers that wait for them.
type Domain struct {
	epoch atomic.Uint64 // grows with every Retire; never 0

	mu      sync.Mutex // guards changes of the reader list
	readers atomic.Pointer[[]*Reader]
}

// Reader is one worker's place in the domain. It must be used by a single
// goroutine at a time.
type Reader struct {
	_     [64]byte      // its own cache line: every worker writes it for each batch
	since atomic.Uint64 // 0: outside; else the epoch seen at Enter
	_     [64]byte
}

// Token names the moment at which something was unlinked.
type Token uint64

// NewDomain returns a domain without readers.
func NewDomain() *Domain {
	d := &Domain{}
	d.epoch.Store(1)
	d.readers.Store(&[]*Reader{})
	return d
}

// Register adds a reader, which is outside a read section at first.
func (d *Domain) Register() *Reader {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &Reader{}
	list := append(append([]*Reader(nil), *d.readers.Load()...), r)
	d.readers.Store(&list)
	return r
}

// Unregister removes a reader that will not enter again.
func (d *Domain) Unregister(r *Reader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Reader
	for _, other := range *d.readers.Load() {
		if other != r {
			list = append(list, other)
		}
	}
	d.readers.Store(&list)
}

// Enter begins a read section. Sections do not nest.
func (d *Domain) Enter(r *Reader) {
	// A writer may advance the epoch between the load and the store; the
	// reader then counts as older than it is, which only delays the writer.
	r.since.Store(d.epoch.Load())
}

// Exit ends the read section.
func (d *Domain) Exit(r *Reader) { r.since.Store(0) }

// Retire marks the present moment. Call it after unlinking.
func (d *Domain) Retire() Token { return Token(d.epoch.Add(1)) }

// Passed reports whether every reader that may have seen what was unlinked
// before t has left its read section since.
func (d *Domain) Passed(t Token) bool {
	for _, r := range *d.readers.Load() {
		if s := r.since.Load(); s != 0 && s < uint64(t) {
			return false
		}
	}
	return true
}

// Synchronize waits until Passed(Retire()). Read sections last microseconds,
// so it yields instead of sleeping. It must not be called from inside a read
// section.
func (d *Domain) Synchronize() {
	for t := d.Retire(); !d.Passed(t); {
		runtime.Gosched()
	}
}
