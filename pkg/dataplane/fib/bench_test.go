package fib

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gaissmai/bart"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// batchSize is how many lookups share a read section, as in the dataplane.
const batchSize = 64

func load(b *testing.B, routes []Change) (*Table, *rcu.Domain) {
	b.Helper()
	d := rcu.NewDomain()
	table := New(d)
	if err := table.Apply(routes); err != nil {
		b.Fatal(err)
	}
	return table, d
}

// sink keeps the compiler from dropping a lookup whose result nobody uses.
var sink atomic.Uint32

func benchFIB(b *testing.B, table *Table, d *rcu.Domain, addrs []packet.Addr) {
	r := d.Register()
	defer d.Unregister(r)
	var sum Value
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batchSize {
		d.Enter(r)
		at := i & (addrCount - 1)
		for _, a := range addrs[at : at+batchSize] {
			sum += table.Lookup(a)
		}
		d.Exit(r)
	}
	sink.Add(uint32(sum))
}

// benchFIBBare leaves the read sections out: the loop that the other tables get.
func benchFIBBare(b *testing.B, table *Table, addrs []packet.Addr) {
	var sum Value
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		sum += table.Lookup(addrs[i&(addrCount-1)])
	}
	sink.Add(uint32(sum))
}

// benchFIBChained feeds each result into the next address, so that lookups
// cannot overlap: the latency of one.
func benchFIBChained(b *testing.B, table *Table, addrs []packet.Addr) {
	var v Value
	for i := range b.N {
		v = table.Lookup(addrs[(i+int(v&1))&(addrCount-1)])
	}
	sink.Add(uint32(v))
}

type lookuper interface {
	*bart.Table[Value] | *bart.Fast[Value]
	Lookup(netip.Addr) (Value, bool)
	Insert(netip.Prefix, Value)
	Delete(netip.Prefix)
}

// benchBart converts the address inside the loop, as a dataplane with netip
// tables would, which is a nanosecond or two.
func benchBart[T lookuper](b *testing.B, table T, addrs []packet.Addr) {
	var sum Value
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		v, _ := table.Lookup(addrs[i&(addrCount-1)].Netip())
		sum += v
	}
	sink.Add(uint32(sum))
}

func fillBart[T lookuper](table T, routes []Change) T {
	for _, c := range routes {
		table.Insert(c.netip(), c.Value)
	}
	return table
}

// fewHops replaces each value by one of 64, as if the table had 64 next hops.
func fewHops(routes []Change) []Change {
	list := append([]Change(nil), routes...)
	for i := range list {
		list[i].Value = list[i].Value*2654435761>>8%64 + 1
	}
	return list
}

func BenchmarkLookup(b *testing.B) {
	routes := fullTable(b)
	random, zipf := randomAddrs(routes), zipfAddrs(routes)
	table, d := load(b, routes)
	bartTable := sync.OnceValue(func() *bart.Table[Value] { return fillBart(new(bart.Table[Value]), routes) })
	bartFast := sync.OnceValue(func() *bart.Fast[Value] { return fillBart(new(bart.Fast[Value]), routes) })
	for _, set := range []struct {
		name  string
		addrs []packet.Addr
	}{{"random", random}, {"zipf", zipf}} {
		b.Run(set.name+"/fib", func(b *testing.B) { benchFIBBare(b, table, set.addrs) })
		b.Run(set.name+"/fib-in-sections", func(b *testing.B) { benchFIB(b, table, d, set.addrs) })
		b.Run(set.name+"/fib-chained", func(b *testing.B) { benchFIBChained(b, table, set.addrs) })
		b.Run(set.name+"/bart.Table", func(b *testing.B) { benchBart(b, bartTable(), set.addrs) })
		b.Run(set.name+"/bart.Fast", func(b *testing.B) { benchBart(b, bartFast(), set.addrs) })
	}
}

