package config

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestForwardsOverlapAsASlowTwinSays compares the sweep with a comparison of every pair.
func TestForwardsOverlapAsASlowTwinSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	type forward struct {
		in, protocol, address string
		first, last           int
	}
	shares := func(a, b string) bool { return a == b || a == "tcp_udp" || b == "tcp_udp" }
	refused := 0
	for round := range 300 {
		var all []forward
		var text strings.Builder
		for range 1 + random.IntN(6) {
			f := forward{[]string{"lan", "wan"}[random.IntN(2)], []string{"tcp", "udp", "tcp_udp"}[random.IntN(3)], []string{"", "83.215.152.95", "83.215.152.96"}[random.IntN(3)], 1 + random.IntN(60), 0}
			f.last = f.first + random.IntN(12)
			all = append(all, f)
			fmt.Fprintf(&text, "  - {in: %s, protocol: %s, port: %d-%d, to: 10.0.0.2", f.in, f.protocol, f.first, f.last)
			if f.address != "" {
				text.WriteString(", address: " + f.address)
			}
			text.WriteString("}\n")
		}
		overlap := false
		for i, a := range all {
			for _, b := range all[:i] {
				overlap = overlap || a.in == b.in && shares(a.protocol, b.protocol) && (a.address == "" || b.address == "" || a.address == b.address) && a.first <= b.last && b.first <= a.last
			}
		}
		_, err := Parse("r1.yaml", []byte(home("forwards:\n"+text.String())))
		if (err != nil) != overlap {
			t.Fatalf("round %d: overlap %v, Parse says %v\n%s", round, overlap, err, text.String())
		}
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "is already forwarded by line") {
				t.Fatalf("got %v", err)
			}
		}
	}
	if refused == 0 || refused == 300 {
		t.Errorf("%d of 300 were refused: the test tests one side only", refused)
	}
}

// TestPoolsOverlapAsASlowTwinSays compares the sweep over pools with a comparison of every pair.
func TestPoolsOverlapAsASlowTwinSays(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	type rule struct {
		kind   string
		ranges [][2]int
	}
	same := func(a, b rule) bool {
		return a.kind == "snat" && b.kind == "snat" && fmt.Sprint(a.ranges) == fmt.Sprint(b.ranges)
	}
	refused := 0
	for round := range 300 {
		var all []rule
		var text strings.Builder
		for i := range 1 + random.IntN(4) {
			r := rule{kind: []string{"snat", "snat", "cgnat", "one_to_one"}[random.IntN(4)]}
			if r.kind == "one_to_one" {
				a := random.IntN(200)
				r.ranges = [][2]int{{a, a}}
				fmt.Fprintf(&text, "  - {out: wan, type: one_to_one, inside: 10.0.0.%d, outside: 198.51.100.%d}\n", 10+i, a)
				all = append(all, r)
				continue
			}
			if len(all) > 0 && random.IntN(3) == 0 && all[0].kind == "snat" {
				r.kind, r.ranges = "snat", all[0].ranges
			} else {
				for range 1 + random.IntN(2) {
					a := random.IntN(200)
					r.ranges = append(r.ranges, [2]int{a, a + random.IntN(30)})
				}
			}
			var to []string
			for _, span := range r.ranges {
				to = append(to, fmt.Sprintf("198.51.100.%d-198.51.100.%d", span[0], span[1]))
			}
			fmt.Fprintf(&text, "  - {out: wan, type: %s, source: 10.%d.0.0/16, to: [%s]}\n", r.kind, i+1, strings.Join(to, ", "))
			all = append(all, r)
		}
		clash := false
		meets := func(a, b [2]int) bool { return a[0] <= b[1] && b[0] <= a[1] }
		for i, a := range all {
			for x, p := range a.ranges {
				for _, q := range a.ranges[:x] {
					clash = clash || meets(p, q)
				}
				for _, b := range all[:i] {
					for _, q := range b.ranges {
						clash = clash || meets(p, q) && !same(a, b)
					}
				}
			}
		}
		_, err := Parse("r1.yaml", []byte(home("nat:\n"+text.String())))
		if (err != nil) != clash {
			t.Fatalf("round %d: clash %v, Parse says %v\n%s", round, clash, err, text.String())
		}
		if err != nil {
			refused++
		}
	}
	if refused == 0 || refused == 300 {
		t.Errorf("%d of 300 were refused: the test tests one side only", refused)
	}
}

// TestValuesAreWrittenAsTheyAreRead reads what the texts of changes say.
func TestValuesAreWrittenAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"10/s", "5/m burst 20", "over 100/s", "over 1/h burst 10000000 per source", "7/s per source"} {
		d := &decoder{}
		if r, ok := rate().read(d, "rate", scalar(text)); !ok || r.String() != text {
			t.Errorf("%q is written %q (%v)", text, r, d.errors)
		}
	}
	for _, text := range []string{"syn", "syn,!ack", "fin,syn,rst,psh,ack,urg,ece,cwr", "!fin,rst"} {
		if f, ok := flags().read(&decoder{}, "flags", scalar(text)); !ok || flagsText(f.flags, f.mask) != text {
			t.Errorf("%q is written %q", text, flagsText(f.flags, f.mask))
		}
	}
	for word, number := range map[string]int{"ef": 46, "le": 1, "cs0": 0, "cs6": 48, "af11": 10, "af21": 18, "af43": 38} {
		if got, ok := wordOrNumber(codePoints(), 63).read(&decoder{}, "dscp", scalar(word)); !ok || got != number || numberText(codePoints(), got) != word {
			t.Errorf("dscp %s is %d, written %q; want %d", word, got, numberText(codePoints(), got), number)
		}
	}
	for _, named := range protocols() {
		if p, ok := protocol().read(&decoder{}, "protocol", scalar(named.name)); !ok || int(p) != named.number || protocolText(p) != named.name {
			t.Errorf("protocol %s is %d, written %q", named.name, p, protocolText(p))
		}
	}
	for to, want := range map[string]int{"10.0.0.1": 1, "10.0.0.1-10.0.0.10": 10, "10.0.0.0/30": 4, "0.0.0.0/0": 1 << 32, "255.255.255.255": 1} {
		if r, ok := addressSpan().read(&decoder{}, "to", scalar(to)); !ok || r.size() != want {
			t.Errorf("%s has %d addresses, want %d", to, r.size(), want)
		}
	}
}
