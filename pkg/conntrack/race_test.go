package conntrack

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// TestWorkersAtOnce has workers open, find, use, route and remove sessions of a small set of keys, while others expire,
// page, flush and configure. In the end every session that was made has been told of once, and nothing is left over.
func TestWorkersAtOnce(t *testing.T) {
	const (
		workers = 4
		rounds  = 4000
		keys    = 300
	)
	var clock atomic.Uint32
	clock.Store(1000)
	var ended atomic.Int64
	d := rcu.NewDomain()
	config := Config{Max: 250, MaxPerHost: 120, Timeouts: Timeouts{UDPUnreplied: 40, UDP: 60, TCPTransitory: 30, TCPEstablished: 80, TCPReset: 10}}
	table := NewTable(config, 7, d, func(now Tick, s *Session) {
		if s.Key(Original).Protocol == 0 {
			t.Error("told of an empty session")
		}
		ended.Add(1)
	})
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			r := d.Register()
			defer d.Unregister(r)
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range rounds {
				d.Enter(r)
				for range 8 {
					use(t, table, Tick(clock.Load()), random, keys)
				}
				d.Exit(r)
			}
		})
	}
	var done atomic.Bool
	var aside sync.WaitGroup
	aside.Go(func() {
		for !done.Load() {
			table.Expire(Tick(clock.Add(1)), 10)
		}
	})
	aside.Go(func() {
		r := d.Register()
		defer d.Unregister(r)
		for i := 0; !done.Load(); i++ {
			seen := map[Key]bool{}
			for cursor := uint64(0); ; {
				var page []Info
				page, cursor = table.Page(r, Tick(clock.Load()), Filter{}, cursor, 50)
				for _, info := range page {
					seen[info.Original] = true
				}
				if cursor == 0 {
					break
				}
			}
			if i%20 == 0 {
				table.Flush(r, Tick(clock.Load()), Filter{Port: uint16(i % keys)})
				c := config
				c.Timeouts.UDP = Tick(20 + i%50)
				table.Configure(c)
			}
			table.Counts()
			table.Bytes()
		}
	})
	wg.Wait()
	done.Store(true)
	aside.Wait()
	for now := Tick(clock.Load()) + 1000; table.Len() > 0; now += 8 {
		table.Expire(now, 100)
	}
	c := table.Counts()
	if c.Created != c.Expired+c.Removed+c.Displaced || int64(c.Created) != ended.Load() || c.HalfOpen != 0 || len(c.ByProtocol) != 0 {
		t.Errorf("counts %+v, told of %d", c, ended.Load())
	}
	for i := range table.shards {
		if n := table.shards[i].live; n != 0 {
			t.Errorf("shard %d holds %d references", i, n)
		}
		for _, ref := range *table.shards[i].array.Load() {
			if ref != 0 {
				t.Errorf("shard %d holds the reference %x", i, ref)
			}
		}
	}
	for a := range 4 {
		if n := table.HostSessions(client + packet.Addr(a)); n != 0 {
			t.Errorf("a host has %d sessions", n)
		}
	}
}

// use does one thing to one session.
func use(t *testing.T, table *Table, now Tick, random *rand.Rand, keys int) {
	i := random.IntN(keys)
	protocol := uint8(protocolUDP)
	if i%3 == 0 {
		protocol = protocolTCP
	}
	inside := client + packet.Addr(i%4)
	k := MakeKey(protocol, inside, uint16(i+1), server, 80)
	reply := MakeKey(protocol, server, 80, public, uint16(i+1))
	s, d := table.Find(now, &k)
	if s == nil {
		p := datagram(k)
		if protocol == protocolTCP {
			p = syn(k, random.Uint32())
		}
		n := New{Original: k, Reply: reply, Flags: SourceTranslated | Flags(random.IntN(2))*FromOutside, Inside: inside}
		var r Reason
		if s, r = table.Create(now, &n, p); r != ReasonNone {
			return
		}
	}
	if d != Original || s.Key(Original) != k || s.Key(Reply) != reply || !s.Rewrite(Reply).Changed {
		t.Errorf("found another session: %+v", s.Key(Original))
	}
	generation := uint32(random.IntN(3))
	in := uint16(random.IntN(3))
	switch random.IntN(8) {
	case 0:
		table.Remove(now, s)
	case 1:
		s.SetRoute(Direction(random.IntN(2)), generation, in, generation<<16|uint32(in))
	case 2, 3:
		if a, ok := s.Route(Direction(random.IntN(2)), generation, in); ok && a != generation<<16|uint32(in) {
			t.Errorf("a torn route: %x for generation %d and port %d", a, generation, in)
		}
	default:
		d := Direction(random.IntN(2))
		p := datagram(s.Key(d))
		if protocol == protocolTCP {
			p = segment(s.Key(d), []uint8{2, 18, 16, 17, 4}[random.IntN(5)], random.Uint32(), random.Uint32(), random.IntN(1000))
		}
		s.Update(table, now, d, p, false)
		s.State()
	}
}

// TestReadersNeverMissWhatIsThere: sessions come and go in one shard of the index, so that its references move all the time, and those that
// stay are found by every look.
func TestReadersNeverMissWhatIsThere(t *testing.T) {
	d := rcu.NewDomain()
	table := NewTable(Config{}, 1, d, nil)
	var same []Key
	for i := 0; len(same) < 300; i++ {
		k := udpKey(i)
		if table.shardOf(table.hashKey(&k)) == &table.shards[0] {
			same = append(same, k)
		}
	}
	writer := d.Register()
	create := func(k Key) *Session {
		n := New{Original: k, Reply: k}
		s, r := table.Create(1000, &n, datagram(k))
		if r != ReasonNone {
			t.Error(r)
		}
		return s
	}
	d.Enter(writer)
	for i := 0; i < len(same); i += 2 {
		create(same[i])
	}
	d.Exit(writer)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		reader := d.Register()
		defer done.Store(true)
		for round := range 3000 {
			d.Enter(reader)
			for i := 0; i < len(same); i += 2 {
				if s, _ := table.Find(1000, &same[i]); s == nil || s.Key(Original) != same[i] {
					t.Errorf("round %d: session %d was missed", round, i)
				}
			}
			d.Exit(reader)
			if t.Failed() {
				return
			}
		}
	})
	random := rand.New(rand.NewPCG(1, 1))
	present := map[int]*Session{}
	for !done.Load() {
		d.Enter(writer)
		for range 100 {
			i := random.IntN(len(same)/2)*2 + 1
			if s := present[i]; s != nil {
				table.Remove(1000, s)
				delete(present, i)
			} else {
				present[i] = create(same[i])
			}
		}
		d.Exit(writer)
	}
	wg.Wait()
}

// TestReaderThatFindsNothingAmidAMoveLooksAgain holds a removal in the middle of its move, where a reference is at neither place that a
// reader looks at: the reader must not come back without the session.
func TestReaderThatFindsNothingAmidAMoveLooksAgain(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.openUDP(1)
	k := udpKey(1)
	h := w.table.hashKey(&k)
	sh := w.table.shardOf(h)
	array := *sh.array.Load()
	at := home(h, len(array))
	ref := array[at]
	sh.sequence.Add(1)
	atomic.StoreUint32(&array[at], 0)
	started, found := make(chan bool), make(chan *Session, 1)
	go func() {
		close(started)
		s, _ := w.table.Find(w.now, &k)
		found <- s
	}()
	<-started
	for range 10000 {
		runtime.Gosched()
	}
	atomic.StoreUint32(&array[at], ref)
	sh.sequence.Add(1)
	if got := <-found; got != s {
		t.Error("it was missed")
	}
}
