package router

import (
	"encoding/binary"
	"strings"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/pcp"
)

// homeThatIsAsked is a home in which the hosts of lan may ask for mappings.
const homeThatIsAsked = home + "port_mapping: {ports: [lan]}\n"

// isAnswerOrAnnouncement are the datagrams of NAT-PMP and PCP that the router sends.
func isAnswerOrAnnouncement(ip packet.IPv4) bool {
	return ip.Protocol() == packet.ProtoUDP && packet.UDP(ip.Payload()).SrcPort() == pcp.ServerPort
}

// mapTCPByNATPMP asks for port 8080 of a host at outside port 18080.
var mapTCPByNATPMP = []byte{0, 2, 0, 0, 0x1f, 0x90, 0x46, 0xa0, 0, 0, 0x0e, 0x10}

// RFC 6886 section 3.3: no request is accepted that comes from outside, nor one from inside to the outside address.
func TestMappingsAreMadeForRequestsToInsideAddressesOnly(t *testing.T) {
	l := runHome(t, homeThatIsAsked)
	l.pings(l.host("lan"), "192.168.1.1")
	l.pings(l.host("wan"), "203.0.113.1")
	answers := taken(l.host("lan"), func(ip packet.IPv4) bool {
		return isAnswerOrAnnouncement(ip) && ip.Dst().String() == "192.168.1.2" || ip.Protocol() == packet.ProtoICMP
	})
	far := taken(l.host("wan"), func(ip packet.IPv4) bool { return isAnswerOrAnnouncement(ip) || ip.Protocol() == packet.ProtoICMP })
	srv := taken(l.host("srv"), func(ip packet.IPv4) bool { return isAnswerOrAnnouncement(ip) || ip.Protocol() == packet.ProtoICMP })
	mapped := func() (n int) { l.do(func() { n = l.stateful.mappings.Counts().Explicit }); return n }

	l.host("lan").SendPacket(udp("192.168.1.2:40000", "203.0.113.1:5351", mapTCPByNATPMP))
	if ip := next(t, "answer to a request to the outside address", answers); isAnswerOrAnnouncement(ip) {
		t.Errorf("it was answered: %x", []byte(ip))
	}
	l.host("wan").SendPacket(udp("203.0.113.9:40000", "203.0.113.1:5351", mapTCPByNATPMP))
	if ip := next(t, "answer to a request from outside", far); isAnswerOrAnnouncement(ip) {
		t.Errorf("it was answered: %x", []byte(ip))
	}
	l.host("srv").SendPacket(udp("192.168.5.5:40000", "192.168.5.1:5351", mapTCPByNATPMP)) // a port that is not named
	if ip := next(t, "answer to a request by another port", srv); isAnswerOrAnnouncement(ip) {
		t.Errorf("it was answered: %x", []byte(ip))
	}
	if n := mapped(); n != 0 {
		t.Errorf("%d mappings", n)
	}
	l.host("lan").SendPacket(udp("192.168.1.2:40000", "192.168.1.1:5351", mapTCPByNATPMP))
	ip := next(t, "answer to a request to the inside address", answers)
	if !isAnswerOrAnnouncement(ip) || mapped() != 1 {
		t.Fatalf("answered by %x, %d mappings", []byte(ip), mapped())
	}
	if p := packet.UDP(ip.Payload()).Payload(); len(p) != 16 || p[3] != 0 || binary.BigEndian.Uint16(p[10:]) != 18080 {
		t.Errorf("granted % x", p)
	}
}

// RFC 6886 section 3.2.1 and 3.6, RFC 6887 sections 8.5 and 14: hosts are told of a start and of another outside address, in both
// protocols, and the epoch begins anew.
func TestHostsInsideAreToldOfAnotherOutsideAddress(t *testing.T) {
	l := runHome(t, homeThatIsAsked)
	l.pings(l.host("lan"), "192.168.1.1")
	told := taken(l.host("lan"), isAnswerOrAnnouncement)
	far := taken(l.host("wan"), isAnswerOrAnnouncement)
	hear := func(what string, version byte, good func(payload []byte) bool) {
		t.Helper()
		for {
			ip := next(t, what, told)
			u := packet.UDP(ip.Payload())
			if ip.Src().String() != "192.168.1.1" || ip.Dst() != packet.AddrFrom(pcp.Group()) || u.DstPort() != pcp.ClientPort {
				t.Fatalf("from %v to %v port %d", ip.Src(), ip.Dst(), u.DstPort())
			}
			if p := u.Payload(); p[0] == version && good(p) {
				return
			}
		}
	}
	address := func(last byte) func([]byte) bool {
		return func(p []byte) bool { return len(p) == 12 && p[1] == 128 && p[11] == last }
	}
	hear("the address, by NAT-PMP", 0, address(1))
	hear("an announcement by PCP", 2, func(p []byte) bool { return len(p) == 24 && p[1] == 0x80 && p[3] == 0 })
	l.do(func() { l.portMapping.server.ResetEpoch(l.started.Add(-1e12)) }) // as if it had run for a long time
	l.apply(strings.Replace(homeThatIsAsked, "203.0.113.1/24", "203.0.113.77/24", 1))
	hear("the other address, by NAT-PMP", 0, func(p []byte) bool {
		return address(77)(p) && binary.BigEndian.Uint32(p[4:]) < 100
	})
	hear("the epoch, by PCP", 2, func(p []byte) bool { return binary.BigEndian.Uint32(p[8:]) < 100 })
	if len(far) != 0 {
		t.Errorf("outside was told: %x", []byte(<-far))
	}
}
