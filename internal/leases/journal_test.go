package leases

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vrouterd/pkg/dhcp/server"
)

// logTo collects what is logged.
func logTo(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

var silent = slog.New(slog.DiscardHandler)

func open(t testing.TB, path string) (*Journal, []server.Lease) {
	t.Helper()
	j, held, err := Open(path, silent)
	if err != nil {
		t.Fatal(err)
	}
	return j, held
}

// keep appends leases and waits for them.
func keep(t testing.TB, j *Journal, leases ...server.Lease) error {
	t.Helper()
	told := make(chan error, 1)
	if err := j.Append(leases, func(err error) { told <- err }); err != nil {
		return err
	}
	select {
	case err := <-told:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was told of what was appended")
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeasesAreThereAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "leases.journal")
	j, held := open(t, path)
	if len(held) != 0 {
		t.Fatalf("a new journal holds %v", held)
	}
	later := lease(2)
	later.Expires = later.Expires.Add(time.Hour)
	must(t, keep(t, j, lease(3), lease(2), lease(1)))
	must(t, keep(t, j, later))
	must(t, keep(t, j, server.Lease{Addr: lease(1).Addr}))
	must(t, j.Close())
	j, held = open(t, path)
	defer j.Close()
	if want := []server.Lease{later, lease(3)}; !reflect.DeepEqual(held, want) {
		t.Errorf("held are %+v\nwant %+v", held, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v: hosts' names are nobody else's business", info.Mode(), err)
	}
}

func TestSecondDaemonDoesNotGetTheJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.journal")
	j, _, err := load(fileSystem{}, path, limits{slack: 1, waiting: 1 << 20}, silent)
	must(t, err)
	go j.run()
	locked := func(when string) {
		t.Helper()
		if _, _, err := Open(path, silent); !errors.Is(err, ErrLocked) {
			t.Errorf("%s the journal opens twice: %v", when, err)
		}
	}
	locked("at first")
	for n := 0; j.Counters().Rewrites == 0; n++ {
		must(t, keep(t, j, lease(n%4)))
	}
	locked("after it was written anew")
	must(t, j.Close())
	j, held := open(t, path)
	if len(held) != 4 {
		t.Errorf("%d leases are there, want 4", len(held))
	}
	must(t, j.Close())
	if err := j.Append(nil, nil); err != ErrClosed {
		t.Errorf("a closed journal takes leases: %v", err)
	}
}

func TestJournalOfANewerVersionIsRefusedAndStays(t *testing.T) {
	for text, want := range map[string]string{
		"vrouterd-leases 2\nwhatever\n":    "newer vrouterd",
		"vrouterd-leases 0\n":              "no journal",
		"hello\n":                          "no journal",
		"1767500000 02:00:00:00:00:31 10.": "no journal",
	} {
		path := filepath.Join(t.TempDir(), "leases.journal")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		_, _, err := Open(path, silent)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v; want an error with %q and the path", text, err, want)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%q was changed to %q", text, now)
		}
	}
}

// journalText is a whole journal of leases.
func journalText(leases ...server.Lease) string {
	var b strings.Builder
	b.WriteString(header + "\n")
	for i := range leases {
		fmt.Fprintf(&b, "%s\n", appendRecord(nil, &leases[i]))
	}
	return b.String()
}

func TestDamagedLineIsPassedOverAndTold(t *testing.T) {
	lines := strings.SplitAfter(journalText(lease(1), lease(2), lease(3)), "\n")
	lines[2] = strings.Replace(lines[2], "192.168.1.2", "192.168.1.7", 1)
	lines[2] += "\n" + strings.Repeat("x", 3*maxLine) + "\n" + strings.Repeat("\x00", 100) + "\n"
	path := filepath.Join(t.TempDir(), "leases.journal")
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	var log bytes.Buffer
	j, held, err := Open(path, logTo(&log))
	must(t, err)
	if want := []server.Lease{lease(1), lease(3)}; !reflect.DeepEqual(held, want) {
		t.Errorf("held are %+v, want %+v", held, want)
	}
	for _, want := range []string{"line=3", "checksum", "line=5", "longer than", "line=6"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not tell %q:\n%s", want, &log)
		}
	}
	must(t, j.Close())
	if now, _ := os.ReadFile(path); string(now) != strings.Join(lines, "") {
		t.Error("what is damaged is gone: nobody can repair it")
	}
}

func TestJournalCutAtAnyOctetHoldsExactlyTheRecordsThatAreWhole(t *testing.T) {
	var all []server.Lease
	for n := range 24 {
		all = append(all, lease(n%16))
		switch n % 5 {
		case 1:
			all[n].Expires = all[n].Expires.Add(time.Duration(n) * time.Hour)
		case 4:
			all[n] = server.Lease{Addr: lease(n - 2).Addr}
		}
	}
	text := journalText(all...)
	const path = "leases.journal"
	for cut := range len(text) + 1 {
		d := newCrashDisk()
		d.names[path] = &crashNode{data: []byte(text[:cut])}
		whole := map[string]server.Lease{}
		end := len(header) + 1
		for i := range all {
			if end += len(appendRecord(nil, &all[i])); end > cut { // the line's end may be missing
				break
			}
			end++
			whole[all[i].Addr.String()] = all[i]
			if all[i].State == server.Free {
				delete(whole, all[i].Addr.String())
			}
		}
		for turn := range 2 { // what was repaired is whole
			var log bytes.Buffer
			j, held, err := load(d, path, limits{slack: 1 << 20, waiting: 1 << 20}, logTo(&log))
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			go j.run()
			got := map[string]server.Lease{}
			for _, l := range held {
				got[l.Addr.String()] = l
			}
			if !reflect.DeepEqual(got, whole) || len(held) != len(got) {
				t.Fatalf("cut at %d, turn %d: held are %+v\nwant %+v", cut, turn, got, whole)
			}
			if turn == 1 {
				if log.Len() > 0 {
					t.Fatalf("cut at %d: the repaired journal is not whole: %s", cut, &log)
				}
				must(t, keep(t, j, lease(15)))
			}
			must(t, j.Close())
		}
		if lines := strings.Split(string(d.names[path].data), "\n"); len(lines) < 3 || lines[len(lines)-1] != "" {
			t.Fatalf("cut at %d: the journal goes on badly: %q", cut, d.names[path].data)
		}
	}
}

