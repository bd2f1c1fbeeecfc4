package config

import (
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// dhcpOn is a router with an inside of two networks, a port for a relay, and an uplink.
func dhcpOn(section string) string {
	return `name: r1
ports:
  lan: {address: 192.168.1.1/24}
  two: {address: [10.1.0.1/24, 10.2.0.1/24, 10.2.0.2/24]}
  core: {address: 10.0.0.1/24}
routes: [{to: default, via: 10.0.0.2}]
` + section
}

func spans(all ...string) []AddressRange {
	var out []AddressRange
	for _, s := range all {
		first, last := readRange(s)
		out = append(out, AddressRange{netip.MustParseAddr(first), netip.MustParseAddr(last)})
	}
	return out
}

func TestWithoutTheSectionsNobodyIsServed(t *testing.T) {
	for _, section := range []string{"", "dhcp:\n", "dhcp:\ndns:\n"} {
		if c := mustParse(t, dhcpOn(section)); c.DHCP != nil || c.DNS != nil {
			t.Errorf("%q: got %+v %+v", section, c.DHCP, c.DNS)
		}
	}
}

func TestDHCPDefaultsAreFilledIn(t *testing.T) {
	c := mustParse(t, dhcpOn("dhcp:\n  lan: {range: 192.168.1.100-192.168.1.199}\ndns: {listen: lan, domain: Home.Arpa.}\n"))
	own := addresses("192.168.1.1")
	want := &DHCP{DeclineHold: 10 * time.Minute, MaxLeases: 65536, Relays: []DHCPRelay{}, Subnets: []DHCPSubnet{{
		Name: "lan", Port: "lan", Network: netip.MustParsePrefix("192.168.1.0/24"), Server: own[0],
		Ranges: spans("192.168.1.100-192.168.1.199"), Lease: 12 * time.Hour, Authoritative: true, Probe: true, Inspection: InspectionOff,
		Gateway: own, DNS: own, Domain: "home.arpa", Pos: Pos{8, 3},
	}}}
	if !reflect.DeepEqual(c.DHCP, want) {
		t.Errorf("\n got %+v\nwant %+v", c.DHCP, want)
	}
}

const wholeDHCP = `dhcp:
  lan:
    range: [192.168.1.100 - 192.168.1.199, 192.168.1.50]
    exclude: [192.168.1.120-192.168.1.129, 192.168.1.150]
    network: 192.168.1.0/24
    lease: infinite
    min_lease: 2s
    max_lease: infinite
    renew: 1h
    rebind: 2h
    gateway: [192.168.1.1, 192.168.1.2]
    dns: [192.168.1.1, 9.9.9.9]
    ntp: 192.168.1.3
    domain: example.org.
    search: [example.org, Example.COM]
    options: {26: 1400, host_name: x}
    reservations:
      - {mac: "02:00:00:00:00:09", address: 192.168.1.5, name: Printer, lease: 1h, options: {66: boot}, comment: old}
      - {client_id: "text", address: 192.168.1.110}
      - {client_id: "hex:01:02:03", address: 192.168.1.6}
    pools: [{name: phones, vendor: Acme Phone, range: 192.168.1.200-192.168.1.209, options: {150: [192.168.1.3]}}]
    authoritative: false
    rapid_commit: true
    probe: false
    inspection: drop
    next_server: 192.168.1.3
    boot_file: pxelinux.0
    tftp_server: boot.example.org
    comment: the inside
  two: {relay: {servers: [10.0.0.5, 10.0.0.6], option_82: true, circuit_id: c7, remote_id: r1, max_hops: 4, trust_option_82: true}, comment: floors}
  branch: {network: 10.5.0.0/24, range: 10.5.0.2-10.5.0.9, gateway: none}
dhcp_server: {decline_hold: 5m, max_leases: 100}
`

func TestEveryKeyOfDHCPIsRead(t *testing.T) {
	d := mustParse(t, dhcpOn(wholeDHCP)).DHCP
	want := &DHCP{
		DeclineHold: 5 * time.Minute, MaxLeases: 100,
		Subnets: []DHCPSubnet{{
			Name: "lan", Port: "lan", Network: netip.MustParsePrefix("192.168.1.0/24"), Server: addresses("192.168.1.1")[0],
			Ranges: spans("192.168.1.50", "192.168.1.100-192.168.1.199"), Exclude: spans("192.168.1.120-192.168.1.129", "192.168.1.150"),
			Lease: infiniteLease, MinLease: 2 * time.Second, MaxLease: infiniteLease, Renew: time.Hour, Rebind: 2 * time.Hour,
			RapidCommit: true, Inspection: InspectionDrop, Gateway: addresses("192.168.1.1", "192.168.1.2"), DNS: addresses("192.168.1.1", "9.9.9.9"),
			NTP: addresses("192.168.1.3"), Domain: "example.org", Search: []string{"example.org", "example.com"}, NextServer: addresses("192.168.1.3")[0],
			BootFile: "pxelinux.0", TFTPServer: "boot.example.org", Options: map[uint8][]byte{26: {5, 120}, 12: []byte("x")}, Comment: "the inside",
			Reservations: []DHCPReservation{
				{MAC: packet.MAC{2, 0, 0, 0, 0, 9}, Address: addresses("192.168.1.5")[0], Name: "printer", Lease: time.Hour, Options: map[uint8][]byte{66: []byte("boot")}, Comment: "old"},
				{ClientID: []byte("\x00text"), Address: addresses("192.168.1.110")[0]},
				{ClientID: []byte{1, 2, 3}, Address: addresses("192.168.1.6")[0]},
			},
			Pools: []DHCPPool{{Name: "phones", Vendor: "Acme Phone", Ranges: spans("192.168.1.200-192.168.1.209"), Options: map[uint8][]byte{150: {192, 168, 1, 3}}}},
		}, {
			Name: "branch", Network: netip.MustParsePrefix("10.5.0.0/24"), Ranges: spans("10.5.0.2-10.5.0.9"), Lease: 12 * time.Hour,
			Authoritative: true, Probe: true, Inspection: InspectionOff,
		}},
		Relays: []DHCPRelay{{Port: "two", Servers: addresses("10.0.0.5", "10.0.0.6"), MaxHops: 4, Agent: true, CircuitID: "c7", RemoteID: "r1", TrustAgent: true, Comment: "floors"}},
	}
	if got := dhcpWithoutPlaces(d); !reflect.DeepEqual(got, dhcpWithoutPlaces(want)) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if err := resolved(t).Validate(asJSON(t, dhcpOn(wholeDHCP))); err != nil {
		t.Errorf("it is right, but the schema says: %v", err)
	}
}

func TestRangesLoseWhatIsNobodysOrTaken(t *testing.T) {
	for entry, want := range map[string][]AddressRange{
		"lan: {range: 192.168.1.0/24}":                                       spans("192.168.1.2-192.168.1.254"),
		"lan: {range: 192.168.1.1-192.168.1.9}":                              spans("192.168.1.2-192.168.1.9"),
		"lan: {range: [192.168.1.200, 192.168.1.0/31]}":                      spans("192.168.1.200"),
		"lan: {range: [192.168.1.10-192.168.1.20, 192.168.1.9]}":             spans("192.168.1.9", "192.168.1.10-192.168.1.20"),
		"two: {range: 10.2.0.0-10.2.0.4}":                                    spans("10.2.0.3-10.2.0.4"),
		"lab: {range: 10.3.0.0/29}":                                          spans("10.3.0.3-10.3.0.6"),
		"far: {range: 10.5.0.0/29, network: 10.5.0.0/29, gateway: 10.5.0.3}": spans("10.5.0.1-10.5.0.2", "10.5.0.4-10.5.0.6"),
		"pair: {range: 10.4.0.0/31}":                                         spans("10.4.0.1"),
	} {
		source := strings.Replace(dhcpOn("dhcp: {"+entry+"}\n"), "  core:", "  lab: {address: 10.3.0.1/29, host: {address: 10.3.0.2/29}}\n  pair: {address: 10.4.0.0/31}\n  core:", 1)
		if got := mustParse(t, source).DHCP.Subnets[0].Ranges; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", entry, got, want)
		}
	}
}

