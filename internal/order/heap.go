package order

import "time"

// Deadline is a moment at which its owner wants to act. It is part of its owner
// and knows its place in the heap, so that moving it costs no search and the heap never
// holds more than one entry an owner. The zero Deadline is not set.
type Deadline[T any] struct {
	at    time.Time
	place int // index in the heap plus one; 0: not set
	Owner T
}

// IsSet reports whether the deadline is in a heap.
func (d *Deadline[T]) IsSet() bool { return d.place != 0 }

// At is when it is, or was last.
func (d *Deadline[T]) At() time.Time { return d.at }

// Heap is a binary heap of deadlines, the earliest first. The zero Heap is empty.
type Heap[T any] struct{ entries []*Deadline[T] }

// Len is how many deadlines are set.
func (h *Heap[T]) Len() int { return len(h.entries) }

// Next is the earliest deadline; the zero time: there is none.
func (h *Heap[T]) Next() time.Time {
	if len(h.entries) == 0 {
		return time.Time{}
	}
	return h.entries[0].at
}

// Take clears the earliest deadline if it has come by now, and returns its owner.
func (h *Heap[T]) Take(now time.Time) (owner T, due bool) {
	if len(h.entries) == 0 || h.entries[0].at.After(now) {
		return owner, false
	}
	d := h.entries[0]
	h.Clear(d)
	return d.Owner, true
}

// Set arms d, or moves it if it is armed.
func (h *Heap[T]) Set(d *Deadline[T], at time.Time) {
	d.at = at
	if d.place == 0 {
		h.entries = append(h.entries, d)
		d.place = len(h.entries)
	}
	h.settle(d.place - 1)
}

// Clear disarms d.
func (h *Heap[T]) Clear(d *Deadline[T]) {
	if d.place == 0 {
		return
	}
	i, last := d.place-1, len(h.entries)-1
	h.swap(i, last)
	h.entries[last] = nil
	h.entries = h.entries[:last]
	d.place = 0
	if i < last {
		h.settle(i)
	}
}

// Sound reports whether every entry knows its place and none is before the one that it hangs from. It looks at all: it is for tests.
func (h *Heap[T]) Sound() bool {
	for i, d := range h.entries {
		if d.place != i+1 || i > 0 && d.at.Before(h.entries[(i-1)/2].at) {
			return false
		}
	}
	return true
}

func (h *Heap[T]) swap(i, j int) {
	e := h.entries
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i+1, j+1
}

// settle moves the entry at i up or down to where it belongs.
func (h *Heap[T]) settle(i int) {
	e := h.entries
	for i > 0 && e[i].at.Before(e[(i-1)/2].at) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(e); child++ {
			if e[child].at.Before(e[least].at) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