func TestUnusableDirectoryIsToldWithThePath(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(blocked, nil, 0o600))
	_, _, err := Open(filepath.Join(blocked, "leases.journal"), silent)
	if err == nil || !strings.Contains(err.Error(), blocked) || !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("%v", err)
	}
}

func TestManyWhoAppendAtOnceShareSyncs(t *testing.T) {
	d := newCrashDisk()
	j, _, err := load(d, "leases.journal", limits{slack: 1 << 20, waiting: 1 << 20}, silent)
	must(t, err)
	d.slowSync = make(chan struct{})
	go j.run()
	const hosts, each = 50, 20
	var wg sync.WaitGroup
	wg.Go(func() { // the disk takes its time
		for range hosts * each {
			select {
			case d.slowSync <- struct{}{}:
			case <-j.ended:
				return
			}
		}
	})
	var clients sync.WaitGroup
	for host := range hosts {
		clients.Go(func() {
			for i := range each {
				l := lease(host)
				l.Hostname = fmt.Sprintf("turn-%d", i)
				if err := keep(t, j, l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	c := j.Counters()
	must(t, j.Close())
	wg.Wait()
	d.slowSync = nil
	if c.Records != hosts*each || c.Groups*2 > c.Records || c.Leases != hosts || c.Lines != hosts*each {
		t.Errorf("%+v: want %d records in far fewer groups", c, hosts*each)
	}
	t.Logf("%d records were written in %d groups", c.Records, c.Groups)
	_, held, err := load(d, "leases.journal", limits{}, silent)
	must(t, err)
	if len(held) != hosts {
		t.Fatalf("%d leases are held, want %d", len(held), hosts)
	}
	for _, l := range held {
		if l.Hostname != fmt.Sprintf("turn-%d", each-1) {
			t.Errorf("%v is of %s, not of the last turn", l.Addr, l.Hostname)
		}
	}
}

func TestWhatWaitsForTheDiskIsBounded(t *testing.T) {
	d := newCrashDisk()
	j, _, err := load(d, "leases.journal", limits{slack: 1 << 20, waiting: 4096}, silent)
	must(t, err)
	var done, refused int
	for n := range 1000 { // nobody writes yet
		switch err := j.Append([]server.Lease{lease(n)}, func(error) { done++ }); err {
		case nil:
		case ErrFull:
			refused++
		default:
			t.Fatal(err)
		}
	}
	if c := j.Counters(); refused == 0 || c.Refused != uint64(refused) || len(j.next.text) > 4096+maxLine {
		t.Errorf("%d were refused, %d octets wait, %+v", refused, len(j.next.text), c)
	}
	go j.run()
	must(t, j.Close())
	if done != 1000-refused {
		t.Errorf("%d were told, want the %d that were taken", done, 1000-refused)
	}
}

func TestLeaseThatIsOfferedIsNotKept(t *testing.T) {
	j, _ := open(t, filepath.Join(t.TempDir(), "leases.journal"))
	defer j.Close()
	offered, long := lease(1), lease(2)
	offered.State = server.Offered
	long.Vendor = strings.Repeat("\n", maxLine)
	for _, l := range []server.Lease{offered, long} {
		if err := j.Append([]server.Lease{lease(3), l}, func(error) { t.Error("it was taken") }); err == nil {
			t.Errorf("%v was taken", l.State)
		}
	}
	must(t, keep(t, j))
	if c := j.Counters(); c.Records != 0 {
		t.Errorf("%+v", c)
	}
}

func BenchmarkAppendDurably(b *testing.B) {
	for _, hosts := range []int{1, 100} {
		b.Run(fmt.Sprintf("%d at once", hosts), func(b *testing.B) {
			j, _ := open(b, filepath.Join(b.TempDir(), "leases.journal"))
			defer j.Close()
			free := make(chan struct{}, hosts)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				free <- struct{}{}
				if err := j.Append([]server.Lease{lease(n % 256)}, func(error) { <-free }); err != nil {
					b.Fatal(err)
				}
			}
			for range hosts {
				free <- struct{}{}
			}
			c := j.Counters()
			b.ReportMetric(float64(c.Records)/float64(c.Groups), "records/sync")
		})
	}
}

func TestLeasesOfARushShareSyncsAndALoneOneDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _, err := load(newCrashDisk(), "leases.journal", limits{slack: 1 << 20, waiting: 1 << 20, spacing: spacing}, silent)
		must(t, err)
		go j.run()
		<-time.After(time.Second) // virtual
		began := time.Now()
		must(t, keep(t, j, lease(0)))
		if waited := time.Since(began); waited != 0 {
			t.Errorf("a lone lease waited %v", waited)
		}
		const every = 100 * time.Microsecond
		for i := range 100 {
			must(t, j.Append([]server.Lease{lease(i)}, nil))
			<-time.After(every)
		}
		must(t, j.Close())
		c := j.Counters()
		if most := uint64(100*every/spacing + 2); c.Records != 101 || c.Groups > most {
			t.Errorf("%d records in %d groups, want 101 in at most %d", c.Records, c.Groups, most)
		}
	})
}
