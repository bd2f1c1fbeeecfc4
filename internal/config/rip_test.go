package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// ripOn is a router with three ports and a section.
func ripOn(section string) string {
	return `name: r1
ports:
  core: {address: 10.0.0.1/29}
  lan: {address: [10.1.0.1/24, 10.1.1.1/24]}
  link: {kind: tun, address: 10.9.0.1/32}
routes: [{to: default, via: 10.0.0.2}]
` + section
}

func TestWithoutTheSectionNoRIPIsSpoken(t *testing.T) {
	if c := mustParse(t, ripOn("")); c.RIP != nil {
		t.Errorf("got %+v", c.RIP)
	}
	if c := mustParse(t, ripOn("rip:\n")); c.RIP != nil {
		t.Errorf("a section with nothing behind it: got %+v", c.RIP)
	}
}

func TestRIPDefaultsAreFilledIn(t *testing.T) {
	c := mustParse(t, ripOn("rip:\n  ports:\n    core:\n"))
	timers := RIPTimers{30 * time.Second, 3 * time.Minute, 2 * time.Minute, time.Second, 5 * time.Second}
	want := &RIP{
		Send: RIPSendV2, Receive: RIPReceiveV2, Timers: timers, Keys: []RIPKeyChain{}, PrefixLists: []PrefixList{},
		Ports:        []RIPPort{{Name: "core", Send: RIPSendV2, Receive: RIPReceiveV2, Cost: 1, SplitHorizon: SplitHorizonPoisoned, Timers: timers, Pos: Pos{9, 5}}},
		DefaultRoute: RIPDefaultRoute{Metric: 1}, Distance: 120, MaxPaths: 16, MaxRoutes: 65536, Pos: Pos{8, 3},
	}
	if !reflect.DeepEqual(c.RIP, want) {
		t.Errorf("\n got %+v\nwant %+v", c.RIP, want)
	}
}

func TestShortTimersShortenTheOthers(t *testing.T) {
	c := mustParse(t, ripOn("rip: {timers: {update: 3s}, ports: {core: {timers: {update: 1s}}, lan: {timers: {timeout: 30s}}}}\n"))
	if want := (RIPTimers{3 * time.Second, 18 * time.Second, 12 * time.Second, 100 * time.Millisecond, 500 * time.Millisecond}); c.RIP.Timers != want {
		t.Errorf("got %+v, want %+v", c.RIP.Timers, want)
	}
	if core := c.RIP.Ports[0].Timers; core.Update != time.Second || core.Timeout != 6*time.Second || core.Garbage != 12*time.Second {
		t.Errorf("core: %+v", core)
	}
	if lan := c.RIP.Ports[1].Timers; lan.Update != 3*time.Second || lan.Timeout != 30*time.Second {
		t.Errorf("lan: %+v", lan)
	}
}

func TestThePortsVersionComesBeforeTheSections(t *testing.T) {
	for section, want := range map[string]string{
		"rip: {ports: {core: }}":                                                    "2 2",
		"rip: {version: 1, ports: {core: }}":                                        "1 1",
		"rip: {version: 1, receive: both, ports: {core: }}":                         "1 both",
		"rip: {version: 1, receive: both, ports: {core: {version: 2}}}":             "2 2",
		"rip: {send: v2_broadcast, ports: {core: {receive: both}}}":                 "v2_broadcast both",
		"rip: {version: 2, ports: {core: {version: 1, send: v2_broadcast}}}":        "v2_broadcast 1",
		"rip: {send: 1, receive: 1, ports: {core: {send: 2, receive: 2}, lan: {}}}": "2 2",
	} {
		p := mustParse(t, ripOn(section)).RIP.Ports[0]
		if got := fmt.Sprint(p.Send, " ", p.Receive); got != want {
			t.Errorf("%s: got %s, want %s", section, got, want)
		}
	}
}

const wholeRIP = `rip:
  send: 2
  receive: both
  timers: {update: 10s, timeout: 40s, garbage: 30s, triggered_min: 100ms, triggered_max: 1s}
  keys:
    back:
      type: md5
      forget_sequence: true
      comment: old routers
      keys:
        - {id: 0, secret: "s3cret", send_from: 2026-01-01T00:00:00Z, send_until: "2027-01-01T00:00:00+01:00"}
        - {id: 255, secret: "0123456789abcdef", accept_from: 2026-01-01T00:00:00.5Z, accept_until: 2027-01-01T00:00:00Z}
    word: {type: simple, keys: [{secret: "pass word"}]}
  prefix_lists:
    ours:
      - {action: deny, prefix: 10.66.0.0/16, le: 32, comment: guests}
      - {action: permit, prefix: 10.0.0.0/8, ge: 16, le: 24}
      - {prefix: 172.16.0.0/12, ge: 16}
      - {prefix: default}
  ports:
    core:
      auth: back
      split_horizon: none
      cost: 15
      version: 2
      timers: {update: 5s, timeout: 20s}
      neighbors: [10.0.0.2, 10.0.0.3]
      ttl_security: true
      link_check: true
      filter_in: ours
      filter_out: [{action: deny, prefix: 192.168.0.0/16}]
      offset_in: [{filter: ours, metric: 3}, {metric: 1}]
      offset_out: 16
      comment: the ring
    lan: {passive: true, auth: word, split_horizon: simple, send: v2_broadcast}
    link: {neighbors: 192.0.2.77}
  redistribute: {connected: {}, static: {metric: 3, tag: 65535, filter: ours}}
  default_route: {originate: true, metric: 15, tag: 9}
  distance: 254
  max_paths: 1
  max_routes: 10000
`

