package config

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const forwarded = `# The house.
nat:
  - {out: wan, type: masquerade}

forwards:
  # the web server
  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5, name: web}   # since May
  - in: wan
    protocol: tcp_udp
    port: 5000-5010      # games
    to: 192.168.1.104

  # - {in: wan, protocol: tcp, port: 22, to: 192.168.1.2}
  - {in: wan, protocol: udp, port: 53, to: 192.168.1.2:5353}

firewall: home   # nothing else
`

// parsed is a forward as a command describes it.
func parsed(t *testing.T, in, protocol, port, to, name string) Forward {
	t.Helper()
	f, err := ParseForward(in, protocol, port, to, name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAForwardIsAddedBehindTheLastOne(t *testing.T) {
	source := home(forwarded)
	for want, f := range map[string]Forward{
		"{in: wan, protocol: tcp, port: 443, to: 192.168.1.5}":                                     parsed(t, "wan", "tcp", "443", "192.168.1.5", ""),
		"{in: wan, protocol: tcp, port: 443, to: '192.168.1.5:8443', name: secure web}":            parsed(t, "wan", "tcp", "443", "192.168.1.5:8443", "secure web"),
		"{in: wan, protocol: tcp_udp, port: 8000-8010, to: 192.168.1.5}":                           parsed(t, "wan", "", "8000-8010", "192.168.1.5:8000", ""),
		"{in: wan, protocol: udp, port: 8000-8010, to: '192.168.1.5:80', source: [10.0.0.0/8]}":    {In: "wan", Protocol: 17, Ports: PortRange{8000, 8010}, To: netip.MustParseAddr("192.168.1.5"), ToPort: 80, Source: prefixes("10.0.0.0/8")},
		"{in: wan, protocol: tcp, port: 443, address: 83.215.152.95, to: 192.168.1.5, comment: c}": {In: "wan", Protocol: 6, Ports: PortRange{443, 443}, To: netip.MustParseAddr("192.168.1.5"), Address: netip.MustParseAddr("83.215.152.95"), Comment: "c"},
	} {
		d := document(t, source)
		if err := d.AddForward(f); err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		expectDiff(t, d, source, "+  - "+want)
		if err := d.DeleteForward(f); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		expectDiff(t, d, source)
	}
}

func TestTheFirstForwardMakesTheSection(t *testing.T) {
	source := home("nat: [{out: wan, type: masquerade}]\n")
	d := document(t, source)
	if err := d.AddForward(parsed(t, "wan", "tcp", "80", "192.168.1.5", "")); err != nil {
		t.Fatal(err)
	}
	expectDiff(t, d, source, "+", "+forwards:", "+  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5}")
}

func TestADeletedForwardTakesOnlyItsLines(t *testing.T) {
	source := home(forwarded)
	for name, k := range map[string]struct {
		match Forward
		want  []string
	}{
		"by name":     {Forward{Name: "web"}, []string{"-  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5, name: web}   # since May"}},
		"by port":     {parsed(t, "wan", "udp", "53", "", ""), []string{"-  - {in: wan, protocol: udp, port: 53, to: 192.168.1.2:5353}"}},
		"of both":     {parsed(t, "", "tcp_udp", "5000-5010", "", ""), []string{"-  - in: wan", "-    protocol: tcp_udp", "-    port: 5000-5010      # games", "-    to: 192.168.1.104"}},
		"by the host": {parsed(t, "", "", "", "192.168.1.2", ""), []string{"-  - {in: wan, protocol: udp, port: 53, to: 192.168.1.2:5353}"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := document(t, source)
			if err := d.DeleteForward(k.match); err != nil {
				t.Fatal(err)
			}
			expectDiff(t, d, source, k.want...)
		})
	}
}

func TestAForwardThatIsNotMeantStays(t *testing.T) {
	d := document(t, home(forwarded))
	before := d.Text()
	if err := d.DeleteForward(parsed(t, "wan", "tcp", "81", "", "")); !errors.Is(err, ErrNoForward) || err.Error() != "there is no forward wan tcp 81" {
		t.Errorf("got %v", err)
	}
	if err := d.DeleteForward(parsed(t, "wan", "", "", "", "")); err == nil || err.Error() !=
		"3 forwards match wan tcp_udp: say more of the one that is meant (wan tcp 80 to 192.168.1.5; wan tcp_udp 5000-5010 to 192.168.1.104; wan udp 53 to 192.168.1.2:5353)" {
		t.Errorf("got %v", err)
	}
	if err := d.DeleteForward(parsed(t, "wan", "tcp", "5000-5010", "", "")); err == nil || !strings.Contains(err.Error(), "is of tcp_udp") {
		t.Errorf("got %v", err)
	}
	if err := d.AddForward(parsed(t, "wan", "tcp", "70-90", "192.168.1.6", "")); err == nil ||
		err.Error() != `port: tcp 70-90 at port "wan" is already forwarded by line 13 (80): give each forward its own ports or address` {
		t.Errorf("got %v", err)
	}
	if err := d.AddForward(Forward{In: "wan"}); err == nil {
		t.Error("a forward to nowhere was added")
	}
	if d.Text() != before {
		t.Error("the text changed")
	}
}

func TestARouteThatAForwardNeedsStays(t *testing.T) {
	d := document(t, strings.Replace(home("forwards: [{in: wan, protocol: tcp, port: 80, to: 172.16.0.5}]\n"), "{to: default, via: 83.215.152.1}", "{to: 172.16.0.0/12, via: 10.0.0.2}", 1))
	if err := d.DeleteRoute(Route{To: netip.MustParsePrefix("172.16.0.0/12")}); err == nil || !strings.HasPrefix(err.Error(), "it is still needed: without it, to: 172.16.0.5 is on no port's subnet") {
		t.Errorf("got %v", err)
	}
}

func TestAForwardsWordsAreChecked(t *testing.T) {
	for want, k := range map[string][3]string{
		`protocol wants tcp, udp or tcp_udp, not "icmp"`:                              {"icmp", "80", "10.0.0.1"},
		"port is 0: give numbers from 1 to 65535":                                     {"tcp", "0", "10.0.0.1"},
		"port: the range 90-80 runs backwards: write 80-90":                           {"tcp", "90-80", "10.0.0.1"},
		`to: "printer" is not an IPv4 address such as 10.1.0.2`:                       {"tcp", "80", "printer"},
		`to: "x" is not a port: give a number from 1 to 65535, such as 10.0.0.1:8080`: {"tcp", "80", "10.0.0.1:x"},
	} {
		if _, err := ParseForward("wan", k[0], k[1], k[2], ""); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", k, err, want)
		}
	}
}

func TestChangesOfNATAndFirewallAreTold(t *testing.T) {
	old := home(`nat:
  - {out: wan, type: none, destination: 10.2.0.0/16}
  - {out: wan, type: masquerade, name: all}
forwards:
  - {in: wan, protocol: tcp_udp, port: 80, to: 192.168.1.5}
  - {in: wan, protocol: tcp, port: 22, to: 192.168.1.5:2222}
sessions: {udp: 3m}
port_mapping: {ports: [lan, dmz]}
firewall:
  zones: {in: {ports: [lan, dmz]}, out: {ports: wan}}
  sets: {bad: {addresses: 10.66.0.0/16}}
  rules:
    - {name: ping, to: router, protocol: icmp, icmp_type: echo_request, rate: 10/s, action: accept}
    - {from: out, source_set: bad, action: drop}
    - {from: out, to: in, protocol: tcp, port: 80, action: accept}
  policy: [{from: in, to: out, action: accept}]
  access: [{in: wan, source: 10.0.0.0/8, action: drop}]
`)
	for _, k := range []struct{ from, to, want string }{
		{"out: wan, type: masquerade, name: all", "out: wan, type: masquerade, name: all, filtering: address_dependent", `nat rule "all": filtering endpoint_independent -> address_dependent`},
		{"  - {out: wan, type: none, destination: 10.2.0.0/16}\n", "", "nat rule out wan, type none, destination 10.2.0.0/16 removed"},
		{"10.2.0.0/16}\n", "10.2.0.0/16}\n  - {out: wan, type: snat, source: 10.0.0.0/24, to: 83.215.152.8-83.215.152.9}\n", "nat rule out wan, type snat, source 10.0.0.0/24, to 83.215.152.8-83.215.152.9 added"},
		{"port: 22, to: 192.168.1.5:2222", "port: 23, to: 192.168.1.5:2222", "forward wan tcp 22 to 192.168.1.5:2222 removed; forward wan tcp 23 to 192.168.1.5:2222 added"},
		{"protocol: tcp_udp, port: 80", "protocol: tcp, port: 80, name: web", `forward wan tcp 80 to 192.168.1.5: name none -> "web"; forward wan udp 80 to 192.168.1.5 removed`},
		{"udp: 3m", "udp: 4m, max: 2048", "sessions: max 1048576 -> 2048; sessions: max_half_open 131072 -> 256; sessions: udp 3m -> 4m"},
		{"port_mapping: {ports: [lan, dmz]}", "port_mapping: {ports: [dmz], upnp: true}", "port_mapping: ports dmz lan -> dmz; port_mapping: upnp false -> true"},
		{"port_mapping: {ports: [lan, dmz]}\n", "", "port_mapping removed"},
		{"ports: [lan, dmz]}, out:", "ports: [lan]}, out:", "firewall: zone in: ports dmz lan -> lan"},
		{"addresses: 10.66.0.0/16", "addresses: 10.66.0.0/16, timeout: 1h", "firewall: set bad: timeout none -> 1h"},
		{"rate: 10/s", "rate: 20/m", `firewall rule "ping": rate 10/s -> 20/m`},
		{"{from: out, source_set: bad, action: drop}", "{from: out, source_set: bad, action: reject}",
			"firewall rule from out, source_set bad, action drop removed; firewall rule from out, source_set bad, action reject added"},
		{"to: out, action: accept}]", "to: out, action: drop, log: true}]", "firewall: policy from in to out: action accept -> drop; firewall: policy from in to out: log false -> true"},
		{"[{in: wan, source: 10.0.0.0/8", "[{in: dmz, source: 192.168.0.0/16, action: drop}, {in: wan, source: 10.0.0.0/8", "access rule in dmz, source 192.168.0.0/16, action drop added"},
	} {
		if !strings.Contains(old, k.from) {
			t.Fatalf("%q is not in the text", k.from)
		}
		if got := Changes(mustParse(t, old), mustParse(t, strings.Replace(old, k.from, k.to, 1))); strings.Join(got, "; ") != k.want {
			t.Errorf("%q to %q: got %q, want %q", k.from, k.to, got, k.want)
		}
	}
	section := old[strings.Index(old, "firewall:"):]
	if got := Changes(mustParse(t, old), mustParse(t, strings.Replace(old, section, "", 1))); !slices.Equal(got, []string{"firewall removed"}) {
		t.Errorf("got %q", got)
	}
	if got := Changes(mustParse(t, strings.Replace(old, section, "", 1)), mustParse(t, strings.Replace(old, section, "firewall: home\n", 1))); !slices.Equal(got, []string{"firewall added: home"}) {
		t.Errorf("got %q", got)
	}
}

func TestTheOrderOfRulesIsToldOnce(t *testing.T) {
	const a, b, c = "{protocol: tcp, action: drop}", "{protocol: udp, action: drop}", "{protocol: icmp, name: i, action: drop}"
	rules := func(all ...string) *Config {
		return mustParse(t, home("firewall: {rules: ["+strings.Join(all, ", ")+"]}\n"))
	}
	for want, k := range map[string][2]*Config{
		"":                                    {rules(a, b, c), rules(a, b, c)},
		"firewall rules: their order changed": {rules(a, b, c), rules(c, a, b)},
		"firewall rule protocol tcp, action drop removed":                          {rules(a, b, c), rules(b, c)},
		"firewall rule protocol tcp, action drop (number 2 of these) removed":      {rules(a, b, a), rules(a, b)},
		`firewall rule "i" removed; firewall rule protocol tcp, action drop added`: {rules(b, c), rules(a, b)},
	} {
		if got := strings.Join(Changes(k[0], k[1]), "; "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
