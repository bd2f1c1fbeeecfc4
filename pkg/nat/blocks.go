package nat

import (
	"sync"
	"sync/atomic"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Block is a block of ports that a subscriber got or gave back (RFC 6888 REQ-14), for the log.
type Block struct {
	At               conntrack.Tick
	Subscriber       packet.Addr
	Outside          packet.Addr
	PortMin, PortMax uint16
	Freed            bool
}

// rest is how long a block stays unused before another subscriber gets it (RFC 6888 REQ-8).
const rest = 120 * conntrack.TicksPerSecond

// blockTable says whose the blocks of an outside address are. A block is a whole number of units, for all protocols. An address
// that several rules with blocks of different sizes use is divided correctly as well.
type blockTable struct {
	mu    sync.Mutex
	owner [65536 / unit]atomic.Uint32 // of the block in which a unit is; 0: free
	start [65536 / unit]uint16        // first unit of that block
	units [65536 / unit]uint16        // and how many it has, at its first unit
	live  [65536 / unit]int32         // mappings in the block, at its first unit
	last  [65536 / unit]packet.Addr   // who had a free unit before
	until [65536 / unit]conntrack.Tick
}

// blocks is the block table, made where it is missing.
func (o *outside) blocks() *blockTable {
	o.once.Do(func() { o.table.Store(new(blockTable)) })
	return o.table.Load()
}

// resting reports whether any block is somebody's.
func (o *outside) resting() bool {
	t := o.table.Load()
	if t == nil {
		return false
	}
	for i := range t.owner {
		if t.owned(i) {
			return true
		}
	}
	return false
}

// owned reports whether a unit belongs to a subscriber.
func (t *blockTable) owned(u int) bool { return t.owner[u].Load() != 0 }

// of reports whether a port is in a block of a subscriber.
func (t *blockTable) of(port uint16, subscriber packet.Addr) bool {
	return t.owner[port/unit].Load() == uint32(subscriber)
}

// claim gives a subscriber a free block of the rule, and returns its first port. Without asking.take it only looks for one.
func (o *outside) claim(r *rule, subscriber packet.Addr, now conntrack.Tick, chance uint64, ask asking) (first uint16, found bool) {
	t := o.blocks()
	t.mu.Lock()
	defer t.mu.Unlock()
	count, units := r.perAddress(), r.BlockSize/unit
	if count == 0 {
		return 0, false
	}
	begin := int(chance % uint64(count))
	for i := range count {
		u := int(r.lo)/unit + (begin+i)%count*units
		if !o.vacant(t, u, units, subscriber, now, ask) {
			continue
		}
		if ask.take {
			for j := u; j < u+units; j++ {
				t.owner[j].Store(uint32(subscriber))
				t.start[j] = uint16(u)
			}
			t.units[u] = uint16(units)
			t.live[u] = 0
		}
		return uint16(u * unit), true
	}
	return 0, false
}

// vacant reports whether units are free, rested, and hold no port that the router or another rule has taken.
func (o *outside) vacant(t *blockTable, first, units int, subscriber packet.Addr, now conntrack.Tick, ask asking) bool {
	for u := first; u < first+units; u++ {
		switch owned := t.owned(u); {
		case owned && ask.over.freesBlock(o, t.start[u]):
			if packet.Addr(t.owner[u].Load()) != subscriber {
				return false // it will have to rest
			}
		case owned, now < t.until[u] && t.last[u] != subscriber:
			return false
		}
		for class := range numClasses {
			if o.used(class, u)&^ask.over.freed(o, class, u) != 0 {
				return false
			}
		}
	}
	return true
}

// enter counts a mapping in its block; leave takes it off, and with the last one the block is freed.
func (t *blockTable) enter(port uint16) {
	t.mu.Lock()
	t.live[t.start[port/unit]]++
	t.mu.Unlock()
}

func (t *blockTable) leave(port uint16, now conntrack.Tick) (freed Block, was bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.owned(int(port / unit)) {
		return Block{}, false
	}
	u := int(t.start[port/unit])
	if t.live[u]--; t.live[u] > 0 {
		return Block{}, false
	}
	return t.free(u, now), true
}

// abandon gives back a block in which no mapping was made.
func (t *blockTable) abandon(first uint16, now conntrack.Tick) Block {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.free(int(first/unit), now)
}

// free gives a block back; mu is held.
func (t *blockTable) free(u int, now conntrack.Tick) Block {
	owner, units := packet.Addr(t.owner[u].Load()), int(t.units[u])
	for j := u; j < u+units; j++ {
		t.owner[j].Store(0)
		t.last[j], t.until[j] = owner, now+rest
	}
	return Block{
		At: now, Subscriber: owner, Freed: true,
		PortMin: uint16(u * unit), PortMax: uint16((u+units)*unit - 1),
	}
}

// logLines is how many lines wait for somebody to take them.
const logLines = 16384

// blockLog is a bounded ring of what happened to blocks.
type blockLog struct {
	mu    sync.Mutex
	lines []Block
	first int // oldest line, once the ring is full
	lost  uint64
	inUse int // blocks allocated now
}

func (l *blockLog) add(b Block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.Freed {
		l.inUse--
	} else {
		l.inUse++
	}
	if len(l.lines) < logLines {
		l.lines = append(l.lines, b)
		return
	}
	l.lines[l.first] = b
	l.first = (l.first + 1) % logLines
	l.lost++
}

// Blocks takes the log of blocks since the last call, oldest first, and how many lines were lost because nobody took them.
func (m *Mappings) Blocks() (log []Block, lost uint64) {
	l := &m.log
	l.mu.Lock()
	defer l.mu.Unlock()
	log = append(append(log, l.lines[l.first:]...), l.lines[:l.first]...)
	lost = l.lost
	l.lines, l.first, l.lost = nil, 0, 0
	return log, lost
}
