package config

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestDerivedMACsAreStableAndTheirOwn(t *testing.T) {
	// A change of this value would make every neighbour of every router forget.
	if got := DefaultMAC("r1", "lan").String(); got != "02:e9:28:69:0a:fd" {
		t.Errorf("the MAC of r1's lan is now %s", got)
	}
	seen := map[string]bool{}
	for _, pair := range [][2]string{{"r1", "lan"}, {"r1", "wan"}, {"r2", "lan"}, {"r1l", "an"}, {"r", "1lan"}} {
		m := DefaultMAC(pair[0], pair[1])
		if m[0] != 2 || m.IsGroup() || seen[m.String()] {
			t.Errorf("%v: %s is not a unicast, local address of its own", pair, m)
		}
		seen[m.String()] = true
	}
}

func TestADerivedMACThatIsTakenMovesOn(t *testing.T) {
	taken := DefaultMAC("r1", "lan")
	c := mustParse(t, "name: r1\nports:\n  lan: {}\n  wan: {mac: \""+taken.String()+"\"}\n")
	if c.Ports[0].MAC == taken || c.Ports[1].MAC != taken {
		t.Errorf("%s and %s", c.Ports[0].MAC, c.Ports[1].MAC)
	}
}

func TestSuggestionsNameTheNearest(t *testing.T) {
	known := []string{"address", "mac", "mtu", "device"}
	for wrong, want := range map[string]string{
		"adress":  `did you mean "address"?`,
		"Address": `did you mean "address"?`,
		"mut":     `did you mean "mtu"?`,
		"devices": `did you mean "device"?`,
		"colour":  "known keys: address, device, mac, mtu",
		"":        "known keys: address, device, mac, mtu",
	} {
		if got := suggest(wrong, "known keys", known); got != want {
			t.Errorf("%q: %s, want %s", wrong, got, want)
		}
	}
	if got := suggest("x", "ports", nil); got != "there are no ports" {
		t.Errorf("got %q", got)
	}
	if got := editDistance("abcd", strings.Repeat("x", 100), 3); got != 4 {
		t.Errorf("beyond the limit is %d, want 4", got)
	}
}
