package fib

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vrouterd/internal/packet"
)

// fullTableModule is the module whose test data has an Internet routing table.
// It is not a dependency: the go command fetches it when a benchmark asks.
const fullTableModule = "github.com/gaissmai/bart@v0.20.0"

// fullTable reads the 901,899 IPv4 prefixes of a real routing table, with a
// value of its own for each, which is the hardest case: neighbouring routes with
// the same value would share an entry.
func fullTable(tb testing.TB) []Change {
	tb.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", fullTableModule).Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); err != nil || jsonErr != nil || module.Dir == "" {
		tb.Fatalf("the full table is unavailable: `go mod download -json %s` says %q (%v); it needs a module proxy or a filled module cache",
			fullTableModule, module.Error, err)
	}
	f, err := os.Open(filepath.Join(module.Dir, "testdata", "prefixes.txt.gz"))
	if err != nil {
		tb.Fatalf("the full table is unavailable: %v", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var list []Change
	for lines := bufio.NewScanner(z); lines.Scan(); {
		p, err := netip.ParsePrefix(lines.Text())
		if err != nil {
			tb.Fatal(err)
		}
		if p.Addr().Is4() {
			list = append(list, Change{packet.AddrFrom(p.Masked().Addr()), p.Bits(), Value(len(list) + 1)})
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (c Change) netip() netip.Prefix { return netip.PrefixFrom(c.Addr.Netip(), c.Bits) }

const addrCount = 1 << 20

// randomAddrs draws addresses uniformly under prefixes drawn uniformly.
func randomAddrs(routes []Change) []packet.Addr {
	r := rand.New(rand.NewPCG(2, 2))
	list := make([]packet.Addr, addrCount)
	for i := range list {
		c := routes[r.IntN(len(routes))]
		list[i] = c.Addr | packet.Addr(r.Uint32())&^packet.Mask(c.Bits)
	}
	return list
}

// zipfAddrs draws the prefixes by a Zipf distribution instead: few of them take
// most of the traffic, as on a real link.
func zipfAddrs(routes []Change) []packet.Addr {
	r := rand.New(rand.NewPCG(3, 3))
	z := rand.NewZipf(r, 1.1, 1, uint64(len(routes)-1))
	list := make([]packet.Addr, addrCount)
	for i := range list {
		c := routes[z.Uint64()]
		list[i] = c.Addr | packet.Addr(r.Uint32())&^packet.Mask(c.Bits)
	}
	return list
}

// labRoutes is the table of a laboratory router: a default route, connected
// networks, host routes and RIP routes out of the private ranges.
func labRoutes() []Change {
	list := []Change{{0, 0, 1}}
	for i := range 33 {
		v := Value(i%7 + 1)
		list = append(list,
			Change{packet.Addr(10<<24 | i<<16), 16, v},
			Change{packet.Addr(192<<24 | 168<<16 | i<<8), 24, v},
			Change{packet.Addr(172<<24 | 16<<16 | i<<8 | i), 32, v})
	}
	return list
}

// scatteredRoutes is the worst table of n routes for memory: no two in one
// region, and all of them deep.
func scatteredRoutes(n int) []Change {
	var list []Change
	for i := range n {
		list = append(list, Change{packet.Addr(i<<24 | i<<16 | i<<8 | i), 32, Value(i + 1)})
	}
	return list
}
