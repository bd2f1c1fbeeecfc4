package leases

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"os"
	"path/filepath"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp/server"
)

// promises are what a journal was asked to keep, and what it said that it keeps.
type promises struct {
	mu     sync.Mutex
	issued map[packet.Addr][]server.Lease
	kept   map[packet.Addr]int // of those issued: the first so many are acknowledged
}

func newPromises() *promises {
	return &promises{issued: map[packet.Addr][]server.Lease{}, kept: map[packet.Addr]int{}}
}

// give appends a lease, and notes when it is acknowledged.
func (p *promises) give(j *Journal, l server.Lease) error {
	p.mu.Lock()
	p.issued[l.Addr] = append(p.issued[l.Addr], l)
	n := len(p.issued[l.Addr])
	p.mu.Unlock()
	return j.Append([]server.Lease{l}, func(err error) {
		if err == nil {
			p.mu.Lock()
			p.kept[l.Addr] = max(p.kept[l.Addr], n)
			p.mu.Unlock()
		}
	})
}

// broken tells what a disk that is left breaks of the promises: "" for nothing.
func (p *promises) broken(left *crashDisk, path string) string {
	j, held, err := load(left, path, limits{slack: 4, waiting: 1 << 20}, silent)
	if err != nil {
		return "it cannot be opened: " + err.Error()
	}
	_, again, err := load(left, path, limits{}, silent)
	if err != nil || !reflect.DeepEqual(held, again) {
		return fmt.Sprintf("the second time it opens as %v, %v", again, err)
	}
	if left.names[beside(j.path)] != nil {
		return "what was under way is still there"
	}
	found := map[packet.Addr]server.Lease{}
	for _, l := range held {
		if _, twice := found[l.Addr]; twice {
			return fmt.Sprintf("%v is there twice", l.Addr)
		}
		found[l.Addr] = l
		if len(p.issued[l.Addr]) == 0 {
			return fmt.Sprintf("%v was never leased", l.Addr)
		}
	}
	for a, issued := range p.issued {
		first := p.kept[a] // what was acknowledged last, or anything later
		l, there := found[a]
		ok := first == 0 && !there
		for i := max(0, first-1); i < len(issued); i++ {
			ok = ok || there && reflect.DeepEqual(l, issued[i]) || !there && issued[i].State == server.Free
		}
		if !ok {
			return fmt.Sprintf("%v is %+v (%v): of %d that were issued, %d were acknowledged, the last as %+v", a, l, there, len(issued), first, issued[max(0, first-1)])
		}
	}
	return ""
}

// script is random leases of a few addresses, some of which are forgotten.
func script(seed uint64, n int) (all []server.Lease) {
	random := rand.New(rand.NewPCG(seed, 5))
	for i := range n {
		l := lease(random.IntN(6))
		l.Hostname = fmt.Sprintf("turn-%d", i)
		if random.IntN(5) == 0 {
			l = server.Lease{Addr: l.Addr}
		}
		all = append(all, l)
	}
	return all
}

func TestWhatWasAcknowledgedSurvivesACrashAtAnyOctet(t *testing.T) {
	const path = "leases.journal"
	for seed := range uint64(3) {
		d := newCrashDisk()
		p := newPromises()
		states, rewritings := 0, 0
		d.watch = func(d *crashDisk) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if d.names[beside(path)] != nil {
				rewritings++
			}
			d.remains(path, 1, func(left *crashDisk) {
				states++
				if wrong := p.broken(left, path); wrong != "" && !t.Failed() {
					t.Errorf("seed %d: after a crash %s\n%s", seed, wrong, left.names[path].data)
				}
			})
		}
		j, _, err := load(d, path, limits{slack: 4, waiting: 1 << 20}, silent)
		must(t, err)
		go j.run()
		for i, l := range script(seed, 60) {
			must(t, p.give(j, l))
			if i%3 == 0 {
				must(t, keep(t, j))
			}
		}
		must(t, j.Close())
		if c := j.Counters(); c.Rewrites == 0 || rewritings == 0 {
			t.Errorf("%+v: nothing was ever written anew", c)
		}
		t.Logf("seed %d: %d states of the disk after a crash, %d times while it was written anew", seed, states, rewritings)
	}
}

func TestRefusalsOfTheDiskLoseNothingThatWasAcknowledged(t *testing.T) {
	const path = "leases.journal"
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		d := newCrashDisk()
		p := newPromises()
		j, _, err := load(d, path, limits{slack: 4, waiting: 1 << 20}, silent)
		must(t, err)
		d.mu.Lock()
		d.fail = func(op string) error {
			d.short = random.IntN(300)
			if random.IntN(4) == 0 {
				return errPower
			}
			return nil
		}
		d.watch = func(d *crashDisk) {
			p.mu.Lock()
			defer p.mu.Unlock()
			d.remains(path, 1+random.IntN(100), func(left *crashDisk) {
				if wrong := p.broken(left, path); wrong != "" && !t.Failed() {
					t.Errorf("seed %d: after a crash %s\n%s", seed, wrong, left.names[path].data)
				}
			})
		}
		d.mu.Unlock()
		go j.run()
		p.mu.Lock()
		p.issued[lease(100).Addr] = []server.Lease{lease(100)} // the barrier's
		p.mu.Unlock()
		lost := 0
		for _, l := range script(seed, 40) {
			must(t, p.give(j, l))
			if keep(t, j, lease(100)) != nil {
				lost++
			}
		}
		d.mu.Lock()
		d.fail = nil
		d.mu.Unlock()
		if err := keep(t, j, lease(100)); err != nil {
			t.Errorf("seed %d: the disk is well, and the journal says %v", seed, err)
		}
		c := j.Counters()
		must(t, j.Close())
		if lost == 0 || c.Lost == 0 || c.Failing {
			t.Errorf("seed %d: %d were lost, %+v", seed, lost, c)
		}
	}
}

