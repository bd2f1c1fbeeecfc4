package router

import (
	"bytes"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/arp"
)

const homeOfErrors = `name: r1
ports:
  lan: {address: 192.168.1.1/24}
  srv: {address: 192.168.5.1/24, mtu: 600}
  wan: {address: 203.0.113.1/24, mtu: 1000}
icmp: {rate: 0, per_destination: 0}
nat: [{out: wan, type: masquerade}]
forwards:
  - {in: wan, protocol: udp, port: 53, to: 192.168.5.5}
  - {in: wan, protocol: udp, port: 54, to: 192.168.5.77}
`

// What the router itself reports about translated packets: whoever sent them gets back what it has sent, from the address of the
// router on its side. Outside never learns of an address within. (RFC 5508 section 4.2, RFC 1812 section 4.3.2)
func TestErrorsOfTheRouterAboutTranslatedPackets(t *testing.T) {
	l := runHome(t, homeOfErrors)
	l.quick(arp.Config{Retransmit: 20 * time.Millisecond})
	lan, wan := l.host("lan"), l.host("wan")
	isError := func(ip packet.IPv4) bool {
		return ip.Protocol() == packet.ProtoICMP && packet.ICMP(ip.Payload()).IsError()
	}
	l.pings(lan, "203.0.113.9")
	l.pings(lan, "192.168.5.5")
	seen := map[string]<-chan packet.IPv4{"lan": taken(lan, isError), "wan": taken(wan, isError)}
	const within, without = "192.168.1.2:5000", "203.0.113.9:6000"
	for _, c := range []struct {
		what, from, src, dst string
		size                 int
		ttl                  uint8
		df                   bool
		kind, code           uint8
		rest                 uint32
	}{
		{"TTL of what goes out", "lan", within, "203.0.113.9:53", 10, 1, false, packet.ICMPTimeExceeded, packet.ICMPTTLExceeded, 0},
		{"TTL of what comes in", "wan", without, "203.0.113.1:53", 10, 1, false, packet.ICMPTimeExceeded, packet.ICMPTTLExceeded, 0},
		{"too big for outside", "lan", within, "203.0.113.9:53", 1100, 64, true, packet.ICMPUnreachable, packet.ICMPFragNeeded, 1000},
		{"too big for inside", "wan", without, "203.0.113.1:53", 700, 64, true, packet.ICMPUnreachable, packet.ICMPFragNeeded, 600},
		{"nobody there outside", "lan", within, "203.0.113.77:53", 10, 64, false, packet.ICMPUnreachable, packet.ICMPHostUnreachable, 0},
		{"nobody there inside", "wan", without, "203.0.113.1:54", 10, 64, false, packet.ICMPUnreachable, packet.ICMPHostUnreachable, 0},
		{"no service of the router's", "wan", without, "203.0.113.1:55", 10, 64, false, 0, 0, 0},
	} {
		for _, known := range []bool{false, true} { // the session
			h := l.host(c.from)
			if known {
				h.SendPacket(udp(c.src, c.dst, nil))
			}
			ip := packet.IPv4(udp(c.src, c.dst, pattern(c.size)))
			ip.SetTTL(c.ttl)
			if c.df {
				ip.SetFlagsFragment(packet.FlagDF)
			}
			ip.UpdateHeaderChecksum()
			h.SendPacket(ip)
			if c.kind == 0 {
				continue // in silence: an answer would tell of the service that is not there
			}
			for {
				got := next(t, c.what, seen[c.from])
				m := packet.ICMP(got.Payload())
				quoted := packet.IPv4(m.Payload())
				if packet.Checksum(m) != 0 || packet.Checksum(quoted.Header()) != 0 {
					t.Fatalf("%s: a wrong checksum", c.what)
				}
				if quoted.TotalLen() != len(ip) {
					continue // about the packet that made the session
				}
				if want := map[string]string{"lan": "192.168.1.1", "wan": "203.0.113.1"}[c.from]; got.Src().String() != want {
					t.Errorf("%s: from %v, expected %s", c.what, got.Src(), want)
				}
				if m.Type() != c.kind || m.Code() != c.code || m.Rest() != c.rest {
					t.Errorf("%s: type %d, code %d, %d", c.what, m.Type(), m.Code(), m.Rest())
				}
				if !bytes.Equal(quoted, ip[:len(quoted)]) {
					t.Errorf("%s: quotes %s, expected %s", c.what, flowOf(quoted), flowOf(ip))
				}
				break
			}
		}
	}
	l.pings(wan, "203.0.113.1")
	for {
		select {
		case got := <-seen["wan"]:
			if bytes.Contains(got, []byte{192, 168}) {
				t.Errorf("outside is told of an inside address: %s", flowOf(got))
			}
			continue
		default:
		}
		break
	}
}
