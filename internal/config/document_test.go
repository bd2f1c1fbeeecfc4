package config

import (
	"net/netip"
	"strings"
	"testing"

	"vrouterd/internal/packet"
)

const commented = `# The router of the house.
name: r1

ports:
  # the children's room
  lan: {address: 10.1.0.1/24}   # 24 sockets
  wan:
    # from the provider
    address: 192.0.2.1/30

    mtu: 1492
  core:

# static ones
routes:
  - {to: 0.0.0.0/0, via: 192.0.2.2}  # out

  - to: 10.2.0.0/16   # the cellar
    via: 10.1.0.2
    comment: >
      # not a comment
      but text
  # - {to: 10.3.0.0/16, via: 10.1.0.3}

# those that do not answer
neighbors: []
`

func document(t *testing.T, source string) *Document {
	t.Helper()
	d, err := NewDocument("r1.yaml", []byte(source))
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	return d
}

func addresses(all ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range all {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// expectDiff checks what an edit did to the text, line by line.
func expectDiff(t *testing.T, d *Document, before string, want ...string) {
	t.Helper()
	var got []string
	for i, line := range strings.Split(Diff(before, d.Text(), "x"), "\n") {
		if i >= 2 && line != "" && (line[0] == '+' || line[0] == '-') {
			got = append(got, line)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the edit changed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c, err := Parse("r1.yaml", []byte(d.Text())); err != nil || !sameMeaning(c, d.Config()) {
		t.Errorf("the text does not mean the document's configuration (%v):\n%s", err, d.Text())
	}
}

// TestOtherEndsOfLinesAreWrittenOutAnew has line ends that YAML counts and editors do not: the places of the tree would be those of
// other lines.
func TestOtherEndsOfLinesAreWrittenOutAnew(t *testing.T) {
	for _, end := range []string{"\r", "\u0085", "\u2028", "\u2029"} {
		source := "name: r1\nports:\n  lan: {address: 10.1.0.1/24}\n" + end + end + "routes:\n  - {to: 10.9.0.0/16, via: 10.1.0.2}\n"
		d, err := NewDocument("r1.yaml", []byte(source))
		if err != nil {
			continue // not every one of them stands well there
		}
		for _, r := range d.Config().Routes {
			if err := d.DeleteRoute(r); err != nil {
				t.Errorf("%q: %v", end, err)
			}
		}
		if err := d.SetPortEnabled("lan", false); err != nil || d.Config().Ports[0].Enabled || len(d.Config().Routes) != 0 {
			t.Errorf("%q: %v\n%q", end, err, d.Text())
		}
	}
}

func TestARouteIsAddedBehindTheLastOne(t *testing.T) {
	d := document(t, commented)
	r := Route{To: netip.MustParsePrefix("10.4.0.0/16"), Via: addresses("10.1.0.4", "10.1.0.5"), Metric: 5, Comment: "a: b"}
	if err := d.AddRoute(r); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, commented, "+  - {to: 10.4.0.0/16, via: [10.1.0.4, 10.1.0.5], metric: 5, comment: 'a: b'}")
	if n := len(d.Config().Routes); n != 3 {
		t.Errorf("%d routes, want 3", n)
	}
	if err := d.DeleteRoute(Route{To: r.To}); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, commented)
}

func TestADeletedRouteTakesOnlyItsLines(t *testing.T) {
	d := document(t, commented)
	if err := d.DeleteRoute(Route{To: netip.MustParsePrefix("10.2.0.0/16")}); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, commented, "-  - to: 10.2.0.0/16   # the cellar", "-    via: 10.1.0.2", "-    comment: >", "-      # not a comment", "-      but text")
	before := d.Text()
	if err := d.DeleteRoute(Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: addresses("192.0.2.2")}); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, before, "-  - {to: 0.0.0.0/0, via: 192.0.2.2}  # out")
	before = d.Text()
	if err := d.AddRoute(Route{To: netip.MustParsePrefix("10.5.0.0/16"), Type: Blackhole}); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, before, "+  - {to: 10.5.0.0/16, type: blackhole}")
}

func TestAPortIsSwitchedOffAndOn(t *testing.T) {
	for port, want := range map[string][]string{
		"lan":  {"-  lan: {address: 10.1.0.1/24}   # 24 sockets", "+  lan: {enabled: false, address: 10.1.0.1/24}   # 24 sockets"},
		"wan":  {"+    enabled: false"},
		"core": {"+    enabled: false"},
	} {
		d := document(t, commented)
		if err := d.SetPortEnabled(port, true); err != nil || d.Text() != commented {
			t.Errorf("%s is on already, but the text changed (%v)", port, err)
		}
		if err := d.SetPortEnabled(port, false); err != nil {
			t.Fatal(err)
		}
		expectDiff(t, d, commented, want...)
		if err := d.SetPortEnabled(port, true); err != nil {
			t.Fatal(err)
		}
		if changes := Changes(document(t, commented).Config(), d.Config()); len(changes) > 0 {
			t.Errorf("%s off and on again: %q", port, changes)
		}
	}
	if err := document(t, commented).SetPortEnabled("lam", false); err == nil || err.Error() != `there is no port "lam"; did you mean "lan"?` {
		t.Errorf("got %v", err)
	}
}