func TestFullDiskIsToldOnceAndAgainWhenItIsWell(t *testing.T) {
	d := newCrashDisk()
	var log bytes.Buffer
	j, _, err := load(d, "leases.journal", limits{slack: 1 << 20, waiting: 1 << 20}, logTo(&log))
	must(t, err)
	go j.run()
	must(t, keep(t, j, lease(1)))
	full := func(op string) error {
		if op == "write" {
			return errPower
		}
		return nil
	}
	d.mu.Lock()
	d.fail, d.short = full, 7
	d.mu.Unlock()
	for range 3 {
		if err := keep(t, j, lease(2)); err == nil {
			t.Error("the disk is full, and a lease was acknowledged")
		}
		if err := keep(t, j); err != nil || !j.Counters().Failing { // nothing is no proof that the disk is well
			t.Errorf("%v, %+v", err, j.Counters())
		}
	}
	d.mu.Lock()
	d.fail = nil
	d.mu.Unlock()
	must(t, keep(t, j, lease(3)))
	must(t, j.Close())
	if text := string(d.names["leases.journal"].data); text != journalText(lease(1), lease(3)) {
		t.Errorf("the journal is\n%s", text)
	}
	if n := strings.Count(log.String(), "cannot be written"); n != 1 || !strings.Contains(log.String(), "written again") {
		t.Errorf("the log tells it %d times:\n%s", n, &log)
	}
	if c := j.Counters(); c.Lost != 3 || c.Records != 2 {
		t.Errorf("%+v", c)
	}
}

func TestLeasesAreTakenWhileTheJournalIsWrittenAnew(t *testing.T) {
	d := newCrashDisk()
	j, _, err := load(d, "leases.journal", limits{slack: 4, waiting: 1 << 20}, silent)
	must(t, err)
	hold, begun := make(chan struct{}), make(chan struct{}, 1)
	j.disk = heldDisk{d, hold, begun}
	go j.run()
	for range 10 {
		must(t, keep(t, j, lease(1)))
	}
	<-begun
	for n := range 20 { // each is durable while the new file is under way
		must(t, keep(t, j, lease(n)))
	}
	if c := j.Counters(); c.Rewrites != 0 || c.Lines != 30 {
		t.Errorf("%+v: want 30 lines in the old file", c)
	}
	close(hold)
	must(t, j.Close())
	_, held, err := load(d, "leases.journal", limits{}, silent)
	must(t, err)
	if c := j.Counters(); c.Rewrites == 0 || len(held) != 20 {
		t.Errorf("%d leases, %+v", len(held), c)
	}
}

// heldDisk makes a new file only when it may.
type heldDisk struct {
	*crashDisk
	hold, begun chan struct{}
}

func (d heldDisk) Create(path string) (file, error) {
	select {
	case d.begun <- struct{}{}:
	default:
	}
	<-d.hold
	return d.crashDisk.Create(path)
}

func TestJournalStaysSmall(t *testing.T) {
	d := newCrashDisk()
	j, _, err := load(d, "leases.journal", limits{slack: 16, waiting: 1 << 20}, silent)
	must(t, err)
	go j.run()
	for n := range 2000 {
		must(t, keep(t, j, lease(n%8)))
	}
	// One that is under way may take its time.
	for deadline := time.Now().Add(30 * time.Second); j.Counters().Lines > 8+16+1; {
		must(t, keep(t, j, lease(1)))
		if time.Now().After(deadline) {
			t.Fatalf("it does not get smaller: %+v", j.Counters())
		}
	}
	if c := j.Counters(); c.Rewrites < 2 || c.Octets > 26*300 {
		t.Errorf("%+v", c)
	}
	must(t, j.Close())
}

// An editor that puts a new file in the place of the old one, or a careless hand, leaves the journal without a name: what is written to it is gone with the process.
func TestAJournalThatIsRemovedMeanwhileIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.journal")
	j, _ := open(t, path)
	must(t, keep(t, j, lease(1)))
	must(t, os.Remove(path))
	must(t, keep(t, j, lease(2)))
	must(t, os.WriteFile(path+"~", []byte(header+"\n"), 0o600))
	must(t, os.Rename(path+"~", path))
	must(t, keep(t, j, lease(3)))
	must(t, j.Close())
	j, held := open(t, path)
	defer j.Close()
	if len(held) != 3 {
		t.Errorf("held are %+v", held)
	}
}
