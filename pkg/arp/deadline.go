package arp

import "time"

// deadline is a moment at which its owner wants to act. It is part of its owner
// and knows its place in the heap, so that moving it costs no search and the heap never
// holds more than one entry an owner.
type deadline struct {
	at    time.Time
	place int // index in the heap plus one; 0: not set
	owner expirer
}

// expirer is called when its deadline has passed; the deadline is no longer set then.
type expirer interface{ expire(m *Machine) }

// deadlines is a binary heap, the earliest first.
type deadlines []*deadline

// set arms d, or moves it if it is armed.
func (h *deadlines) set(d *deadline, at time.Time) {
	d.at = at
	if d.place == 0 {
		*h = append(*h, d)
		d.place = len(*h)
	}
	h.settle(d.place - 1)
}

// clear disarms d.
func (h *deadlines) clear(d *deadline) {
	if d.place == 0 {
		return
	}
	i, last := d.place-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	d.place = 0
	if i < last {
		h.settle(i)
	}
}

func (h deadlines) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

// settle moves the entry at i up or down to where it belongs.
func (h deadlines) settle(i int) {
	for i > 0 && h[i].at.Before(h[(i-1)/2].at) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].at.Before(h[least].at) {
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