func TestNeighboursAreAddedAndDeleted(t *testing.T) {
	d := document(t, commented)
	n := Neighbor{Port: "lan", Address: netip.MustParseAddr("10.1.0.9"), MAC: packet.MAC{2, 0, 0, 0, 0, 9}}
	if err := d.AddNeighbor(n); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, commented, "-neighbors: []", "+neighbors:", "+  - {port: lan, address: 10.1.0.9, mac: '02:00:00:00:00:09'}")
	if err := d.AddNeighbor(n); err == nil {
		t.Error("the same neighbour was added twice")
	}
	if err := d.DeleteNeighbor(Neighbor{Address: n.Address}); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, commented, "-neighbors: []", "+neighbors:")
	if err := d.DeleteNeighbor(n); err == nil || err.Error() != "there is no permanent neighbour 10.1.0.9 port lan" {
		t.Errorf("got %v", err)
	}
}

// TestEveryLayoutCanBeEdited adds to and deletes from texts laid out in all ways that
// come to mind, those that the line editor leaves to the tree among them.
func TestEveryLayoutCanBeEdited(t *testing.T) {
	layouts := []string{
		"ports: {lan: {address: 10.1.0.1/24}}\n",
		"ports: {lan: {address: 10.1.0.1/24}}",
		"{ports: {lan: {address: 10.1.0.1/24}}}\n",
		"ports: {lan: {address: 10.1.0.1/24}}\nroutes:\nneighbors:\n",
		"ports: {lan: {address: 10.1.0.1/24}}\nroutes: ~\nneighbors: null\n",
		"ports: {lan: {address: 10.1.0.1/24}}\nroutes: [] # none\nneighbors: [\n]\n",
		"ports: {lan: {address: 10.1.0.1/24}}\nroutes: [{to: 10.2.0.0/16, via: 10.1.0.2}, {to: 10.3.0.0/16, type: blackhole, comment: \"} '\"}] # two\n",
		"ports: {lan: {address: 10.1.0.1/24}}\nroutes: [\n  {to: 10.2.0.0/16, via: 10.1.0.2},\n  {to: 10.3.0.0/16, type: blackhole},\n]\n",
		"ports: {lan: {address: 10.1.0.1/24}}\nroutes: [\n  {to: 10.2.0.0/16,\n   via: 10.1.0.2}]\n",
		"ports: {lan: {address: 10.1.0.1/24}}\nroutes:\n- to: 10.2.0.0/16\n  via: 10.1.0.2\n- {to: 10.3.0.0/16, type: blackhole}\n# end\n",
		"---\nports: {lan: {address: 10.1.0.1/24}}\nroutes:\n-   to: 10.2.0.0/16\n    via:\n    - 10.1.0.2\n    - 10.1.0.3\n...\n",
		"ports:\r\n  lan:\r\n    address: 10.1.0.1/24\r\nroutes:\r\n  - {to: 10.2.0.0/16, via: 10.1.0.2}\r\n",
		"ports:\n  'lan': {\"address\": 10.1.0.1/24}\nroutes:\n  - to: 10.2.0.0/16\n    via: 10.1.0.2\n    comment: |\n      a\n\n      # b\n",
		"ports:\n  lan: {address: 10.1.0.1/24, enabled: True}\nroutes:\n  -\n    to: 10.2.0.0/16\n    via: 10.1.0.2\n\n\n",
	}
	for _, source := range layouts {
		d := document(t, source)
		add := Route{To: netip.MustParsePrefix("10.7.0.0/16"), Via: addresses("10.1.0.7"), Name: "seven"}
		neighbor := Neighbor{Port: "lan", Address: netip.MustParseAddr("10.1.0.9"), MAC: packet.MAC{2, 0, 0, 0, 0, 9}}
		steps := []func() error{
			func() error { return d.AddRoute(add) },
			func() error { return d.AddNeighbor(neighbor) },
			func() error { return d.SetPortEnabled("lan", false) },
			func() error { return d.DeleteRoute(Route{To: add.To, Port: "", Via: add.Via}) },
			func() error { return d.DeleteNeighbor(neighbor) },
			func() error { return d.SetPortEnabled("lan", true) },
		}
		for i, step := range steps {
			if err := step(); err != nil {
				t.Errorf("step %d: %v\n%s", i, err, d.Text())
			}
		}
		if changes := Changes(document(t, source).Config(), d.Config()); len(changes) > 0 {
			t.Errorf("there and back changed %q:\n%s", changes, d.Text())
		}
		for _, r := range document(t, source).Config().Routes {
			if err := d.DeleteRoute(r); err != nil {
				t.Errorf("%v\n%s", err, d.Text())
			}
		}
		if n := len(d.Config().Routes); n != 0 {
			t.Errorf("%d routes are left:\n%s", n, d.Text())
		}
	}
}

