package conntrack

import (
	"fmt"
	"syscall"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

func benchTable(b *testing.B, sessions int) (*Table, *rcu.Domain, *rcu.Reader) {
	d := rcu.NewDomain()
	r := d.Register()
	t := NewTable(Config{Max: maxSessions}, 1, d, nil)
	d.Enter(r)
	for i := range sessions {
		k := udpKey(i)
		if _, reason := t.Create(1000, &New{Original: k, Reply: k.Reverse()}, datagram(k)); reason != ReasonNone {
			b.Fatal(reason)
		}
	}
	return t, d, r
}

// processor reports, at the end, the time that the process had a processor for: what others do on the machine is not in it.
func processor(b *testing.B) (end func()) {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	b.ResetTimer()
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func sizes(b *testing.B, run func(b *testing.B, sessions int)) {
	for _, n := range []int{1, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, n) })
	}
}

func BenchmarkFind(b *testing.B) {
	sizes(b, func(b *testing.B, sessions int) {
		t, _, _ := benchTable(b, sessions)
		keys := make([]Key, min(sessions, 1<<20))
		for i := range keys {
			keys[i] = udpKey(i * 7919 % sessions)
		}
		defer processor(b)()
		j := 0
		for range b.N {
			if s, _ := t.Find(1000, &keys[j]); s == nil {
				b.Fatal("not found")
			}
			if j++; j == len(keys) {
				j = 0
			}
		}
	})
}

func BenchmarkFindNothing(b *testing.B) {
	sizes(b, func(b *testing.B, sessions int) {
		t, _, _ := benchTable(b, sessions)
		defer processor(b)()
		for i := range b.N {
			k := MakeKey(protocolTCP, packet.Addr(i), 1, server, 80)
			if s, _ := t.Find(1000, &k); s != nil {
				b.Fatal("found")
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	sizes(b, func(b *testing.B, sessions int) {
		t, _, _ := benchTable(b, sessions)
		all := make([]*Session, sessions)
		for i := range all {
			k := udpKey(i * 7919 % sessions)
			all[i], _ = t.Find(1000, &k)
		}
		p := datagram(udpKey(0))
		defer processor(b)()
		j := 0
		for i := range b.N {
			all[j].Update(t, 1000+Tick(i>>20), Original, p, false)
			if j++; j == len(all) {
				j = 0
			}
		}
	})
}

func BenchmarkUpdateTCP(b *testing.B) {
	t, _, _ := benchTable(b, 0)
	k := MakeKey(protocolTCP, client, 4000, server, 80)
	s, _ := t.Create(1000, &New{Original: k, Reply: k.Reverse()}, syn(k, 0))
	s.Update(t, 1000, Reply, segment(k.Reverse(), packet.TCPSyn|packet.TCPAck, 0, 1, 0), false)
	p := segment(k, packet.TCPAck, 1, 1, 1000)
	a := segment(k.Reverse(), packet.TCPAck, 1, 1, 0)
	defer processor(b)()
	for i := range b.N {
		if r := s.Update(t, 1000, Original, p, false); r != ReasonNone {
			b.Fatal(r)
		}
		p.Seq += 1000
		if i%10 == 0 {
			a.Ack = p.Seq
			s.Update(t, 1000, Reply, a, false)
		}
	}
	if s.State() != Established || s.word.Load()&strayed != 0 {
		b.Error("the windows are wrong")
	}
}

func BenchmarkFindUpdateRouteRewrite(b *testing.B) {
	t, _, _ := benchTable(b, 1)
	k := udpKey(0)
	p := datagram(k)
	s, _ := t.Find(1000, &k)
	s.SetRoute(Original, 7, 1, 9)
	defer processor(b)()
	for range b.N {
		s, d := t.Find(1000, &k)
		s.Update(t, 1000, d, p, false)
		if a, ok := s.Route(d, 7, 1); !ok || a != 9 {
			b.Fatal("no route")
		}
		if s.Rewrite(d).Changed {
			b.Fatal("changed")
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	sizes(b, func(b *testing.B, sessions int) {
		t, d, r := benchTable(b, sessions)
		defer processor(b)()
		for i := range b.N {
			k := udpKey(i)
			k.Protocol = 99
			n := New{Original: k, Reply: k.Reverse()}
			if i%64 == 0 {
				d.Exit(r)
				d.Enter(r)
			}
			if _, reason := t.Create(1000, &n, datagram(k)); reason != ReasonNone {
				b.Fatal(reason)
			}
			if t.Len() >= maxSessions-1 {
				b.StopTimer()
				t, d, r = benchTable(b, sessions)
				b.StartTimer()
			}
		}
	})
}