func TestEveryKeyOfRIPIsRead(t *testing.T) {
	r := mustParse(t, ripOn(wholeRIP)).RIP
	back, ours := &r.Keys[0], &r.PrefixLists[0]
	day := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	prefix := netip.MustParsePrefix
	want := &RIP{
		Send: RIPSendV2, Receive: RIPReceiveBoth,
		Timers: RIPTimers{10 * time.Second, 40 * time.Second, 30 * time.Second, 100 * time.Millisecond, time.Second},
		Keys: []RIPKeyChain{
			{Name: "back", Type: RIPAuthMD5, ForgetSequence: true, Comment: "old routers", Keys: []RIPKey{
				{ID: 0, Secret: "s3cret", Send: Lifetime{day("2026-01-01T00:00:00Z"), day("2026-12-31T23:00:00Z")}},
				{ID: 255, Secret: "0123456789abcdef", Accept: Lifetime{day("2026-01-01T00:00:00.5Z"), day("2027-01-01T00:00:00Z")}},
			}},
			{Name: "word", Type: RIPAuthSimple, Keys: []RIPKey{{Secret: "pass word"}}},
		},
		PrefixLists: []PrefixList{{Name: "ours", Rules: []PrefixRule{
			{Deny: true, Prefix: prefix("10.66.0.0/16"), Min: 16, Max: 32, Comment: "guests"},
			{Prefix: prefix("10.0.0.0/8"), Min: 16, Max: 24},
			{Prefix: prefix("172.16.0.0/12"), Min: 16, Max: 32},
			{Prefix: prefix("0.0.0.0/0")},
		}}},
		Ports: []RIPPort{
			{
				Name: "core", Send: RIPSendV2, Receive: RIPReceiveV2, Cost: 15, SplitHorizon: SplitHorizonNone,
				Timers: RIPTimers{5 * time.Second, 20 * time.Second, 30 * time.Second, 100 * time.Millisecond, time.Second},
				Auth:   back, Neighbors: addresses("10.0.0.2", "10.0.0.3"), TTLSecurity: true, LinkCheck: true, FilterIn: ours,
				FilterOut: &PrefixList{Rules: []PrefixRule{{Deny: true, Prefix: prefix("192.168.0.0/16"), Min: 16, Max: 16}}},
				OffsetIn:  []RIPOffset{{Filter: ours, Metric: 3}, {Metric: 1}}, OffsetOut: []RIPOffset{{Metric: 16}}, Comment: "the ring",
			},
			{Name: "lan", Passive: true, Send: RIPSendV2Broadcast, Receive: RIPReceiveBoth, Cost: 1, SplitHorizon: SplitHorizonSimple, Auth: &r.Keys[1]},
			{Name: "link", Send: RIPSendV2, Receive: RIPReceiveBoth, Cost: 1, SplitHorizon: SplitHorizonPoisoned, Neighbors: addresses("192.0.2.77")},
		},
		Connected: &RIPRedistribute{}, Static: &RIPRedistribute{Metric: 3, Tag: 65535, Filter: ours},
		DefaultRoute: RIPDefaultRoute{true, 15, 9}, Distance: 254, MaxPaths: 1, MaxRoutes: 10000, Pos: r.Pos,
	}
	for i := range want.Ports {
		want.Ports[i].Pos = r.Ports[i].Pos
		if i > 0 {
			want.Ports[i].Timers = want.Timers
		}
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("\n got %+v\nwant %+v", r, want)
	}
	if r.Ports[0].Auth != back || r.Ports[0].FilterIn != ours {
		t.Error("what is named twice is one thing")
	}
	if err := resolved(t).Validate(asJSON(t, ripOn(wholeRIP))); err != nil {
		t.Errorf("it is right, but the schema says: %v", err)
	}
}

