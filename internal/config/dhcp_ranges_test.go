package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestDHCPRangesAreAsASlowTwinSays holds overlaps of ranges, and what is left of those that do not overlap, against
// sets of single addresses.
func TestDHCPRangesAreAsASlowTwinSays(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, byte(i)}) }
	right := 0
	const rounds = 200
	for range rounds {
		var texts []string
		given := make(map[netip.Addr]bool)
		twice := false
		for range 1 + random.IntN(5) {
			first := random.IntN(40)
			last := first + random.IntN(6)
			texts = append(texts, address(first).String()+"-"+address(last).String())
			for i := first; i <= last; i++ {
				twice = twice || given[address(i)]
				given[address(i)] = true
			}
		}
		own, host := address(1+random.IntN(30)), address(40+random.IntN(5))
		source := fmt.Sprintf("ports: {lan: {address: %s/24, host: {address: %s/24}}}\ndhcp: {lan: {range: [%s], reservations: [{mac: '02:00:00:00:00:01', address: 192.168.1.250}]}}\n", own, host, strings.Join(texts, ", "))
		c, err := Parse("r1.yaml", []byte(source))
		delete(given, address(0))
		delete(given, own)
		delete(given, host)
		switch {
		case err != nil:
			if !twice && !strings.Contains(err.Error(), "nothing of it") || len(given) > 0 && !twice {
				t.Fatalf("%s\n%v", source, err)
			}
			continue
		case twice || len(given) == 0:
			t.Fatalf("%s\nit is accepted", source)
		}
		right++
		var want, got []netip.Addr
		for a := range given {
			want = append(want, a)
		}
		slices.SortFunc(want, netip.Addr.Compare)
		for _, r := range c.DHCP.Subnets[0].Ranges {
			for a := r.First; !r.Last.Less(a); a = a.Next() {
				got = append(got, a)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s\n got %v\nwant %v", source, got, want)
		}
	}
	if right < rounds/10 || right > rounds*9/10 {
		t.Errorf("%d of %d were right: the test tests one side only", right, rounds)
	}
}

// TestManyReservationsAreRead reads as many as are allowed, with options each.
func TestManyReservationsAreRead(t *testing.T) {
	var b strings.Builder
	b.WriteString("ports: {lan: {address: 10.0.0.1/8}}\ndhcp:\n  lan:\n    range: 10.1.0.0/16\n    reservations:\n")
	for i := range maxRules {
		fmt.Fprintf(&b, "      - {mac: \"02:00:00:00:%02x:%02x\", address: 10.1.%d.%d, name: host-%d, options: {66: boot-%d, 42: 10.0.0.1, 224: 01:02:03, 225: [1, %d]}}\n", i>>8, i&255, i>>8, i&255, i, i, i)
	}
	c := mustParse(t, b.String())
	if n := len(c.DHCP.Subnets[0].Reservations); n != maxRules {
		t.Errorf("got %d", n)
	}
	more := b.String() + "      - {mac: \"02:00:00:01:00:00\", address: 10.2.0.0}\n"
	if _, err := Parse("r1.yaml", []byte(more)); err == nil || !strings.Contains(err.Error(), "reservations: the list has 10001 entries: at most 10000 are allowed") {
		t.Errorf("got %v", err)
	}
}