func TestTheNetworkIsThatOfTheAddresses(t *testing.T) {
	for entry, want := range map[string]string{
		"{range: 10.2.0.10-10.2.0.20}":                                               "10.2.0.0/24 10.2.0.1",
		"{range: 10.1.0.10-10.1.0.20}":                                               "10.1.0.0/24 10.1.0.1",
		"{network: 10.2.0.0/24, range: 10.2.0.10}":                                   "10.2.0.0/24 10.2.0.1",
		"{reservations: [{mac: \"02:00:00:00:00:01\", address: 10.2.0.9}]}":          "10.2.0.0/24 10.2.0.1",
		"{pools: [{name: a, vendor: A, range: 10.2.0.10}], dns: none}":               "10.2.0.0/24 10.2.0.1",
		"{range: 10.2.0.10, pools: [{name: a, vendor: A, options: {66: \"boot\"}}]}": "10.2.0.0/24 10.2.0.1",
	} {
		s := mustParse(t, dhcpOn("dhcp: {two: "+entry+"}\n")).DHCP.Subnets[0]
		if got := s.Network.String() + " " + s.Server.String(); got != want || !slices.Equal(s.Gateway, []netip.Addr{s.Server}) {
			t.Errorf("%s: got %s, gateway %v; want %s", entry, got, s.Gateway, want)
		}
	}
}

