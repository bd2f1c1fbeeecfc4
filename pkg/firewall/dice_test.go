package firewall

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// dice make configurations and packets, out of a fuzzer's bytes as long as there are any, then out of a seed. Values come from small worlds, so that rules and
// packets meet.
type dice struct {
	random *rand.Rand
	data   []byte // first these
}

func seeded(seed uint64) *dice { return &dice{random: rand.New(rand.NewPCG(seed, 1))} }

func (d *dice) n(n int) int {
	if len(d.data) == 0 {
		return d.random.IntN(n)
	}
	v := int(d.data[0])
	d.data = d.data[1:]
	if n > 256 && len(d.data) > 0 {
		v = v<<8 | int(d.data[0])
		d.data = d.data[1:]
	}
	return v % n
}

// one in n.
func (d *dice) one(n int) bool { return d.n(n) == n-1 }

func (d *dice) addr() packet.Addr {
	switch d.n(8) {
	case 0:
		return packet.Addr(d.n(65536)<<16 | d.n(65536))
	case 1:
		return [...]packet.Addr{0, ^packet.Addr(0), 0x0a000000, 0x0affffff}[d.n(4)]
	}
	return 0x0a000000 | packet.Addr(d.n(2)<<16|d.n(2)<<8|d.n(8))
}

func (d *dice) prefixes() (out []netip.Prefix) {
	for range 1 + d.n(3) {
		bits := []int{32, 31, 30, 29, 24, 16, 8, 1, 0, 25}[d.n(10)]
		out = append(out, netip.PrefixFrom(addr4(d.addr()), bits)) // host bits may be set
	}
	return out
}

func (d *dice) port() uint16 {
	return [...]uint16{80, 443, 79, 81, 0, 65535, 1024, 5060, 22, 8080, 1023}[d.n(11)]
}

func (d *dice) ports() (out []PortRange) {
	for range 1 + d.n(3) {
		a, b := d.port(), d.port()
		if d.n(2) == 0 {
			b = a
		}
		out = append(out, PortRange{min(a, b), max(a, b)})
	}
	return out
}

func (d *dice) protocol() uint8 { return [...]uint8{6, 17, 1, 6, 17, 47, 132, 50, 0, 255}[d.n(10)] }

func (d *dice) match(sets int) Match {
	m := Any()
	if d.n(2) == 0 {
		m.Source, m.NotSource = d.prefixes(), d.one(4)
	}
	if d.n(2) == 0 {
		m.Destination, m.NotDestination = d.prefixes(), d.one(4)
	}
	set := func() string {
		if sets == 0 || !d.one(6) {
			return ""
		}
		name := fmt.Sprint("set", d.n(sets))
		if d.n(2) == 0 {
			name = "!" + name
		}
		return name
	}
	m.SourceSet, m.DestinationSet = set(), set()
	switch d.n(8) {
	case 0, 1:
		m.Protocol = [...]uint8{0, 6, 17, 132}[d.n(4)]
		m.DestPorts = d.ports()
		if d.one(3) {
			m.SourcePorts = d.ports()
		}
	case 2:
		m.Protocol = 1
		m.ICMPType = [...]int{8, 0, 3, -1}[d.n(4)]
		if d.one(3) {
			m.ICMPCode = d.n(3)
		}
	case 3:
		m.TCPMask = uint8(d.n(256))
		m.TCPFlags = uint8(d.n(256)) & m.TCPMask
	case 4:
		m.Protocol = d.protocol()
	}
	if d.one(6) {
		m.States = State(d.n(allStates + 1))
	}
	if d.one(10) {
		m.DSCP = [...]int{0, 46, 63}[d.n(3)]
	}
	if d.one(10) {
		m.LengthMin = d.n(4) * 300
		m.LengthMax = max(d.n(5)*300, m.LengthMin)
	}
	return m
}

func (d *dice) rule(zones, sets int, access bool) Rule {
	r := Rule{Match: d.match(sets), Action: Action(d.n(int(numActions))), Log: d.one(3)}
	if d.one(4) {
		r.Name = fmt.Sprint("rule", d.n(1000))
	}
	zone := func() string {
		switch x := d.n(zones + 3); {
		case x < zones:
			return fmt.Sprint("zone", x)
		case x == zones:
			return RouterZone
		}
		return ""
	}
	if !access {
		r.From, r.To = zone(), zone()
		if d.one(8) {
			r.MaxHost = 1 + d.n(3)
		}
	} else if port := uint16(1 + d.n(5)); d.n(2) == 0 {
		r.In = port
	} else {
		r.Out = port
	}
	if d.one(8) {
		r.Rate = &Rate{Packets: []int{1, 2, 10, 100}[d.n(4)], Per: []time.Duration{time.Second, time.Minute, time.Hour}[d.n(3)], Burst: d.n(5), PerHost: d.n(2) == 0}
		r.Over = d.n(2) == 0
	}
	if sets > 0 && d.one(8) {
		r.AddTo = fmt.Sprint("set", d.n(sets))
		r.AddFor = time.Duration(d.n(30)) * time.Second / 10
	}
	return r
}

func (d *dice) config(rules int) Config {
	var c Config
	zones, sets := d.n(4), d.n(3)
	for z := range zones {
		zone := Zone{Name: fmt.Sprint("zone", z), Ports: []uint16{uint16(z + 1)}}
		if z == 0 && d.n(2) == 0 {
			zone.Ports = append(zone.Ports, 7)
		}
		c.Zones = append(c.Zones, zone)
	}
	for s := range sets {
		set := Set{Name: fmt.Sprint("set", s), Timeout: time.Duration(d.n(3)) * time.Second}
		if d.n(2) == 0 {
			set.Prefixes = d.prefixes()
		}
		c.Sets = append(c.Sets, set)
	}
	for from := -1; from < zones; from++ {
		for to := -1; to < zones; to++ {
			if !d.one(3) {
				continue
			}
			name := func(i int) string {
				if i < 0 {
					return RouterZone
				}
				return fmt.Sprint("zone", i)
			}
			c.Pairs = append(c.Pairs, Pair{From: name(from), To: name(to), Action: Action(d.n(int(numActions))), Log: d.one(3)})
		}
	}
	for range d.n(rules + 1) {
		c.Rules = append(c.Rules, d.rule(zones, sets, false))
	}
	for range d.n(rules + 1) {
		c.Access = append(c.Access, d.rule(zones, sets, true))
	}
	return c
}

func (d *dice) packet() Packet {
	k := Packet{
		Key: conntrack.MakeKey(d.protocol(), d.addr(), 0, d.addr(), 0),
		In:  uint16(d.n(8)), Out: uint16(d.n(8)),
	}
	if k.Key.Protocol == 1 || hasPorts(k.Key.Protocol) {
		k.Key.SrcPort, k.Key.DstPort = d.port(), d.port()
	}
	d.perPacket(&k)
	return k
}

// perPacket throws what may differ between packets of one key.
func (d *dice) perPacket(k *Packet) {
	k.State = [...]State{0, New, Invalid, Forwarded, Mapped, Related, Established, New}[d.n(8)]
	k.ICMPType, k.ICMPCode = [...]uint8{8, 0, 3, 11}[d.n(4)], uint8(d.n(3))
	k.TCPFlags = uint8(d.n(256))
	k.DSCP = [...]uint8{0, 46, 63, 10}[d.n(4)]
	k.Length = 20 + d.n(1480)
	k.Count, k.Segment = d.n(4), 0
	if k.Count > 1 {
		k.Segment = d.n(k.Length)
	}
}
