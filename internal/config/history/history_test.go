package history

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func start() time.Time { return time.Date(2026, 11, 21, 0, 30, 5, 0, time.UTC) }

func open(t *testing.T, directory string) *History {
	t.Helper()
	h, err := Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func add(t *testing.T, h *History, i int) Revision {
	t.Helper()
	r, err := h.Add(start().Add(time.Duration(i)*time.Second), "ann", fmt.Sprintf("change %d", i), fmt.Sprintf("name: r%d\n", i))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRevisionsSurviveARestart(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "history")
	h := open(t, directory)
	for i := 1; i <= 3; i++ {
		add(t, h, i)
	}
	if _, err := h.Add(start(), "\"a\"\n", "line one\nline two", "# text\n\n\tname: x"); err != nil {
		t.Fatal(err)
	}
	again := open(t, directory)
	if got, want := fmt.Sprint(again.List()), fmt.Sprint(h.List()); got != want {
		t.Errorf("after the restart\n%s\nwant\n%s", got, want)
	}
	if r := add(t, again, 9); r.Number != 5 {
		t.Errorf("number %d after the restart, want 5", r.Number)
	}
	info, err := os.Stat(filepath.Join(directory, "revision-000005.yaml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a revision may hold secrets: %v %v", info.Mode(), err)
	}
}

func TestTheSameTextIsNoNewRevision(t *testing.T) {
	h := open(t, t.TempDir())
	first := add(t, h, 1)
	r, err := h.Add(start().Add(time.Hour), "bob", "again", first.Text)
	if err != nil || r != first || len(h.List()) != 1 {
		t.Errorf("got %+v, %v, %d revisions", r, err, len(h.List()))
	}
}

func TestOldRevisionsGo(t *testing.T) {
	for _, directory := range []string{"", t.TempDir()} {
		h := open(t, directory)
		for i := 1; i <= Keep+7; i++ {
			add(t, h, i)
		}
		all := h.List()
		if len(all) != Keep || all[0].Number != 8 || all[Keep-1].Number != Keep+7 {
			t.Errorf("%d revisions from %d to %d", len(all), all[0].Number, all[len(all)-1].Number)
		}
		if directory != "" {
			files, err := os.ReadDir(directory)
			if err != nil || len(files) != Keep {
				t.Errorf("%d files, %v; want %d", len(files), err, Keep)
			}
		}
	}
}

func TestBackCountsFromTheRunningRevision(t *testing.T) {
	h := open(t, "")
	wantError := func(err error, want string) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := h.Back(1)
	wantError(err, "there is no revision before the running one")
	_, err = h.Get(1)
	wantError(err, "there are no revisions yet")
	for i := 1; i <= 4; i++ {
		add(t, h, i)
	}
	if r, err := h.Back(1); err != nil || r.Number != 3 {
		t.Errorf("got %d, %v", r.Number, err)
	}
	if r, err := h.Back(3); err != nil || r.Text != "name: r1\n" {
		t.Errorf("got %q, %v", r.Text, err)
	}
	_, err = h.Back(0)
	wantError(err, "cannot go back 0 revisions: give 1 or more")
	_, err = h.Back(4)
	wantError(err, "cannot go back 4 revisions: 3 are kept before the running one")
	if r, err := h.Get(2); err != nil || r.Number != 2 {
		t.Errorf("got %d, %v", r.Number, err)
	}
	_, err = h.Get(7)
	wantError(err, "there is no revision 7: 1 to 4 are kept")
	if current, ok := h.Current(); !ok || current.Number != 4 {
		t.Errorf("current is %d", current.Number)
	}
}

func TestADamagedFileIsToldOfAndLeftAlone(t *testing.T) {
	directory := t.TempDir()
	h := open(t, directory)
	for i := 1; i <= 3; i++ {
		add(t, h, i)
	}
	cut := filepath.Join(directory, fileName(3))
	content, err := os.ReadFile(cut)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, content[:len(content)-2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(directory, fileName(1)), filepath.Join(directory, fileName(7))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h = open(t, directory)
	if all := h.List(); len(all) != 1 || all[0].Number != 2 {
		t.Errorf("left: %+v", all)
	}
	if d := h.Damaged(); len(d) != 2 || !strings.Contains(d[0].Error(), "the text has 7 octets where 9 were written") ||
		!strings.Contains(d[1].Error(), "it says that it is revision 1") {
		t.Errorf("damaged: %v", d)
	}
	if r := add(t, h, 9); r.Number != 8 {
		t.Errorf("number %d would meet a damaged file; want 8", r.Number)
	}
	if now, err := os.ReadFile(cut); err != nil || !bytes.Equal(now, content[:len(content)-2]) {
		t.Errorf("the damaged file was touched: %v", err)
	}
}

func TestAFailedWriteKeepsTheRevisionInMemory(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "history")
	h := open(t, directory)
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	r, err := h.Add(start(), "ann", "one", "name: r1\n")
	if err == nil || !strings.HasPrefix(err.Error(), "revision 1 is kept in memory only: ") {
		t.Errorf("got %v", err)
	}
	if current, ok := h.Current(); !ok || current != r {
		t.Errorf("current %+v", current)
	}
	if _, err := Open("/dev/null/history"); err == nil {
		t.Error("a directory that cannot be made is no error")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(Revision{Number: 1, Time: start(), Author: "ann", Summary: "é\n", Text: "name: r1\n"}))
	f.Add([]byte("# vrouterd revision -1\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := decode(content)
		if err != nil {
			return
		}
		again, err := decode(encode(r))
		if err != nil || again != r {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}