func TestNoneLeavesAnOptionOut(t *testing.T) {
	s := mustParse(t, dhcpOn("dhcp: {lan: {range: 192.168.1.9, gateway: none, dns: none, ntp: none}}\n")).DHCP.Subnets[0]
	if s.Gateway != nil || s.DNS != nil || s.NTP != nil {
		t.Errorf("got %v %v %v", s.Gateway, s.DNS, s.NTP)
	}
}

func TestARelayHasAShortForm(t *testing.T) {
	for _, relay := range []string{"10.0.0.5", "[10.0.0.5]", "{servers: 10.0.0.5}"} {
		d := mustParse(t, dhcpOn("dhcp: {lan: {relay: "+relay+"}}\n")).DHCP
		if want := []DHCPRelay{{Port: "lan", Servers: addresses("10.0.0.5"), MaxHops: 10, Pos: Pos{7, 8}}}; !reflect.DeepEqual(d.Relays, want) || len(d.Subnets) != 0 {
			t.Errorf("%s: got %+v", relay, d)
		}
	}
}

func TestOneClientMayHaveOneNameInSeveralNetworks(t *testing.T) {
	d := mustParse(t, dhcpOn(`dhcp:
  lan: {reservations: [{mac: "02:00:00:00:00:01", address: 192.168.1.5, name: laptop}]}
  two: {reservations: [{mac: "02:00:00:00:00:01", address: 10.1.0.5, name: laptop}]}
`)).DHCP
	if len(d.Subnets) != 2 || d.Subnets[1].Reservations[0].Name != "laptop" {
		t.Errorf("got %+v", d)
	}
}

func TestAddressByDHCP(t *testing.T) {
	schema := resolved(t)
	mac := DefaultMAC("r1", "up")
	plain := DHCPClient{ClientID: append([]byte{1}, mac[:]...), Check: true, DefaultRoute: true, Routes: true, Distance: 210, DNS: true}
	off, text, octets, whole := plain, plain, plain, DHCPClient{
		ClientID: plain.ClientID, Hostname: "router", Vendor: "x", Requests: []uint8{42, 150}, Broadcast: true, Distance: 5, Release: true, LeaseTime: time.Hour,
	}
	off.ClientID, text.ClientID, octets.ClientID = nil, []byte("\x00mine"), []byte{0xff, 1}
	for client, want := range map[string]DHCPClient{
		"": plain, ", dhcp_client: {}": plain, ", dhcp_client: {client_id: mac}": plain, ", dhcp_client: {client_id: off}": off,
		", dhcp_client: {client_id: mine}": text, ", dhcp_client: {client_id: 'hex:ff01'}": octets,
		", dhcp_client: {hostname: Router, vendor: x, request: [42, 150], broadcast: true, check: false, default_route: false, routes: false, distance: 5, dns: false, release: true, lease: 1h}": whole,
	} {
		source := "name: r1\nports:\n  up: {address: dhcp" + client + "}\n"
		p := mustParse(t, source).Ports[0]
		if p.DHCP == nil || !reflect.DeepEqual(*p.DHCP, want) || len(p.Address) != 0 {
			t.Errorf("%s: got %+v, want %+v", client, p.DHCP, want)
		}
		if err := schema.Validate(asJSON(t, source)); err != nil {
			t.Errorf("%s: it is right, but the schema says: %v", client, err)
		}
	}
}

