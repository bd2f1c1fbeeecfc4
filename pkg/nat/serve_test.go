package nat

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func TestPortsAtWhichTheRouterListensAreNobodyElses(t *testing.T) {
	b := newBed(t, []Rule{home()}, Forward{In: wan, Protocol: protocolUDP, PortMin: 80, PortMax: 80, Outside: []packet.Addr{public}, To: host2, ToPort: 80})
	b.p.Serve(protocolUDP, 520)
	if _, port := b.open(udp(host1, 520, server, 53)).outsideOf(); port == 520 {
		t.Error("an inside host has the router's port")
	}
	if made, reason := b.m.Add(b.p, b.now, 0, Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 9, OutsidePort: 520}, true); reason != ReasonTaken {
		t.Errorf("asked for, it was given: %+v, %v", made, reason)
	}
	b.expect(wan, udp(server, 520, public, 520), Unclaimed, 0, 0)
	b.expect(wan, udp(server, 9, public, 80), ToForward, host2, 80)
	// The router itself sends from there, also after a change; of TCP the port is anybody's.
	b.leaves(b.open(udp(public, 520, server, 520)), public, 520)
	p := NewPolicy([]Rule{home()}, nil, []packet.Addr{public, gateway})
	p.Serve(protocolUDP, 520)
	b.m.Retain(p, b.now)
	b.p = p
	b.leaves(b.open(udp(public, 520, remote2, 520)), public, 520)
	b.leaves(b.open(tcp(host1, 520, server, 80)), public, 520)
}

func TestListeningLaterTakesNothingFromLiveSessions(t *testing.T) {
	b := newBed(t, []Rule{home()})
	old := b.open(udp(host1, 520, server, 53))
	b.leaves(old, public, 520)
	p := NewPolicy([]Rule{home()}, nil, []packet.Addr{public, gateway})
	p.Serve(protocolUDP, 520)
	b.m.Retain(p, b.now)
	if !b.m.Stands(p, old.original, old.reply) {
		t.Error("its session is to end")
	}
	b.p = p
	if _, port := b.open(udp(host1, 520, remote2, 53)).outsideOf(); port == 520 {
		t.Error("it opens more of them")
	}
	b.expect(wan, conntrack.MakeKey(protocolUDP, server, 520, public, 520), Filtered, 0, 0)
}