// TestSecretsAreNotPrinted looks at everything that may get into a log, a terminal or another
// process, but the text itself.
func TestSecretsAreNotPrinted(t *testing.T) {
	c := mustParse(t, ripOn(wholeRIP))
	changed := mustParse(t, ripOn(strings.NewReplacer("s3cret", "hidden1", "pass word", "hidden2", "0123456789abcdef", "hidden3").Replace(wholeRIP)))
	said := fmt.Sprintf("%v %+v %#v %s", c.RIP.Keys, c.RIP.Keys, c.RIP.Keys, Changes(c, changed))
	said += fmt.Sprint(Changes(mustParse(t, ripOn("")), c), Changes(c, mustParse(t, ripOn(""))))
	files, err := filepath.Glob("testdata/bad/rip*.errors")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said += string(text)
	}
	for _, secret := range []string{"s3cret", "pass word", "0123456789abcdef", "hidden", "seventeen", "12345678"} {
		if strings.Contains(said, secret) {
			t.Errorf("%q is printed in %s", secret, said)
		}
	}
}

func TestChangesOfRIPAreTold(t *testing.T) {
	old := ripOn(wholeRIP)
	for _, k := range []struct{ from, to, want string }{
		{wholeRIP, "", "rip removed"},
		{"update: 10s, timeout: 40s", "update: 12s, timeout: 40s", "rip: update 10s -> 12s"},
		{"receive: both", "receive: 2", "rip: receive both -> 2"},
		{"cost: 15", "cost: 2", "rip: port core: cost 15 -> 2"},
		{"timers: {update: 5s, timeout: 20s}", "timers: {update: 5s, timeout: 25s}", "rip: port core: timeout 20s -> 25s"},
		{"auth: word, ", "", "rip: port lan: auth word -> none"},
		{"    link: {neighbors: 192.0.2.77}\n", "", "rip: port link removed"},
		{`"s3cret"`, `"changed"`, "rip: key chain back: key 0: the secret changed"},
		{"id: 255", "id: 254", "rip: key chain back: key 255 removed; rip: key chain back: key 254 added"},
		{"send_from: 2026-01-01T00:00:00Z, ", "", "rip: key chain back: key 0: send from 2026-01-01T00:00:00Z until 2026-12-31T23:00:00Z -> until 2026-12-31T23:00:00Z"},
		{`[{secret: "pass word"}]`, `[{secret: "pass word"}, {secret: "next"}]`, "rip: key chain word: key 0 (number 2 of this id) added"},
		{"      - {prefix: default}\n", "", "rip: prefix list ours changed"},
		{"connected: {}, ", "", "rip: redistribute connected on -> off"},
		{"metric: 3, tag: 65535, filter: ours", "metric: 3", "rip: redistribute static on metric 3 tag 65535 filter ours -> on metric 3"},
		{"metric: 15, tag: 9", "metric: 14", "rip: default_route on metric 15 tag 9 -> on metric 14"},
		{"filter_out: [{action: deny, prefix: 192.168.0.0/16}]", "filter_out: [{prefix: 192.168.0.0/16, ge: 20}]",
			"rip: port core: filter_out [deny 192.168.0.0/16] -> [permit 192.168.0.0/16 ge 20 le 32]"},
		{"offset_in: [{filter: ours, metric: 3}, {metric: 1}]", "offset_in: 3", "rip: port core: offset_in 3 for ours, 1 -> 3"},
	} {
		if !strings.Contains(old, k.from) {
			t.Fatalf("%q is not in the text", k.from)
		}
		got := Changes(mustParse(t, old), mustParse(t, strings.Replace(old, k.from, k.to, 1)))
		if strings.Join(got, "; ") != k.want {
			t.Errorf("%q to %q: got %q, want %q", k.from, k.to, got, k.want)
		}
	}
	if got, want := Changes(mustParse(t, ripOn("")), mustParse(t, old)), []string{"rip added, on port core, lan, link"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOrderMeansNothing turns round what has names; rules and keys stay in their order.
func TestOrderMeansNothing(t *testing.T) {
	a := mustParse(t, ripOn("rip: {keys: {a: {type: simple, keys: [{secret: x}]}, b: {type: simple, keys: [{secret: y}]}}, ports: {core: , lan: }}"))
	b := mustParse(t, ripOn("rip: {ports: {lan: , core: }, keys: {b: {type: simple, keys: [{secret: y}]}, a: {type: simple, keys: [{secret: x}]}}}"))
	if got := Changes(a, b); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

func TestEditingRoutesLeavesRIPAlone(t *testing.T) {
	source := ripOn("# the ring\n\n" + wholeRIP)
	d, err := NewDocument("r1.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AddRoute(Route{To: netip.MustParsePrefix("192.0.2.0/24"), Type: Blackhole}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetPortEnabled("core", false); err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(source, "# the ring")
	if !strings.HasSuffix(d.Text(), section) {
		t.Errorf("the section changed:\n%s", d.Text())
	}
	if got := Changes(mustParse(t, source), d.Config()); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}