// TestSectionsUseAnAddressThatComesLater names a port with a client wherever a port with an address is wanted.
func TestSectionsUseAnAddressThatComesLater(t *testing.T) {
	c := mustParse(t, `ports:
  lan: {address: 192.168.1.1/24}
  up: {address: dhcp, host: {address: 203.0.113.1/24}}
routes:
  - {to: 10.9.0.0/16, via: 203.0.113.1, port: up}
  - {to: 10.10.0.0/16, via: 10.9.0.1}
neighbors: [{port: up, address: 203.0.113.1, mac: "02:00:00:00:00:01"}]
rip: {ports: {up: {neighbors: 203.0.113.1}}}
nat: [{out: up, type: masquerade}]
forwards: [{in: up, protocol: tcp, port: 80, to: 192.168.1.5}, {in: up, protocol: tcp, port: 81, to: 172.16.0.1}]
firewall: {zones: {out: {ports: up}, in: {ports: lan}}, policy: [{from: in, to: out, action: accept}]}
dhcp: {lan: {relay: 198.51.100.1}}
dns: {listen: lan}
`)
	if !c.DNS.UpstreamDHCP || len(c.Forwards) != 2 || c.Ports[1].Host == nil {
		t.Errorf("got %+v", c)
	}
}

func TestHomeLetsRequestsInWhereHostsOutsideAreServed(t *testing.T) {
	const source = "ports: {lan: {address: 192.168.1.1/24}, wan: {address: 192.0.2.1/24}}\nnat: [{out: wan, type: masquerade}]\nfirewall: home\ndhcp: {%: {relay: 192.0.2.5}}\n"
	names := func(port string) string {
		var all []string
		for _, r := range mustParse(t, strings.Replace(source, "%", port, 1)).Firewall.Rules {
			all = append(all, r.Name)
		}
		return strings.Join(all, " ")
	}
	if got := names("lan") + ", " + names("wan"); got != "ping, ping dhcp" {
		t.Errorf("got %q", got)
	}
}