func TestAnEditThatMakesTheConfigurationWrongIsRefused(t *testing.T) {
	d := document(t, commented+"\n")
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
		if d.Text() != commented+"\n" {
			t.Errorf("the text changed:\n%s", d.Text())
		}
	}
	refused(d.AddRoute(Route{To: netip.MustParsePrefix("10.9.0.0/16"), Via: addresses("10.99.0.1")}),
		"via: 10.99.0.1 is on no port's subnet, and no route leads to it; the subnets are 10.1.0.0/24, 192.0.2.0/30")
	refused(d.AddRoute(Route{To: netip.MustParsePrefix("10.2.0.0/16"), Via: addresses("10.1.0.2")}),
		"the route to 10.2.0.0/16 stands already in line 18 with the same next hop and metric: remove one")
	refused(d.AddRoute(Route{To: netip.MustParsePrefix("10.9.0.0/16"), Port: "lann"}), `there is no port "lann"; did you mean "lan"?`)
	refused(d.DeleteRoute(Route{To: netip.MustParsePrefix("10.9.0.0/16"), Via: addresses("10.1.0.2")}), "there is no static route 10.9.0.0/16 via 10.1.0.2")
	refused(d.AddNeighbor(Neighbor{Port: "lan", Address: netip.MustParseAddr("10.1.0.1"), MAC: packet.MAC{2}}),
		`address: 10.1.0.1 is this router's own address (port "lan"): give the neighbour's`)

	d = document(t, "ports: {lan: {address: 10.1.0.1/24}}\nroutes:\n- {to: 10.2.0.0/16, via: 10.1.0.2}\n- {to: 10.3.0.0/16, via: 10.2.0.1}\n")
	err := d.DeleteRoute(Route{To: netip.MustParsePrefix("10.2.0.0/16")})
	want := "it is still needed: without it, via: 10.2.0.1 is on no port's subnet, and no route leads to it; the subnets are 10.1.0.0/24"
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

func TestAnAmbiguousDeletionAsksForMore(t *testing.T) {
	d := document(t, `
ports: {lan: {address: 10.1.0.1/24}}
routes:
  - {to: 10.2.0.0/16, via: 10.1.0.2}
  - {to: 10.2.0.0/16, via: 10.1.0.3, metric: 5}
  - {to: 10.2.0.0/16, via: 10.1.0.3}
`)
	to := netip.MustParsePrefix("10.2.0.0/16")
	err := d.DeleteRoute(Route{To: to})
	if err == nil || !strings.HasPrefix(err.Error(), "3 static routes match 10.2.0.0/16: say more of the one that is meant (10.2.0.0/16 via 10.1.0.2; ") {
		t.Errorf("got %v", err)
	}
	if err := d.DeleteRoute(Route{To: to, Via: addresses("10.1.0.3")}); err != nil {
		t.Errorf("a full match with defaults is not ambiguous: %v", err)
	}
	if routes := d.Config().Routes; len(routes) != 2 || routes[1].Metric != 5 {
		t.Errorf("the wrong route went: %+v", routes)
	}
}

func TestCommentsSurviveATextThatIsWrittenOutAnew(t *testing.T) {
	d := document(t, `# top
ports: {lan: {address: 10.1.0.1/24}} # desks
# about the routes
routes: [
  # the cellar
  {to: 10.2.0.0/16, via: 10.1.0.2}, # slow
  # the roof
  {to: 10.3.0.0/16,
   via: 10.1.0.3}
]
# end
`)
	if err := d.AddRoute(Route{To: netip.MustParsePrefix("10.4.0.0/16"), Via: addresses("10.1.0.4")}); err != nil {
		t.Fatal(err)
	}
	for _, comment := range []string{"# top", "# desks", "# about the routes", "# the cellar", "# slow", "# the roof", "# end"} {
		if !strings.Contains(d.Text(), comment) {
			t.Errorf("%q is lost:\n%s", comment, d.Text())
		}
	}
}

func TestConfigsAreImmutableUnderEdits(t *testing.T) {
	d := document(t, commented)
	before := d.Config()
	copied := withoutPlaces(before)
	if err := d.AddRoute(Route{To: netip.MustParsePrefix("10.4.0.0/16"), Via: addresses("10.1.0.4")}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetPortEnabled("lan", false); err != nil {
		t.Fatal(err)
	}
	if !sameMeaning(before, &copied) || before == d.Config() {
		t.Error("an edit changed a configuration that was handed out")
	}
}
