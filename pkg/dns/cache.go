package dns

import "time"

// entryCost is what an answer takes beside its octets, about.
const entryCost = 256

// maxPerName bounds the answers kept for one name: its list is searched in order.
const maxPerName = 16

// entry is a message ready to be sent: its header has only flags and counts, it has no OPT.
type entry struct {
	owner   *owner
	qtype   uint16
	bits    bits
	wire    []byte
	ttls    []uint16 // places of the records' TTLs, in order
	born    time.Duration
	expires time.Duration
	local   uint64 // made from names here, when they had this generation; 0: from upstream
	reason  Reason // what each use of it is counted as
	hits    uint64

	newer, older *entry // in the order of use
}

// owner is a name with the answers kept for it.
type owner struct {
	name    string
	entries []*entry
	listed  bool // it has, or had, an answer from upstream
}

// cache keeps answers by name, type and bits. When it is full the one goes that was not asked for the longest.
type cache struct {
	names         map[string]*owner
	order         order // of the names that are listed
	count, octets int
	ring          entry // newer: the least recently used; older: the most
	stats         CacheStats
}

func (c *cache) empty() (forgotten int) {
	forgotten = c.count
	c.names, c.order, c.count, c.octets = map[string]*owner{}, order{}, 0, 0
	c.ring.newer, c.ring.older = &c.ring, &c.ring
	return forgotten
}

// find is the answer kept for a question, whether or not its time is over. It does not allocate.
func (c *cache) find(name []byte, qtype uint16, b bits) *entry {
	o := c.names[string(name)]
	if o == nil {
		return nil
	}
	for _, e := range o.entries {
		if e.qtype == qtype && e.bits == b {
			return e
		}
	}
	return nil
}

// use makes an answer the most recently used.
func (c *cache) use(e *entry) {
	if c.ring.older == e {
		return
	}
	e.newer.older, e.older.newer = e.older, e.newer
	c.link(e)
}

func (c *cache) link(e *entry) {
	e.older, e.newer = c.ring.older, &c.ring
	e.older.newer, c.ring.older = e, e
}

// keep puts an answer into the cache instead of what was there, and makes room for it.
func (c *cache) keep(name []byte, e *entry, limit, limitOctets int) {
	if old := c.find(name, e.qtype, e.bits); old != nil {
		c.remove(old)
	}
	cost := e.cost()
	if limit <= 0 || cost > limitOctets {
		return
	}
	for c.count > 0 && !c.fits(e, limit, limitOctets) {
		c.stats.Evicted++
		c.remove(c.ring.newer)
	}
	o := c.names[string(name)]
	if o != nil && len(o.entries) >= maxPerName {
		c.stats.Evicted++
		c.remove(o.entries[0]) // there are others: the name stays
	}
	if o == nil {
		o = &owner{name: string(name)}
		c.names[o.name] = o
	}
	if e.local == 0 && !o.listed {
		o.listed = true
		c.order.add(o.name)
	}
	e.owner = o
	o.entries = append(o.entries, e)
	c.count++
	c.octets += cost
	c.stats.Kept++
	c.link(e)
}

// fits reports whether there is room for an answer without forgetting others.
func (c *cache) fits(e *entry, limit, limitOctets int) bool {
	return c.count < limit && c.octets+e.cost() <= limitOctets
}

func (e *entry) cost() int { return len(e.wire) + 2*len(e.ttls) + entryCost }

// remove forgets an answer.
func (c *cache) remove(e *entry) {
	e.newer.older, e.older.newer = e.older, e.newer
	o := e.owner
	for i, other := range o.entries {
		if other == e {
			o.entries = append(o.entries[:i], o.entries[i+1:]...)
			break
		}
	}
	if len(o.entries) == 0 {
		delete(c.names, o.name)
		if o.listed {
			c.order.remove(o.name)
		}
	}
	c.count--
	c.octets -= e.cost()
}

// forget removes all answers for a name.
func (c *cache) forget(name []byte) (n int) {
	o := c.names[string(name)]
	if o == nil {
		return 0
	}
	for n = len(o.entries); len(o.entries) > 0; {
		c.remove(o.entries[len(o.entries)-1])
	}
	return n
}

// trim makes the cache hold to limits that have become smaller.
func (c *cache) trim(limit, limitOctets int) {
	for c.count > 0 && (c.count > limit || c.octets > limitOctets) {
		c.stats.Evicted++
		c.remove(c.ring.newer)
	}
}
