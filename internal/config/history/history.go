// Package history keeps the revisions of a running configuration: what ran, since
// when, by whose hand and what was new in it. It stands behind `vrctl config history`
// and `vrctl config rollback`.
//
// The list only grows at its end. A rollback is a new revision with an old text, so
// that nothing that ever ran is forgotten, except by age: the last [Keep] revisions are
// kept. Numbers are never used twice.
//
// With a directory, each revision is a file there, and the history survives restarts.
// Such a file is the configuration itself under a few lines of comment, so that it can be
// read, checked and started without this package:
//
//	# vrouterd revision 42
//	# time: 2026-11-21T00:30:05Z
//	# author: "ann"
//	# summary: "route 10.4.0.0/16 via 10.1.0.4 added"
//	# octets: 1234
//	name: r1
//	…
//
// A file is written whole or not at all (a temporary file, synced, then renamed). A
// file that cannot be understood is told of and left alone. A write that
// fails costs the file, not the revision: the running router comes first.
//
// Time is a parameter. A History has one owner; it is not safe for concurrent use.
package history

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Keep is how many revisions are kept.
const Keep = 50

// Revision is one text that ran.
type Revision struct {
	Number  int       // counts from 1
	Time    time.Time // since when, to the second
	Author  string    // user name of the peer, or "startup", "SIGHUP", "rollback"
	Summary string    // what was new, short
	Text    string    // the configuration
}

// History is the list of revisions, oldest first; the last one is current.
type History struct {
	directory string // "": memory only
	revisions []Revision
	last      int // highest number ever seen, damaged files included
	damaged   []error
}

// Open returns the history kept in a directory, which is made if absent, or an
// empty one that lives in memory when directory is "". The error is that of the directory;
// single files that cannot be understood are told of by [History.Damaged].
func Open(directory string) (*History, error) {
	h := &History{directory: directory}
	if directory == "" {
		return h, nil
	}
	// Configurations hold secrets: nobody else may read them.
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep the configuration's history: %w", err)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration's history: %w", err)
	}
	for _, entry := range entries {
		number, ok := numberOf(entry.Name())
		if !ok {
			continue // not ours
		}
		h.last = max(h.last, number)
		r, err := read(filepath.Join(directory, entry.Name()), number)
		if err != nil {
			h.damaged = append(h.damaged, err)
			continue
		}
		h.revisions = append(h.revisions, r)
	}
	slices.SortFunc(h.revisions, func(a, b Revision) int { return cmp.Compare(a.Number, b.Number) })
	return h, nil
}

// Damaged tells of files that Open could not understand, in a sentence each.
func (h *History) Damaged() []error { return h.damaged }

// Add notes that text runs since now and returns its revision. When the text is what
// the current revision has already, nothing is added and the current one is returned.
//
// An error says that the revision could not be written to the directory; it is valid and
// kept in memory all the same.
func (h *History) Add(now time.Time, author, summary, text string) (Revision, error) {
	if current, ok := h.Current(); ok && current.Text == text {
		return current, nil
	}
	h.last++
	r := Revision{
		Number: h.last, Time: now.UTC().Truncate(time.Second), Author: author, Summary: summary, Text: text,
	}
	h.revisions = append(h.revisions, r)
	if h.directory == "" {
		h.forget()
		return r, nil
	}
	err := renameio.WriteFile(h.path(r.Number), encode(r), 0o600)
	if err != nil {
		err = fmt.Errorf("revision %d is kept in memory only: %w", r.Number, err)
	}
	return r, errors.Join(err, h.forget())
}

// forget drops the oldest revisions beyond Keep, and their files.
func (h *History) forget() error {
	var faults []error
	for len(h.revisions) > Keep {
		if h.directory != "" {
			if err := os.Remove(h.path(h.revisions[0].Number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, fmt.Errorf("cannot remove an old revision: %w", err))
			}
		}
		h.revisions = slices.Delete(h.revisions, 0, 1)
	}
	return errors.Join(faults...)
}

// List returns the revisions, oldest first. The slice is the caller's.
func (h *History) List() []Revision { return slices.Clone(h.revisions) }

// Current returns the revision that runs; false when there is none yet.
func (h *History) Current() (Revision, bool) {
	if len(h.revisions) == 0 {
		return Revision{}, false
	}
	return h.revisions[len(h.revisions)-1], true
}

// Back returns the revision that ran n revisions before the current one; n is at least 1.
func (h *History) Back(n int) (Revision, error) {
	before := len(h.revisions) - 1
	switch {
	case n < 1:
		return Revision{}, fmt.Errorf("cannot go back %d revisions: give 1 or more", n)
	case before < 1:
		return Revision{}, errors.New("there is no revision before the running one")
	case n > before:
		return Revision{}, fmt.Errorf("cannot go back %d revisions: %d are kept before the running one", n, before)
	}
	return h.revisions[before-n], nil
}

// Get returns the revision with a number.
func (h *History) Get(number int) (Revision, error) {
	i, ok := slices.BinarySearchFunc(h.revisions, number, func(r Revision, n int) int { return cmp.Compare(r.Number, n) })
	if !ok {
		if len(h.revisions) == 0 {
			return Revision{}, errors.New("there are no revisions yet")
		}
		return Revision{}, fmt.Errorf("there is no revision %d: %d to %d are kept", number,
			h.revisions[0].Number, h.revisions[len(h.revisions)-1].Number)
	}
	return h.revisions[i], nil
}

func (h *History) path(number int) string {
	return filepath.Join(h.directory, fileName(number))
}

func read(path string, number int) (Revision, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Revision{}, fmt.Errorf("cannot read a revision: %w", err)
	}
	r, err := decode(content)
	if err == nil && r.Number != number {
		err = fmt.Errorf("it says that it is revision %d", r.Number)
	}
	if err != nil {
		return Revision{}, fmt.Errorf("%s is not a revision that can be used: %w", path, err)
	}
	return r, nil
}

// fileName and numberOf translate between a number and the name of its file, which
// sorts as the numbers do.
func fileName(number int) string { return fmt.Sprintf("revision-%06d.yaml", number) }

func numberOf(name string) (int, bool) {
	digits, prefixed := strings.CutPrefix(name, "revision-")
	digits, suffixed := strings.CutSuffix(digits, ".yaml")
	var number int
	if _, err := fmt.Sscanf(digits, "%d", &number); err != nil || !prefixed || !suffixed || number < 1 {
		return 0, false
	}
	return number, fileName(number) == name
}
