package firewall

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// hostShards is how many parts a table of hosts has, each under its own lock. A power of two.
const hostShards = 16

// hostTable holds a number for each of a bounded number of hosts.
type hostTable struct {
	seed     uint64
	perShard int
	shards   [hostShards]hostShard
}

type hostShard struct {
	sync.Mutex
	value map[packet.Addr]int64 // nil as long as nobody was put in
	swept conntrack.Tick        // when it was last searched for what may go
	_     [40]byte              // shards share no cache line
}

func newHostTable(most int) *hostTable {
	return &hostTable{seed: rand.Uint64(), perShard: max(1, most/hostShards)}
}

// put sets a host's number in a locked shard.
func (s *hostShard) put(a packet.Addr, v int64) {
	if s.value == nil {
		s.value = map[packet.Addr]int64{}
	}
	s.value[a] = v
}

// scatter is a hash that nobody outside can foresee without the seed.
func scatter(seed uint64, a packet.Addr) uint64 {
	x := (uint64(a) ^ seed) * 0x9e3779b97f4a7c15
	x = (x ^ x>>32) * (seed | 1)
	return x ^ x>>29
}

func (t *hostTable) shard(a packet.Addr) *hostShard {
	return &t.shards[scatter(t.seed, a)%hostShards]
}

// room makes room for one more host in a locked shard, by forgetting those whose number is idle, and reports whether there is
// any. It searches at most once a tick, so that a flood pays for its sweeps by the tenth of a second, not by the packet.
func (t *hostTable) room(s *hostShard, now conntrack.Tick, idle func(int64) bool) bool {
	if len(s.value) < t.perShard {
		return true
	}
	if s.swept == now {
		return false
	}
	s.swept = now
	for a, v := range s.value {
		if idle(v) {
			delete(s.value, a)
		}
	}
	return len(s.value) < t.perShard
}

// Hosts that a rule with a limit for each source counts at a time. Each has a session, so the table of sessions is the narrower bound as a
// rule; a source beyond is taken to have used its limit up, and counted.
const maxCapHosts = 1 << 20

// quota counts the sessions that each source has by a rule.
type quota struct {
	hosts   *hostTable
	crowded atomic.Uint64 // packets of sources that found no room
}

func newQuota() *quota { return &quota{hosts: newHostTable(maxCapHosts)} }

// acquire counts a session of a source, if it has fewer than limit.
func (q *quota) acquire(source packet.Addr, limit int) bool {
	s := q.hosts.shard(source)
	s.Lock()
	defer s.Unlock()
	n, known := s.value[source]
	if n >= int64(limit) {
		return false
	}
	if !known && len(s.value) >= q.hosts.perShard {
		q.crowded.Add(1)
		return false
	}
	s.put(source, n+1)
	return true
}

// release gives one back; of a source that has none, nothing.
func (q *quota) release(source packet.Addr) {
	s := q.hosts.shard(source)
	s.Lock()
	defer s.Unlock()
	switch n, known := s.value[source]; {
	case !known:
	case n <= 1:
		delete(s.value, source)
	default:
		s.put(source, n-1)
	}
}

// empty reports whether no source has a session.
func (q *quota) empty() bool {
	for i := range q.hosts.shards {
		s := &q.hosts.shards[i]
		s.Lock()
		n := len(s.value)
		s.Unlock()
		if n > 0 {
			return false
		}
	}
	return true
}
