package leases

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
)

// crashDisk is a disk in memory that knows what would be left of it if the power failed now: what was written and
// not made durable is there up to any octet, and names that were changed and not made durable are changed or not.
type crashDisk struct {
	mu      sync.Mutex
	names   map[string]*crashNode   // as the process sees them
	durable []map[string]*crashNode // the names that may be found after a crash: the first is certain until a sync of the directory, the last is the present

	watch    func(d *crashDisk)    // sees the disk after every operation
	fail     func(op string) error // what the disk refuses
	short    int                   // octets that a refused write takes nevertheless
	slowSync chan struct{}         // a sync takes one from it
	syncs    int
}

// crashNode is a file's octets: of now, and of the last sync. A cut below what was synced may be found or not.
type crashNode struct{ data, synced []byte }

type crashFile struct {
	d    *crashDisk
	node *crashNode
	at   int
}

func newCrashDisk() *crashDisk {
	return &crashDisk{names: map[string]*crashNode{}, durable: []map[string]*crashNode{{}}}
}

var errPower = errors.New("no space left on device")

// op does something to the disk, unless it is to be refused.
func (d *crashDisk) op(name string, do func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	do()
	if d.watch != nil {
		d.watch(d)
	}
	return nil
}

// rename tells that the names are others now.
func (d *crashDisk) renamed() { d.durable = append(d.durable, maps.Clone(d.names)) }

func (d *crashDisk) Open(path string) (f file, err error) {
	err = d.op("open", func() {
		if d.names[path] == nil {
			d.names[path] = &crashNode{}
			d.renamed()
		}
		f = &crashFile{d: d, node: d.names[path]}
	})
	return f, err
}

func (d *crashDisk) Create(path string) (f file, err error) {
	err = d.op("create", func() {
		d.names[path] = &crashNode{}
		d.renamed()
		f = &crashFile{d: d, node: d.names[path]}
	})
	return f, err
}

func (d *crashDisk) Rename(from, to string) error {
	return d.op("rename", func() {
		d.names[to] = d.names[from]
		delete(d.names, from)
		d.renamed()
	})
}

func (d *crashDisk) Remove(path string) error {
	return d.op("remove", func() {
		if d.names[path] != nil {
			delete(d.names, path)
			d.renamed()
		}
	})
}

func (d *crashDisk) SyncDirectory(string) error {
	return d.op("sync directory", func() { d.durable = []map[string]*crashNode{maps.Clone(d.names)} })
}

func (f *crashFile) Read(b []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := copy(b, f.node.data[f.at:])
	if f.at += n; n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (f *crashFile) Write(b []byte) (int, error) {
	err := f.d.op("write", func() { f.node.data = append(f.node.data[:len(f.node.data):len(f.node.data)], b...) })
	if err != nil {
		f.d.mu.Lock()
		defer f.d.mu.Unlock()
		n := min(f.d.short, len(b))
		f.node.data = append(f.node.data[:len(f.node.data):len(f.node.data)], b[:n]...)
		return n, err
	}
	return len(b), nil
}

func (f *crashFile) Truncate(size int64) error {
	return f.d.op("truncate", func() { f.node.data = f.node.data[:size:size] })
}

func (f *crashFile) Gone() bool { return false }

func (f *crashFile) Sync() error {
	if f.d.slowSync != nil {
		<-f.d.slowSync
	}
	return f.d.op("sync", func() {
		f.d.syncs++
		f.node.synced = f.node.data
	})
}

func (f *crashFile) Close() error { return nil }

// remains calls found with every disk that may be there after a crash now: every set of names, and of the file at path every length from
// what was synced to what was written. What is beside it is there whole, or as far as it was synced.
// With a step of more than 1 only some lengths.
func (d *crashDisk) remains(path string, step int, found func(left *crashDisk)) {
	type pair struct{ main, beside *crashNode }
	seen := map[pair]bool{}
	for _, names := range d.durable {
		main := names[path]
		if p := (pair{main, names[beside(path)]}); seen[p] {
			continue
		} else {
			seen[p] = true
		}
		shortest, longest := 0, 0
		var longer []byte
		if main != nil {
			longer = main.data
			if len(main.synced) > len(longer) {
				longer = main.synced
			}
			shortest, longest = min(len(main.synced), len(main.data)), len(longer)
		}
		for length := shortest; length <= longest; length += min(step, max(1, longest-length)) {
			left := newCrashDisk()
			for name, node := range names {
				left.names[name] = &crashNode{data: node.data, synced: node.synced}
			}
			if main != nil {
				left.names[path] = &crashNode{data: longer[:length:length], synced: longer[:length:length]}
			}
			found(left)
		}
	}
}
