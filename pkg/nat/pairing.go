package nat

import (
	"slices"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// tries is how many addresses of a pool are looked at for a host that has none.
const tries = 32

// pair is the outside address of an inside host: the one that it has, as long as it has any mapping (RFC 4787 REQ-2), or one
// that has room. The shard is locked. It takes nothing: the first mapping does.
func (m *Mappings) pair(sh *shard, r *rule, now conntrack.Tick, inside packet.Addr, class int, ask asking) (packet.Addr, Reason) {
	switch {
	case r.Type == Deterministic:
		a, has := r.assignment(inside)
		if !has {
			return 0, ReasonNoBlocks
		}
		return a.Outside, ReasonNone
	case r.Type == CarrierGrade:
		if s := sh.owners[hostKey{r.id, inside}]; s != nil && r.has(s.outside) {
			return s.outside, ReasonNone
		}
		return r.Outside[mix(m.config.Seed^uint64(inside))%uint64(len(r.Outside))], ReasonNone
	case len(r.Outside) == 1:
		return r.Outside[0], ReasonNone
	}
	if h, has := sh.hosts[hostKey{r.id, inside}]; has && r.has(h.outside) && !ask.over.unpairs(hostKey{r.id, inside}, h.mappings) {
		return h.outside, ReasonNone
	}
	// A port's first address is its main one; a pool is used evenly.
	begin := 0
	if r.Type == SNAT {
		begin = int(mix(m.config.Seed^uint64(inside)) % uint64(len(r.Outside)))
	}
	best, least := r.Outside[begin], int64(-1)
	for i := range min(tries, len(r.Outside)) {
		a := r.Outside[(begin+i)%len(r.Outside)]
		taken := int64(0)
		if o := m.outside.get(a); o != nil {
			taken = o.taken(class)
		}
		if taken < (int64(r.hi)-int64(r.lo)+1)*3/4 {
			return a, ReasonNone
		}
		if least < 0 || taken < least {
			best, least = a, taken
		}
	}
	return best, ReasonNone
}

// taken is how many ports of a protocol are taken.
func (o *outside) taken(class int) (n int64) {
	for kind := range o.ports[class] {
		n += int64(o.ports[class][kind].Load())
	}
	return n
}

// subscriber is a host that has blocks of ports. It exists while it has any.
type subscriber struct {
	outside packet.Addr
	blocks  []held
}

// held is a block that a subscriber has.
type held struct {
	outside     packet.Addr
	first, last uint16
}

// retryDry is how long a rule without a free block is not searched again for a subscriber who has none.
const retryDry = conntrack.TicksPerSecond

// claimOfBlocks takes a port of the subscriber's blocks, or of another block as long as it may have one more.
func (m *Mappings) claimOfBlocks(p *Policy, now conntrack.Tick, sh *shard, r *rule, class int, made *mapping, ask asking) Reason {
	key := made.key()
	who := hostKey{r.id, key.addr}
	s := sh.owners[who]
	made.flags |= inBlock
	if s == nil || !r.has(s.outside) || ask.over.freesAll(m, s) {
		return m.firstBlock(p, now, sh, r, class, made, ask)
	}
	made.outside = s.outside
	o := m.outside.make(s.outside)
	chance := m.chance(sh, key, s.outside)
	find := search{class: class, blocks: true, reserved: p.reserved(class, s.outside), chance: chance}
	if o.blocks().of(key.port, key.addr) && !ask.over.freesBlockOf(o, key.port) && !find.reserved.has(key.port) && o.claimPort(class, key.port, ask) {
		made.outsidePort = key.port
		return ReasonNone
	}
	blocks := ask.over.left(m, s.blocks)
	begin := int(chance % uint64(len(blocks)))
	for i := range blocks {
		b := blocks[(begin+i)%len(blocks)]
		if b.outside != s.outside {
			continue
		}
		find.lo, find.hi = b.first, b.last
		if port, found := o.find(find, key.port, ask); found {
			made.outsidePort = port
			return ReasonNone
		}
	}
	if len(blocks) >= r.MaxBlocks {
		return ReasonNoBlocks
	}
	first, found := o.claim(r, key.addr, now, chance, ask)
	if !found {
		return ReasonNoBlocks
	}
	if ask.take {
		m.give(who, s, r, now, s.outside, first)
	}
	return m.fromBlock(now, sh, r, o, find, first, made, ask)
}

// firstBlock chooses the address of a subscriber, and gives it its first block.
func (m *Mappings) firstBlock(p *Policy, now conntrack.Tick, sh *shard, r *rule, class int, made *mapping, ask asking) Reason {
	key := made.key()
	if until, dry := sh.dry[r.id]; dry && now < until {
		return ReasonNoBlocks
	}
	begin := int(mix(m.config.Seed^uint64(key.addr)) % uint64(len(r.Outside)))
	for i := range r.Outside {
		a := r.Outside[(begin+i)%len(r.Outside)]
		o := m.outside.make(a)
		chance := m.chance(sh, key, a)
		first, found := o.claim(r, key.addr, now, chance, ask)
		if !found {
			continue
		}
		made.outside = a
		if ask.take {
			who := hostKey{r.id, key.addr}
			s := sh.owners[who]
			if s == nil {
				s = &subscriber{}
				sh.owners[who] = s
			}
			s.outside = a
			m.give(who, s, r, now, a, first)
		}
		return m.fromBlock(now, sh, r, o, search{class: class, blocks: true, reserved: p.reserved(class, a), chance: chance}, first, made, ask)
	}
	if ask.take {
		sh.dry[r.id] = now + retryDry
	}
	return ReasonNoBlocks
}

// give notes a block that a subscriber got.
func (m *Mappings) give(who hostKey, s *subscriber, r *rule, now conntrack.Tick, outside packet.Addr, first uint16) {
	s.blocks = append(s.blocks, held{outside, first, first + uint16(r.BlockSize-1)})
	m.log.add(Block{
		At: now, Subscriber: who.addr, Outside: outside,
		PortMin: first, PortMax: first + uint16(r.BlockSize-1),
	})
}

// fromBlock takes a port of a block that was just given. If forwards have all its ports, it is given back.
func (m *Mappings) fromBlock(now conntrack.Tick, sh *shard, r *rule, o *outside, s search, first uint16, made *mapping, ask asking) Reason {
	s.lo, s.hi = first, first+uint16(r.BlockSize-1)
	reason := made.takePort(o, s, s.lo <= made.insidePort && made.insidePort <= s.hi, ask)
	if reason != ReasonNone && ask.take {
		m.freed(sh, made, o.blocks().abandon(first, now))
	}
	return reason
}

// freed notes a block that a subscriber has given back.
func (m *Mappings) freed(sh *shard, r *mapping, b Block) {
	b.Outside = r.outside
	sh.forget(r, b.PortMin)
	m.log.add(b)
}

// forget takes a block that was freed off its subscriber, who goes with the last one.
func (sh *shard) forget(r *mapping, first uint16) {
	block := func(b held) bool { return b.outside == r.outside && b.first == first }
	who := hostKey{r.rule, r.inside}
	if s := sh.owners[who]; s == nil || !slices.ContainsFunc(s.blocks, block) {
		// The subscriber's other mappings went on under another rule, and took the block along.
		for key, s := range sh.owners {
			if key.addr == r.inside && slices.ContainsFunc(s.blocks, block) {
				who = key
			}
		}
	}
	s := sh.owners[who]
	if s == nil {
		return
	}
	s.blocks = slices.DeleteFunc(s.blocks, block)
	if len(s.blocks) == 0 {
		delete(sh.owners, who)
	}
}
