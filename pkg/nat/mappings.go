package nat

import (
	"sync"
	"sync/atomic"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Config of the mappings.
type Config struct {
	Max        int    // mappings in all; default 1,048,576
	MaxPerHost int    // explicit mappings that one inside address may have; default 128
	Seed       uint64 // of the choice of ports: equal seeds and packets give equal ports
}

// Mappings is the mutable side of NAT. Its methods may be called from any goroutine.
type Mappings struct {
	config  Config
	perHost atomic.Int64 // Config.MaxPerHost, as it is now
	live    atomic.Int64 // mappings now
	named   atomic.Int64 // of them explicit ones
	refused [NumReasons]atomic.Uint64
	current atomic.Pointer[Policy] // of the last Retain, for tables
	outside *directory
	log     blockLog
	shards  [numShards]shard
}

// numShards is how many shards there are; an inside address with all it has is in one of them.
const (
	shardBits = 6
	numShards = 1 << shardBits
)

// shard is the mappings of some inside addresses.
type shard struct {
	mu       sync.Mutex
	slots    []mapping
	free     []uint32
	inside   map[insideKey]uint32    // the mapping that new sessions of an inside port use: its slot
	allowed  map[permission]uint32   // sessions of a mapping to a remote address, beyond the first one
	hosts    map[hostKey]host        // paired addresses
	owners   map[hostKey]*subscriber // of blocks
	explicit map[endpoint]uint32     // explicit mappings of an inside port: reference of the first of a chain
	perHost  map[packet.Addr]int     // explicit mappings of a host
	texts    map[uint32]string       // Explicit.Owner, by slot
	dry      map[uint64]conntrack.Tick
	sequence uint64         // of choices
	next     conntrack.Tick // no explicit mapping ends before; 0: none ever
	_        [64]byte
}

// mapping is one entry of a shard: an inside endpoint and the outside endpoint that stands for it. It holds no pointer.
type mapping struct {
	rule                    uint64 // identity
	inside, outside         packet.Addr
	insidePort, outsidePort uint16
	protocol                uint8
	by                      By
	flags                   mappingFlags
	out                     uint16 // port of its rule
	sources, targets        uint32 // sessions whose source, whose destination it translates
	remote                  packet.Addr
	allowed                 packet.Addr // the remote of count sessions; others are in shard.allowed
	count, others           uint32
	expires                 conntrack.Tick
	after                   uint32 // explicit: reference of the next one of the same inside port
}

type mappingFlags uint16

const (
	inUse       mappingFlags = 1 << iota
	isExplicit               // somebody asked for it; it stays without sessions
	isIndexed                // new sessions of its inside port use it
	isRetired                // no new sessions
	isGone                   // the policy does not allow it any more: its sessions are to be ended
	inBlock                  // its port is in a block of its host
	inHostCount              // it is counted in the paired address of its host
	atForward                // its port was a forward's when it was made: who came in came by the forward
)

// idle reports whether nothing holds the mapping.
func (r *mapping) idle() bool { return r.sources == 0 && r.targets == 0 && r.flags&isExplicit == 0 }

// insideKey is what new sessions from inside find their mapping by.
type insideKey struct {
	rule     uint64
	addr     packet.Addr
	port     uint16
	protocol uint16
}

func (r *mapping) key() insideKey {
	return insideKey{r.rule, r.inside, r.insidePort, uint16(r.protocol)}
}

// permission to use a mapping under address-dependent filtering.
type permission struct {
	slot   uint32
	remote packet.Addr
}

// hostKey is an inside host under a rule.
type hostKey struct {
	rule uint64
	addr packet.Addr
}

// host is the outside address with which an inside host is paired (RFC 4787 REQ-2).
type host struct {
	outside  packet.Addr
	mappings int32
}

// endpoint is an inside port, whatever the rule.
type endpoint struct {
	addr     packet.Addr
	port     uint16
	protocol uint8
}

// NewMappings makes an empty one.
func NewMappings(c Config) *Mappings {
	if c.Max <= 0 {
		c.Max = 1 << 20
	}
	if c.MaxPerHost <= 0 {
		c.MaxPerHost = 128
	}
	m := &Mappings{config: c, outside: newDirectory()}
	m.Limit(c.MaxPerHost)
	for i := range m.shards {
		m.shards[i] = shard{
			inside:   map[insideKey]uint32{},
			allowed:  map[permission]uint32{},
			hosts:    map[hostKey]host{},
			owners:   map[hostKey]*subscriber{},
			explicit: map[endpoint]uint32{},
			perHost:  map[packet.Addr]int{},
			texts:    map[uint32]string{},
			dry:      map[uint64]conntrack.Tick{},
		}
	}
	return m
}

// Limit changes how many explicit mappings one inside address may have; those that there are stay.
func (m *Mappings) Limit(perHost int) { m.perHost.Store(int64(perHost)) }

// shard of an inside address.
func (m *Mappings) shard(inside packet.Addr) (*shard, uint32) {
	n := uint32(mix(uint64(inside)) >> (64 - shardBits))
	return &m.shards[n], n
}

// reference names a mapping by its shard and slot; never 0.
func reference(shard, slot uint32) uint32 { return (slot+1)<<shardBits | shard }

// slotOf is its slot.
func slotOf(reference uint32) uint32 { return reference>>shardBits - 1 }

// refuse counts a refusal.
func (m *Mappings) refuse(r Reason) { m.refused[r].Add(1) }

// lockAt finds the mapping that has an outside endpoint, and locks its shard; nil: nobody has it, and nothing is locked.
func (m *Mappings) lockAt(class int, protocol uint8, addr packet.Addr, port uint16) (*shard, uint32, *mapping) {
	o := m.outside.get(addr)
	if o == nil {
		return nil, 0, nil
	}
	ref := o.mapping(class, port)
	if ref == 0 {
		return nil, 0, nil
	}
	sh, slot := &m.shards[ref%numShards], slotOf(ref)
	sh.mu.Lock()
	if int(slot) < len(sh.slots) {
		r := &sh.slots[slot]
		if r.flags&inUse != 0 && r.outside == addr && r.outsidePort == port && r.protocol == protocol {
			return sh, slot, r
		}
	}
	sh.mu.Unlock() // it went in between
	return nil, 0, nil
}

// insert makes a mapping of what was taken. The shard is locked.
func (m *Mappings) insert(sh *shard, number uint32, o *outside, class int, r mapping) uint32 {
	var slot uint32
	if n := len(sh.free); n > 0 {
		slot = sh.free[n-1]
		sh.free = sh.free[:n-1]
	} else {
		slot = uint32(len(sh.slots))
		sh.slots = append(sh.slots, mapping{})
	}
	r.flags |= inUse
	sh.slots[slot] = r
	if r.flags&isIndexed != 0 {
		sh.inside[r.key()] = slot
	}
	if r.flags&inBlock != 0 {
		o.blocks().enter(r.outsidePort)
	}
	if r.flags&inHostCount != 0 {
		key := hostKey{r.rule, r.inside}
		h := sh.hosts[key]
		if h.outside != r.outside {
			h = host{outside: r.outside} // the address before is no longer the rule's
		}
		h.mappings++
		sh.hosts[key] = h
	}
	m.live.Add(1)
	o.assign(class, r.outsidePort, reference(number, slot))
	return slot
}

// remove frees a mapping that nothing holds. The shard is locked.
func (m *Mappings) remove(now conntrack.Tick, sh *shard, slot uint32) {
	r := &sh.slots[slot]
	m.unindex(sh, slot)
	if r.others > 0 {
		for key := range sh.allowed {
			if key.slot == slot {
				delete(sh.allowed, key)
			}
		}
	}
	sh.unpair(r)
	o := m.outside.get(r.outside)
	class, _ := classOf(r.protocol)
	o.release(class, r.outsidePort)
	if r.flags&inBlock != 0 {
		if freed, was := o.blocks().leave(r.outsidePort, now); was {
			m.freed(sh, r, freed)
		}
	}
	*r = mapping{}
	sh.free = append(sh.free, slot)
	m.live.Add(-1)
}

// unpair takes a mapping off the count of its host's address; with the last one the host is free to get another.
func (sh *shard) unpair(r *mapping) {
	if r.flags&inHostCount == 0 {
		return
	}
	r.flags &^= inHostCount
	key := hostKey{r.rule, r.inside}
	h := sh.hosts[key]
	if h.outside != r.outside {
		return
	}
	if h.mappings--; h.mappings <= 0 {
		delete(sh.hosts, key)
	} else {
		sh.hosts[key] = h
	}
}

// unindex keeps new sessions from a mapping.
func (m *Mappings) unindex(sh *shard, slot uint32) {
	r := &sh.slots[slot]
	if r.flags&isIndexed != 0 {
		delete(sh.inside, r.key())
		r.flags &^= isIndexed
	}
}

// allow counts a session to a remote address.
func (sh *shard) allow(slot uint32, remote packet.Addr) {
	r := &sh.slots[slot]
	key := permission{slot, remote}
	if r.count > 0 && r.allowed == remote {
		r.count++
		return
	}
	if r.others > 0 {
		if n := sh.allowed[key]; n > 0 {
			sh.allowed[key] = n + 1
			return
		}
	}
	if r.count == 0 {
		r.allowed, r.count = remote, 1
		return
	}
	sh.allowed[key] = 1
	r.others++
}

// disallow takes a session off, and reports whether there was one.
func (sh *shard) disallow(slot uint32, remote packet.Addr) bool {
	r := &sh.slots[slot]
	if r.count > 0 && r.allowed == remote {
		r.count--
		return true
	}
	if r.others == 0 {
		return false
	}
	key := permission{slot, remote}
	switch n := sh.allowed[key]; n {
	case 0:
		return false
	case 1:
		delete(sh.allowed, key)
		r.others--
	default:
		sh.allowed[key] = n - 1
	}
	return true
}

// sessionsTo is how many sessions to a remote address live.
func (sh *shard) sessionsTo(slot uint32, remote packet.Addr) uint32 {
	r := &sh.slots[slot]
	switch {
	case r.count > 0 && r.allowed == remote:
		return r.count
	case r.others > 0:
		return sh.allowed[permission{slot, remote}]
	}
	return 0
}
