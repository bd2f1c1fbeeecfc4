package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

func TestChangesAreTold(t *testing.T) {
	old := mustParse(t, `
name: r1
ports:
  lan: {address: 10.1.0.1/24, comment: old}
  wan: {address: 192.0.2.1/30}
  gone: {}
routes:
  - {to: default, via: 192.0.2.2}
  - {to: 10.2.0.0/16, via: [10.1.0.2, 10.1.0.3]}
  - {to: 10.3.0.0/16, via: 10.1.0.2}
neighbors:
  - {port: lan, address: 10.1.0.9, mac: 02:00:00:00:00:09}
  - {port: lan, address: 10.1.0.8, mac: 02:00:00:00:00:08}
`)
	new := mustParse(t, `
name: r1
routes:
  - {to: 10.2.0.0/16, via: [10.1.0.3, 10.1.0.2], comment: turned}
  - {to: 10.3.0.0/16, via: 10.1.0.2, metric: 5}
  - {to: 0.0.0.0/0, via: 192.0.2.2}
neighbors:
  - {port: lan, address: 10.1.0.9, mac: 02:00:00:00:00:0a}
  - {port: lan, address: 10.1.0.7, mac: 02:00:00:00:00:07}
ports:
  new: {kind: tun}
  wan: {address: [192.0.2.1/30, 198.51.100.1/31], bridge: {name: br0, members: [eth1]}, mss_clamp: auto}
  lan: {address: 10.1.0.1/24, mtu: 1400, enabled: false, host: {address: 10.1.0.2/24}, offload: off}
icmp: {rate: 5}
arp: {reachable: 1m}
`)
	want := []string{
		"port gone removed",
		"port new added",
		"port wan: address 192.0.2.1/30 -> 192.0.2.1/30 198.51.100.1/31",
		"port wan: bridge none -> br0",
		"port wan: bridge members none -> eth1",
		"port wan: mss_clamp off -> auto",
		"port lan: mtu 1500 -> 1400",
		"port lan: offload auto -> off",
		"port lan: host address none -> 10.1.0.2/24",
		"port lan: enabled true -> false",
		"port lan: comment \"old\" -> none",
		"route 10.2.0.0/16 via 10.1.0.3, 10.1.0.2: comment none -> \"turned\"",
		"route 10.3.0.0/16 via 10.1.0.2 removed",
		"route 10.3.0.0/16 via 10.1.0.2 metric 5 added",
		"neighbour 10.1.0.9 port lan: mac 02:00:00:00:00:09 -> 02:00:00:00:00:0a",
		"neighbour 10.1.0.8 port lan removed",
		"neighbour 10.1.0.7 port lan added",
		"icmp: rate 1000 -> 5",
		"arp: reachable 30s -> 1m",
	}
	if got := Changes(old, new); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTextThatMeansTheSameIsNoChange(t *testing.T) {
	a := mustParse(t, "name: r1\nports:\n  lan: {address: 10.1.0.1/24}\n")
	b := mustParse(t, "# text\nports: {lan: {mtu: 1500, kind: tap, device: lan, address: [10.1.0.1/24], enabled: true}}\nroutes: []\n")
	if got := Changes(a, b); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// everything is the sections of NAT and firewall with something in each list.
const everything = `nat: [{out: lan, type: masquerade}, {out: lan, type: one_to_one, inside: 10.1.0.20, outside: 10.1.0.21}]
forwards: [{in: lan, protocol: tcp, port: 80, to: 10.1.0.9}]
port_mapping: {ports: [wan]}
firewall:
  zones: {inner: {ports: [wan, lan]}}
  sets: {bad: {addresses: [10.66.0.0/16]}}
  rules: [{from: inner, source: 10.0.0.0/8, destination: 10.0.0.0/8, rate: 10/s, protocol: tcp, flags: "fin,rst,!ack", max_sessions: 5, action: accept}]
  policy: [{from: inner, to: router, action: accept}]
  access: [{in: lan, protocol: tcp, flags: "fin,rst", source: 10.0.0.0/8, destination: 10.0.0.0/8, action: accept}]
dhcp:
  wan: {range: 10.3.0.100-10.3.0.199, pools: [{name: phones, vendor: Acme, range: 10.3.0.10}], reservations: [{mac: "02:00:00:00:00:05", address: 10.3.0.5}]}
  lan: {relay: 10.1.0.53}
dns: {listen: [wan], upstream: [10.1.0.53], records: {a: 10.3.0.9}}
`

// TestNoFieldIsForgotten sets every field of the border types, one at a time, and expects to
// be told of it; a field that comes later is found here.
func TestNoFieldIsForgotten(t *testing.T) {
	silent := []string{"Pos", "Peer"}
	base := mustParse(t, "name: r1\nports:\n  lan: {address: 10.1.0.1/24}\n  wan: {address: 10.3.0.1/24}\n  up: {address: dhcp}\nroutes: [{to: default, via: 10.1.0.2}]\nneighbors: [{port: lan, address: 10.1.0.9, mac: 02:00:00:00:00:09}]\n"+
		"rip: {keys: {k: {type: md5, keys: [{id: 1, secret: a}]}}, prefix_lists: {l: [{prefix: 10.0.0.0/8}]}, ports: {lan: {auth: k, offset_in: 1}}, redistribute: {static: {}}}\n"+everything)
	check := func(what string, changed *Config, field reflect.Value) {
		name := what
		if field.Kind() == reflect.Struct && field.NumField() == 0 {
			return
		}
		old := reflect.New(field.Type()).Elem()
		old.Set(field)
		if !disturb(field) {
			t.Errorf("%s: the test cannot change a %s", name, field.Type())
			return
		}
		if len(Changes(base, changed)) == 0 {
			t.Errorf("a change of %s is not told", name)
		}
		field.Set(old)
	}
	fields := func(what string, changed *Config, v reflect.Value) {
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; !slices.Contains(silent, name) {
				check(what+"."+name, changed, v.Field(i))
			}
		}
	}
	copied := *base
	copied.Ports, copied.Routes, copied.Neighbors = slices.Clone(base.Ports), slices.Clone(base.Routes), slices.Clone(base.Neighbors)
	fields("Port", &copied, reflect.ValueOf(&copied.Ports[0]).Elem())
	fields("Route", &copied, reflect.ValueOf(&copied.Routes[0]).Elem())
	fields("Neighbor", &copied, reflect.ValueOf(&copied.Neighbors[0]).Elem())
	fields("ICMP", &copied, reflect.ValueOf(&copied.ICMP).Elem())
	fields("Forwarding", &copied, reflect.ValueOf(&copied.Forwarding).Elem())
	fields("ARP", &copied, reflect.ValueOf(&copied.ARP).Elem())
	fields("Control", &copied, reflect.ValueOf(&copied.Control).Elem())
	rip := *base.RIP
	copied.RIP = &rip
	rip.Ports, rip.Static = slices.Clone(rip.Ports), &RIPRedistribute{}
	rip.Ports[0].OffsetIn = slices.Clone(rip.Ports[0].OffsetIn)
	rip.Keys = []RIPKeyChain{rip.Keys[0]}
	rip.Keys[0].Keys = slices.Clone(rip.Keys[0].Keys)
	rip.PrefixLists = []PrefixList{rip.PrefixLists[0]}
	rip.PrefixLists[0].Rules = slices.Clone(rip.PrefixLists[0].Rules)
	fields("RIP", &copied, reflect.ValueOf(&rip).Elem())
	fields("RIP.Timers", &copied, reflect.ValueOf(&rip.Timers).Elem())
	fields("RIP.Static", &copied, reflect.ValueOf(rip.Static).Elem())
	fields("RIP.DefaultRoute", &copied, reflect.ValueOf(&rip.DefaultRoute).Elem())
	fields("RIPPort", &copied, reflect.ValueOf(&rip.Ports[0]).Elem())
	fields("RIPOffset", &copied, reflect.ValueOf(&rip.Ports[0].OffsetIn[0]).Elem())
	fields("RIPKeyChain", &copied, reflect.ValueOf(&rip.Keys[0]).Elem())
	fields("RIPKey", &copied, reflect.ValueOf(&rip.Keys[0].Keys[0]).Elem())
	fields("PrefixList", &copied, reflect.ValueOf(&rip.PrefixLists[0]).Elem())
	fields("PrefixRule", &copied, reflect.ValueOf(&rip.PrefixLists[0].Rules[0]).Elem())
	copied.NAT = slices.Clone(base.NAT)
	for i := range copied.NAT {
		fields("NATRule", &copied, reflect.ValueOf(&copied.NAT[i]).Elem())
	}
	copied.Forwards = slices.Clone(base.Forwards)
	fields("Forward", &copied, reflect.ValueOf(&copied.Forwards[0]).Elem())
	fields("Sessions", &copied, reflect.ValueOf(&copied.Sessions).Elem())
	mapping := *base.PortMapping
	copied.PortMapping = &mapping
	fields("PortMapping", &copied, reflect.ValueOf(&mapping).Elem())
	firewall := *base.Firewall
	copied.Firewall = &firewall
	firewall.Zones, firewall.Sets, firewall.Policy = slices.Clone(firewall.Zones), slices.Clone(firewall.Sets), slices.Clone(firewall.Policy)
	firewall.Rules, firewall.Access = slices.Clone(firewall.Rules), slices.Clone(firewall.Access)
	fields("Firewall", &copied, reflect.ValueOf(&firewall).Elem())
	fields("Zone", &copied, reflect.ValueOf(&firewall.Zones[0]).Elem())
	fields("AddressSet", &copied, reflect.ValueOf(&firewall.Sets[0]).Elem())
	fields("ZonePolicy", &copied, reflect.ValueOf(&firewall.Policy[0]).Elem())
	fields("FirewallRule", &copied, reflect.ValueOf(&firewall.Rules[0]).Elem())
	fields("FirewallRule", &copied, reflect.ValueOf(&firewall.Access[0]).Elem())
	rate := *base.Firewall.Rules[0].Rate
	firewall.Rules[0].Rate = &rate
	fields("RuleRate", &copied, reflect.ValueOf(&rate).Elem())
	dhcp, dns, client := *base.DHCP, *base.DNS, *base.Ports[2].DHCP
	copied.DHCP, copied.DNS, copied.Ports[2].DHCP = &dhcp, &dns, &client
	dhcp.Subnets, dhcp.Relays = slices.Clone(dhcp.Subnets), slices.Clone(dhcp.Relays)
	dhcp.Subnets[0].Pools, dhcp.Subnets[0].Reservations = slices.Clone(dhcp.Subnets[0].Pools), slices.Clone(dhcp.Subnets[0].Reservations)
	dns.Upstreams, dns.Records = slices.Clone(dns.Upstreams), slices.Clone(dns.Records)
	fields("DHCP", &copied, reflect.ValueOf(&dhcp).Elem())
	fields("DHCPSubnet", &copied, reflect.ValueOf(&dhcp.Subnets[0]).Elem())
	fields("DHCPPool", &copied, reflect.ValueOf(&dhcp.Subnets[0].Pools[0]).Elem())
	fields("DHCPReservation", &copied, reflect.ValueOf(&dhcp.Subnets[0].Reservations[0]).Elem())
	fields("DHCPRelay", &copied, reflect.ValueOf(&dhcp.Relays[0]).Elem())
	fields("DHCPClient", &copied, reflect.ValueOf(&client).Elem())
	fields("DNS", &copied, reflect.ValueOf(&dns).Elem())
	fields("DNSUpstream", &copied, reflect.ValueOf(&dns.Upstreams[0]).Elem())
	fields("DNSRecord", &copied, reflect.ValueOf(&dns.Records[0]).Elem())
	fields("Config", &copied, reflect.ValueOf(&copied).Elem())
}

// disturb gives a field another value.
func disturb(v reflect.Value) bool {
	switch v.Interface().(type) {
	case packet.MAC:
		v.Set(reflect.ValueOf(packet.MAC{2, 9}))
		return true
	case *Bridge:
		v.Set(reflect.ValueOf(&Bridge{Name: "br9"}))
		return true
	case *Host:
		v.Set(reflect.ValueOf(&Host{Address: prefixes("10.1.0.77/24")}))
		return true
	case *RIP, *RIPRedistribute, *RIPKeyChain, *PortMapping, *Firewall, *RuleRate, *DHCP, *DNS, *DHCPClient:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		} else {
			v.SetZero()
		}
		return true
	case *PrefixList:
		v.Set(reflect.ValueOf(&PrefixList{Name: "other"}))
		return true
	case []RIPOffset:
		v.Set(reflect.ValueOf([]RIPOffset{{Metric: 9}}))
		return true
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)))
		return true
	case []RIPPort, []RIPKeyChain, []RIPKey, []PrefixList, []PrefixRule, []NATRule, []Forward, []Zone, []AddressSet, []ZonePolicy, []FirewallRule,
		[]DHCPSubnet, []DHCPRelay, []DHCPPool, []DHCPReservation, []DNSUpstream, []DNSRecord:
		v.SetZero()
		return true
	case []string:
		v.Set(reflect.ValueOf([]string{"other"}))
		return true
	case []uint8:
		v.SetBytes([]byte{0, 'x', 'y'})
		return true
	case map[uint8][]byte:
		v.Set(reflect.ValueOf(map[uint8][]byte{224: {1}}))
		return true
	case []AddressRange:
		v.Set(reflect.ValueOf([]AddressRange{{addresses("10.1.0.7")[0], addresses("10.1.0.8")[0]}}))
		return true
	case []netip.AddrPort:
		v.Set(reflect.ValueOf([]netip.AddrPort{netip.MustParseAddrPort("10.1.0.7:53")}))
		return true
	case []PortRange:
		v.Set(reflect.ValueOf([]PortRange{{7, 9}}))
		return true
	case time.Duration:
		v.SetInt(v.Int()%int64(time.Hour) + int64(time.Minute))
		return true
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 7)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(v.Uint() ^ 5)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		switch v.Interface().(type) {
		case []Port, []Route, []Neighbor:
			v.SetZero()
			return true
		}
		if v.Type() == reflect.TypeOf(addresses()) {
			v.Set(reflect.ValueOf(addresses("10.1.0.99")))
		} else {
			v.Set(reflect.ValueOf(prefixes("10.99.0.0/16")))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeOf(prefixes("10.0.0.0/8")[0]) {
			v.Set(reflect.ValueOf(prefixes("10.99.0.0/16")[0]))
		} else if v.Type() == reflect.TypeOf(addresses("10.0.0.1")[0]) {
			v.Set(reflect.ValueOf(addresses("10.1.0.98")[0]))
		} else {
			return disturb(v.Field(0))
		}
	default:
		return false
	}
	return true
}