// BenchmarkLookupUnderChurn looks up while a writer on another processor deletes
// and inserts routes as fast as it can, 64 a batch.
func BenchmarkLookupUnderChurn(b *testing.B) {
	routes := fullTable(b)
	table, d := load(b, routes)
	addrs := randomAddrs(routes)
	b.Run("fib", func(b *testing.B) {
		stop, done := make(chan struct{}), make(chan int)
		go func() {
			n := 0
			defer func() { done <- n }()
			for {
				batch := append([]Change(nil), routes[n%(len(routes)-batchSize):][:batchSize]...)
				again := append([]Change(nil), batch...)
				for i := range batch {
					batch[i].Value = 0
				}
				for _, changes := range [][]Change{batch, again} {
					if table.Apply(changes) != nil {
						panic("refused")
					}
				}
				n += 2 * batchSize
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		benchFIB(b, table, d, addrs)
		b.StopTimer()
		close(stop)
		b.ReportMetric(float64(<-done)/b.Elapsed().Seconds(), "changes/s")
	})
}

func BenchmarkLookupLab(b *testing.B) {
	routes := labRoutes()
	table, d := load(b, routes)
	addrs := randomAddrs(routes)
	bartTable := fillBart(new(bart.Table[Value]), routes)
	bartFast := fillBart(new(bart.Fast[Value]), routes)
	b.Run("fib", func(b *testing.B) {
		benchFIB(b, table, d, addrs)
		b.ReportMetric(float64(table.Bytes()), "B-readers")
	})
	b.Run("bart.Table", func(b *testing.B) { benchBart(b, bartTable, addrs) })
	b.Run("bart.Fast", func(b *testing.B) { benchBart(b, bartFast, addrs) })
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkLoad(b *testing.B) {
	routes := fullTable(b)
	hops := fewHops(routes)
	ours := func(routes []Change, batch int) func(*testing.B) {
		return func(b *testing.B) {
			var table *Table
			before := heap()
			b.ResetTimer()
			for range b.N {
				table = newTable()
				for at := 0; at < len(routes); at += batch {
					if err := table.Apply(routes[at:min(at+batch, len(routes))]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(table.Bytes())/1e6, "MB-readers")
			b.ReportMetric(float64(table.ControlBytes())/1e6, "MB-writer")
			b.ReportMetric(float64(heap()-before)/1e6, "MB-heap")
			runtime.KeepAlive(table)
		}
	}
	b.Run("fib/one-batch", ours(routes, len(routes)))
	b.Run("fib/one-batch-64-hops", ours(hops, len(routes)))
	b.Run("fib/batches-of-1000", ours(routes, 1000))
	b.Run("bart.Table", func(b *testing.B) {
		benchLoadBart(b, func() *bart.Table[Value] { return new(bart.Table[Value]) }, routes)
	})
	b.Run("bart.Fast", func(b *testing.B) {
		benchLoadBart(b, func() *bart.Fast[Value] { return new(bart.Fast[Value]) }, routes)
	})
}

func benchLoadBart[T lookuper](b *testing.B, empty func() T, routes []Change) {
	var table T
	before := heap()
	b.ResetTimer()
	for range b.N {
		table = fillBart(empty(), routes)
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/1e6, "MB-heap")
	runtime.KeepAlive(table)
}

// BenchmarkUpdate counts changes: a route deleted and later inserted again are
// two.
func BenchmarkUpdate(b *testing.B) {
	routes := fullTable(b)
	table, _ := load(b, routes)
	churn := func(b *testing.B, batch int, routes []Change) {
		off := append([]Change(nil), routes...)
		for i := range off {
			off[i].Value = 0
		}
		b.ReportAllocs()
		b.ResetTimer()
		for n, at := 0, 0; n < b.N; n += 2 * batch {
			if at+batch > len(routes) {
				at = 0
			}
			if table.Apply(off[at:at+batch]) != nil || table.Apply(routes[at:at+batch]) != nil {
				b.Fatal("refused")
			}
			at += batch
		}
	}
	ofLength := func(lo, hi int) []Change {
		var list []Change
		for _, c := range routes {
			if c.Bits >= lo && c.Bits <= hi {
				list = append(list, c)
			}
		}
		return list
	}
	b.Run("fib/single", func(b *testing.B) { churn(b, 1, routes) })
	b.Run("fib/batch-100", func(b *testing.B) { churn(b, 100, routes) })
	b.Run("fib/batch-10000", func(b *testing.B) { churn(b, 10000, routes) })
	b.Run("fib/default", func(b *testing.B) { churn(b, 1, []Change{{0, 0, 1}}) })
	b.Run("fib/length-8", func(b *testing.B) { churn(b, 1, ofLength(8, 8)) })
	b.Run("fib/length-9", func(b *testing.B) { churn(b, 1, ofLength(9, 9)) })
	b.Run("fib/length-17", func(b *testing.B) { churn(b, 1, ofLength(17, 17)) })
	b.Run("fib/length-25-32", func(b *testing.B) { churn(b, 1, ofLength(25, 32)) })
	bartTable := fillBart(new(bart.Table[Value]), routes)
	b.Run("bart.Table/in-place", func(b *testing.B) {
		for i := range b.N / 2 {
			c := routes[i%len(routes)]
			bartTable.Delete(c.netip())
			bartTable.Insert(c.netip(), c.Value)
		}
	})
	// What bart offers beside lock-free readers: a path copied per change.
	b.Run("bart.Table/persistent", func(b *testing.B) {
		for i := range b.N / 2 {
			c := routes[i%len(routes)]
			bartTable = bartTable.DeletePersist(c.netip())
			bartTable = bartTable.InsertPersist(c.netip(), c.Value)
		}
	})
}