func TestChangesOfDHCPAreTold(t *testing.T) {
	old := dhcpOn(wholeDHCP)
	for _, k := range []struct{ from, to, want string }{
		{wholeDHCP, "", "dhcp removed"},
		{", 192.168.1.50]", "]", "dhcp: lan: range 192.168.1.50 192.168.1.100-192.168.1.199 -> 192.168.1.100-192.168.1.199"},
		{"min_lease: 2s", "min_lease: 1m", "dhcp: lan: min_lease 2s -> 1m"},
		{"max_lease: infinite\n    renew: 1h", "renew: 3599s", "dhcp: lan: max_lease infinite -> none; dhcp: lan: renew 1h -> 59m59s"},
		{"gateway: [192.168.1.1, 192.168.1.2]", "gateway: none", "dhcp: lan: gateway 192.168.1.1 192.168.1.2 -> none"},
		{"26: 1400", "26: 1500", "dhcp: lan: options 12: hex:78, 26: hex:0578 -> 12: hex:78, 26: hex:05dc"},
		{"name: Printer", "name: scanner", "dhcp: lan: reservation 192.168.1.5: name printer -> scanner"},
		{"address: 192.168.1.6", "address: 192.168.1.7", "dhcp: lan: reservation 192.168.1.6 removed; dhcp: lan: reservation 192.168.1.7 added"},
		{`client_id: "text"`, `client_id: "hex:0001"`, "dhcp: lan: reservation 192.168.1.110: client_id text -> hex:0001"},
		{"vendor: Acme Phone", "vendor: Acme", `dhcp: lan: pool phones: vendor "Acme Phone" -> "Acme"`},
		{"inspection: drop", "inspection: log", "dhcp: lan: inspection drop -> log"},
		{"max_hops: 4", "max_hops: 5", "dhcp: relay two: max_hops 4 -> 5"},
		{", 10.0.0.6]", "]", "dhcp: relay two: servers 10.0.0.5 10.0.0.6 -> 10.0.0.5"},
		{"  branch: {network: 10.5.0.0/24, range: 10.5.0.2-10.5.0.9, gateway: none}\n", "", "dhcp: branch removed"},
		{"decline_hold: 5m", "decline_hold: 6m", "dhcp_server: decline_hold 5m -> 6m"},
		{"[192.168.1.100 - 192.168.1.199, 192.168.1.50]", "[192.168.1.50, 192.168.1.100-192.168.1.199]", ""},
		{"  lan: {address: 192.168.1.1/24}", "  lan: {address: dhcp}", "-"},
	} {
		if !strings.Contains(old, k.from) {
			t.Fatalf("%q is not in the text", k.from)
		}
		changed := strings.Replace(old, k.from, k.to, 1)
		if k.want == "-" {
			if _, err := Parse("r1.yaml", []byte(changed)); err == nil {
				t.Errorf("%q to %q: it is accepted", k.from, k.to)
			}
			continue
		}
		if got := strings.Join(Changes(mustParse(t, old), mustParse(t, changed)), "; "); got != k.want {
			t.Errorf("%q to %q: got %q, want %q", k.from, k.to, got, k.want)
		}
	}
	if got, want := Changes(mustParse(t, dhcpOn("")), mustParse(t, old)), []string{"dhcp added, for lan, branch, two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChangesOfAClientAreTold(t *testing.T) {
	const plain = "name: r1\nports:\n  up: {address: dhcp}\n"
	for changed, want := range map[string]string{
		"name: r1\nports:\n  up: {address: dhcp, dhcp_client: {check: true}}\n":                          "",
		"name: r1\nports:\n  up: {address: dhcp, dhcp_client: {client_id: off, hostname: a}}\n":          "port up: dhcp_client: client_id hex:01" + strings.ReplaceAll(DefaultMAC("r1", "up").String(), ":", "") + " -> none; port up: dhcp_client: hostname none -> a",
		"name: r1\nports:\n  up: {address: dhcp, dhcp_client: {request: [1, 2], distance: 1}}\n":         "port up: dhcp_client: request none -> 1 2; port up: dhcp_client: distance 210 -> 1",
		"name: r1\nports:\n  up: {address: 10.0.0.1/24}\n":                                               "port up: address dhcp -> 10.0.0.1/24",
		"name: r1\nports:\n  up: {address: dhcp, dhcp_client: {dns: false, release: true, lease: 1h}}\n": "port up: dhcp_client: dns true -> false; port up: dhcp_client: release false -> true; port up: dhcp_client: lease none -> 1h",
	} {
		if got := strings.Join(Changes(mustParse(t, plain), mustParse(t, changed)), "; "); got != want {
			t.Errorf("%s: got %q, want %q", changed, got, want)
		}
	}
}

func TestOptionsAreEncodedByTheirKind(t *testing.T) {
	schema := resolved(t)
	routes := []byte{8, 10, 192, 168, 1, 2, 0, 192, 168, 1, 1, 32, 172, 16, 0, 1, 0, 0, 0, 0}
	for value, want := range map[string][]byte{
		"42: 192.168.1.1":                   {192, 168, 1, 1},
		"ntp_servers: [10.0.0.1, 10.0.0.2]": {10, 0, 0, 1, 10, 0, 0, 2},
		"1: 255.255.255.0":                  {255, 255, 255, 0},
		"26: 1400":                          {5, 120},
		"2: -3600":                          {255, 255, 241, 240},
		"24: 4294967295":                    {255, 255, 255, 255},
		"25: [68, 1500]":                    {0, 68, 5, 220},
		"23: 64":                            {64},
		"19: true":                          {1},
		"19: false":                         {0},
		"33: [10.0.0.0, 10.1.0.1]":          {10, 0, 0, 0, 10, 1, 0, 1},
		"66: boot.home.arpa":                []byte("boot.home.arpa"),
		"66: 7":                             []byte("7"),
		"66: hex:00ff":                      {0, 255},
		"26: hex:0102:03":                   nil,
		"26: hex:01:02":                     {1, 2},
		"119: [Home.arpa, a]":               []byte("\x04home\x04arpa\x00\x01a\x00"),
		`121: ["10.0.0.0/8 via 192.168.1.2", {to: default, via: 192.168.1.1}, {to: 172.16.0.1/32, via: 0.0.0.0}]`: routes,
		`121: 10.0.0.0/8 via 192.168.1.2`:               {8, 10, 192, 168, 1, 2},
		"43: {1: 10.0.0.1, 2: text, 3: 300, 4: hex:ff}": []byte("\x01\x04\x0a\x00\x00\x01\x02\x04text\x03\x02\x01\x2c\x04\x01\xff"),
		"43: hex:0102":              {1, 2},
		"224: 10.0.0.1":             {10, 0, 0, 1},
		"224: [10.0.0.1, 10.0.0.2]": {10, 0, 0, 1, 10, 0, 0, 2},
		"224: 255":                  {255},
		"224: 256":                  {1, 0},
		"224: 65536":                {0, 1, 0, 0},
		"224: -1":                   {255, 255, 255, 255},
		"224: [1, 2]":               {1, 2},
		"224: [1, 300]":             {0, 1, 1, 44},
		"224: true":                 {1},
		"224: some text":            []byte("some text"),
		"224: 01:02:ff":             {1, 2, 255},
		"224: '10'":                 []byte("10"),
	} {
		source := dhcpOn("dhcp:\n  lan:\n    range: 192.168.1.9\n    options:\n      " + value + "\n")
		c, err := Parse("r1.yaml", []byte(source))
		if (err == nil) != (want != nil) {
			t.Errorf("%s: got %v", value, err)
			continue
		}
		if err != nil {
			continue
		}
		for code, got := range c.DHCP.Subnets[0].Options {
			if string(got) != string(want) {
				t.Errorf("%s: option %d is %v, want %v", value, code, got, want)
			}
		}
		if err := schema.Validate(asJSON(t, source)); err != nil {
			t.Errorf("%s: it is right, but the schema says: %v", value, err)
		}
	}
}

func TestNamesAndNumbersOfOptionsAreApart(t *testing.T) {
	codes, names := make(map[uint8]bool), make(map[string]bool)
	for _, def := range optionDefs() {
		if codes[def.code] || names[def.name] || ownOption(def.code) != "" {
			t.Errorf("%+v stands twice, or cannot be given", def)
		}
		codes[def.code], names[def.name] = true, true
	}
	if len(slices.Collect(maps.Keys(codes))) < 60 {
		t.Errorf("%d options", len(codes))
	}
}

func TestEditingRoutesLeavesDHCPAlone(t *testing.T) {
	section := "# the house\n\n" + wholeDHCP + "dns: {listen: lan, records: {nas: 192.168.1.9}}\n"
	d, err := NewDocument("r1.yaml", []byte(dhcpOn(section)))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AddRoute(Route{To: netip.MustParsePrefix("192.0.2.0/24"), Type: Blackhole}); err != nil {
		t.Fatal(err)
	}
	if err := d.SetPortEnabled("core", false); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(d.Text(), section) {
		t.Errorf("the sections changed:\n%s", d.Text())
	}
}

// TestTheInterfacesExampleIsRead holds what users were promised.
func TestTheInterfacesExampleIsRead(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## DHCP\n")
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	s := mustParse(t, dhcpOn(example+"dns: {listen: [lan], domain: home.arpa, upstream: [9.9.9.9]}\n")).DHCP.Subnets[0]
	if s.Lease != 12*time.Hour || s.Domain != "home.arpa" || string(s.Options[42]) != "\xc0\xa8\x01\x01" || s.Reservations[0].Name != "printer" {
		t.Errorf("got %+v", s)
	}
}
