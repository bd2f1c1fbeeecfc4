package rib

import (
	"fmt"
	"strings"
	"testing"
)

// explain renders a lookup: the sentence, then one line a candidate.
func explain(l Lookup) string {
	var b strings.Builder
	b.WriteString(l.Why)
	for _, c := range l.Candidates {
		mark := map[bool]string{true: "*", false: "-"}[c.Selected]
		fmt.Fprintf(&b, "\n%s %v %v: %s", mark, c.Prefix, c.Protocol, c.Reason)
	}
	return b.String()
}

func TestLookupSaysWhyEachRouteWonOrLost(t *testing.T) {
	r := table(Options{})
	spare := static("10.2.0.0/16", "172.16.0.1")
	spare.Source = "spare"
	must(t, r,
		connected("10.9.0.0/24", core), static("0.0.0.0/0", "10.9.0.1"),
		static("10.2.0.0/16", "10.9.0.7"), spare, rip("10.2.0.0/16", "10.9.0.2", core, 3),
		rip("10.2.3.0/24", "10.0.0.9", lan, 2),
	)
	r.SetPort(lan, false)
	got := explain(r.Lookup(ip("10.2.3.4")))
	want := `10.2.0.0/16 is the longest prefix with an active route that covers 10.2.3.4; lower distance 1 beats 120 of rip
- 10.2.3.0/24 rip: the port lan is down
* 10.2.0.0/16 static: lower distance 1 beats 120 of rip
- 10.2.0.0/16 static: its next hop 172.16.0.1 does not resolve: only the default route leads to it
- 10.2.0.0/16 rip: distance 120 loses to 1 of static
- 0.0.0.0/0 static: the longer prefix 10.2.0.0/16 wins`
	if got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}

func TestLookupSaysWhichMetricWon(t *testing.T) {
	r := table(Options{})
	must(t, r, rip("10.2.0.0/16", "10.9.0.2", core, 3), rip("10.2.0.0/16", "10.0.0.2", lan, 4), rip("10.2.0.0/16", "10.9.0.3", core, 3))
	got := explain(r.Lookup(ip("10.2.3.4")))
	want := `10.2.0.0/16 is the longest prefix that covers 10.2.3.4; 2 equal routes share the traffic and lower metric 3 beats 4 of rip from 10.0.0.2
* 10.2.0.0/16 rip: 2 equal routes share the traffic and lower metric 3 beats 4 of rip from 10.0.0.2
* 10.2.0.0/16 rip: 2 equal routes share the traffic and lower metric 3 beats 4 of rip from 10.0.0.2
- 10.2.0.0/16 rip: metric 4 loses to 3 of rip from 10.9.0.2`
	if got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}

func TestLookupOfAnUncoveredAddressSaysSo(t *testing.T) {
	r := table(Options{})
	if l := r.Lookup(ip("10.2.3.4")); l.Type != None || l.Why != "no route covers 10.2.3.4" {
		t.Errorf("it says %v %q", l.Type, l.Why)
	}
	must(t, r, connected("10.2.0.0/16", lan))
	r.SetPort(lan, false)
	if l := r.Lookup(ip("10.2.3.4")); l.Type != None || l.Why != "no active route covers 10.2.3.4; the port lan is down" {
		t.Errorf("it says %v %q", l.Type, l.Why)
	}
}

func TestAllIsInAddressOrderWithInactiveRoutes(t *testing.T) {
	r := table(Options{})
	must(t, r, static("10.3.0.0/16", "172.16.0.1"), connected("10.9.0.0/24", core), connected("9.0.0.0/8", lan), static("9.0.0.0/16", "9.0.0.9"))
	var got []string
	for _, v := range r.All() {
		got = append(got, fmt.Sprintf("%v %v", v.Prefix, v.Active))
	}
	if want := "9.0.0.0/8 true, 9.0.0.0/16 true, 10.3.0.0/16 false, 10.9.0.0/24 true"; strings.Join(got, ", ") != want {
		t.Errorf("All gives %v, want %s", got, want)
	}
}
