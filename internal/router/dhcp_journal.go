package router

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"vrouterd/internal/leases"
	"vrouterd/pkg/dhcp/server"
)

// leaseJournal is where leases become durable; *leases.Journal is one, and says more about it.
type leaseJournal interface {
	Append(leases []server.Lease, done func(error)) error
	Counters() leases.Counters
	Close() error
}

// leasesWritten is what the journal has answered and the control loop has not seen. The journal never waits for the loop.
type leasesWritten struct {
	mu   sync.Mutex
	list []*leaseBatch
	bell chan struct{}
}

func (w *leasesWritten) add(b *leaseBatch) {
	w.mu.Lock()
	w.list = append(w.list, b)
	w.mu.Unlock()
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

func (w *leasesWritten) take() []*leaseBatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.list
	w.list = nil
	return list
}

// retryJournal is how often a journal that cannot be opened is tried again.
const retryJournal = 10 * time.Second

// openJournal opens the journal of leases, and tells what it holds. Without a directory leases are kept in memory only. A journal that is there and cannot
// be opened is no reason to give addresses away: somebody may have them.
func (r *Router) openJournal() (held []server.Lease, err error) {
	d := &r.dhcp
	if r.opt.StateDir == "" {
		r.log.Warn("leases are kept in memory only and forgotten when the router stops: it was started without --state-dir")
		return nil, nil
	}
	open := r.opt.openJournal
	if open == nil {
		open = openLeases
	}
	d.journal, held, err = open(filepath.Join(r.opt.StateDir, "leases.journal"), r)
	return held, err
}

// openLeases opens a journal on disk.
func openLeases(path string, r *Router) (leaseJournal, []server.Lease, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("the journal of leases %s: %w", path, err)
	}
	j, held, err := leases.Open(path, r.log)
	if err != nil {
		return nil, nil, err
	}
	return j, held, nil
}

// closeJournal waits for what the journal has, and sends what has waited for it.
func (r *Router) closeJournal() {
	d := &r.dhcp
	r.commitLeases()
	if d.journal == nil {
		return
	}
	if err := d.journal.Close(); err != nil {
		r.log.Error("the journal of leases was not closed cleanly", "error", err)
	}
	r.leasesDurable()
	d.journal = nil
}
