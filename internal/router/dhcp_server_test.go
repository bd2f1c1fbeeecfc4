package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/leases"
	"vrouterd/internal/packet"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/server"
)

// A home whose hosts get their addresses from the router.
const served = home + `dhcp:
  lan: {range: 192.168.1.100-192.168.1.199, lease: 1h, probe: false}
`

func TestTwoHostsGetDifferentAddressesAndTheRoutersOwn(t *testing.T) {
	l := runHome(t, served)
	w := stationsOn(t, l, "lan")
	one, two := w.station(1), w.station(2)
	a, b := one.joins(), two.joins()
	if a.YIAddr == b.YIAddr || a.YIAddr < ip4("192.168.1.100") || b.YIAddr > ip4("192.168.1.199") {
		t.Errorf("%v and %v", a.YIAddr, b.YIAddr)
	}
	if a.Addr(dhcp.OptionRouter) != ip4("192.168.1.1") || a.Addr(dhcp.OptionServerID) != ip4("192.168.1.1") || a.Addr(dhcp.OptionDNS) != ip4("192.168.1.1") ||
		a.Addr(dhcp.OptionSubnetMask) != ip4("255.255.255.0") {
		t.Errorf("%+v", a.Options)
	}
	if n, _ := a.Uint32(dhcp.OptionLeaseTime); n != 3600 {
		t.Errorf("for %d s", n)
	}
	if again := one.joins(); again.YIAddr != a.YIAddr {
		t.Errorf("it had %v and gets %v", a.YIAddr, again.YIAddr)
	}
	if e := l.happens("dhcp_lease_bound"); e.Subject != b.YIAddr.String() || e.Fields["mac"] != two.mac.String() || e.Fields["subnet"] != "lan" {
		t.Errorf("%+v", e)
	}
}

func TestAnOfferGoesToTheHardwareAddressWithoutARP(t *testing.T) {
	l := runHome(t, served)
	s := stationsOn(t, l, "lan").station(1)
	s.send(s.message(dhcp.Discover), 0, 0)
	offer := s.next(dhcp.Offer)
	if offer.eth != s.mac || offer.dst != offer.YIAddr || offer.src != ip4("192.168.1.1") || offer.port != dhcp.ClientPort {
		t.Errorf("to %v, %v -> %v port %d", offer.eth, offer.src, offer.dst, offer.port)
	}
	m := s.message(dhcp.Discover)
	m.Flags = dhcp.BroadcastFlag
	s.send(m, 0, 0)
	if offer = s.next(dhcp.Offer); offer.eth != packet.BroadcastMAC || offer.dst != packet.Broadcast {
		t.Errorf("asked for by broadcast, to %v, %v", offer.eth, offer.dst)
	}
}

func TestARenewalIsAnsweredByUnicastAndLosesNoPacket(t *testing.T) {
	l := runHome(t, served)
	s := stationsOn(t, l, "lan").station(1)
	a := s.joins().YIAddr
	for range 3 {
		s.send(s.renewal(), a, ip4("192.168.1.1"))
		ack := s.next(dhcp.ACK)
		if ack.dst != a || ack.eth != s.mac || ack.YIAddr != a {
			t.Errorf("to %v at %v for %v", ack.dst, ack.eth, ack.YIAddr)
		}
	}
	s.send(s.renewal(), a, packet.Broadcast) // rebinding
	s.next(dhcp.ACK)
	if d := l.dropped("broadcast"); d != 0 {
		t.Errorf("%d broadcasts dropped", d)
	}
}

func TestFirewallHomeServesHostsInsideAndNobodyOutside(t *testing.T) {
	l := runHome(t, served+"firewall: home\n")
	inside, outside := stationsOn(t, l, "lan").station(1), stationsOn(t, l, "wan").station(2)
	inside.joins()
	inside.send(inside.renewal(), inside.addr, ip4("192.168.1.1"))
	inside.next(dhcp.ACK)
	outside.send(outside.message(dhcp.Discover), 0, 0)
	outside.silent("from outside")
	if l.dropped("firewall_drop") == 0 {
		t.Error("what came from outside is not counted at the firewall")
	}
	l.apply(served + "  wan: {range: 203.0.113.100-203.0.113.110, probe: false}\nfirewall: home\n")
	outside.joins() // who asks for it is served
}

// slowDisk is a journal whose disk a test holds up.
type slowDisk struct {
	mu      sync.Mutex
	groups  [][]server.Lease
	waiting []func(error)
	pass    bool
}

func (d *slowDisk) Append(list []server.Lease, done func(error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.groups = append(d.groups, slices.Clone(list))
	if d.pass {
		go done(nil)
		return nil
	}
	d.waiting = append(d.waiting, done)
	return nil
}

func (d *slowDisk) Counters() leases.Counters { return leases.Counters{} }
func (d *slowDisk) Close() error              { d.answer(nil); return nil }

func (d *slowDisk) answer(err error) (n int) {
	d.mu.Lock()
	waiting := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	for _, f := range waiting {
		f(err)
	}
	return len(waiting)
}

// has waits until the disk has been asked for so many groups.
func (d *slowDisk) asked(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d groups", n), func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.groups) >= n
	})
}

func onDisk(t *testing.T, d *slowDisk, text string) *lab {
	l := newLab(t, homeHosts(), Options{StateDir: t.TempDir(), openJournal: func(string, *Router) (leaseJournal, []server.Lease, error) { return d, nil, nil }})
	l.begin(text)
	return l
}

func TestAnAcknowledgementLeavesWhenItsLeaseIsOnDisk(t *testing.T) {
	d := &slowDisk{}
	l := onDisk(t, d, served)
	s := stationsOn(t, l, "lan").station(1)
	s.send(s.message(dhcp.Discover), 0, 0)
	offer := s.next(dhcp.Offer) // offers wait for nothing
	s.send(s.selects(offer), 0, 0)
	d.asked(t, 1)
	s.silent("while the disk is busy")
	l.pings(l.host("lan"), "192.168.1.1") // nothing else waits
	d.answer(nil)
	if ack := s.next(dhcp.ACK); ack.YIAddr != offer.YIAddr {
		t.Errorf("%v", ack.YIAddr)
	}
	if got := d.groups[0]; len(got) != 1 || got[0].Addr != offer.YIAddr || got[0].State != server.Bound {
		t.Errorf("%+v", got)
	}
}

func TestALeaseThatTheDiskRefusesIsNotAcknowledged(t *testing.T) {
	d := &slowDisk{}
	l := onDisk(t, d, served)
	s := stationsOn(t, l, "lan").station(1)
	s.send(s.message(dhcp.Discover), 0, 0)
	offer := s.next(dhcp.Offer)
	s.send(s.selects(offer), 0, 0)
	d.asked(t, 1)
	d.answer(errors.New("no space left on device"))
	s.silent("refused by the disk")
	if e := l.happens("dhcp_journal_failed"); !strings.Contains(e.Message, "no space left") {
		t.Errorf("%+v", e)
	}
	if rows := l.DHCP(); !strings.Contains(rows[0].Reason, "no space left") {
		t.Errorf("the table says %q", rows[0].Reason)
	}
	s.send(s.selects(offer), 0, 0)
	d.asked(t, 2)
	d.answer(errors.New("no space left on device"))
	d.mu.Lock()
	d.pass = true
	d.mu.Unlock()
	s.joins()
	l.happens("dhcp_journal_recovered")
	failures := 0
	ctx, cancel := contextFor(t, time.Second)
	defer cancel()
	past, _ := l.Events(ctx)
	for _, e := range past {
		if e.Kind == "dhcp_journal_failed" {
			failures++
		}
	}
	if failures != 1 || l.DHCP()[0].Reason != "" {
		t.Errorf("told of %d times: a disk that goes on refusing is no news; then the table says %q", failures, l.DHCP()[0].Reason)
	}
}

func TestLeasesSurviveARestartAndAReload(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, homeHosts(), Options{StateDir: dir})
	l.begin(served)
	s := stationsOn(t, l, "lan").station(1)
	a := s.joins().YIAddr
	l.apply(served + "routes: [{to: 10.0.0.0/8, via: 192.168.1.2}]\n")
	s.send(s.renewal(), a, ip4("192.168.1.1"))
	s.next(dhcp.ACK)
	l.stop()

	l = newLab(t, homeHosts(), Options{StateDir: dir})
	l.begin(served)
	w := stationsOn(t, l, "lan")
	back, other := w.station(1), w.station(2)
	back.has(a)
	other.send(func() *dhcp.Message {
		m := other.message(dhcp.Discover)
		m.Options.SetAddr(dhcp.OptionRequestedAddress, a)
		return m
	}(), 0, 0)
	if offer := other.next(dhcp.Offer); offer.YIAddr == a {
		t.Error("another gets the address of a lease that is on disk")
	}
	back.send(back.renewal(), a, ip4("192.168.1.1"))
	if ack := back.next(dhcp.ACK); ack.YIAddr != a {
		t.Errorf("%v", ack.YIAddr)
	}
}

func TestClientsBehindARelayAreServed(t *testing.T) {
	l := runHome(t, home+`routes: [{to: 10.7.0.0/24, via: 192.168.5.5}]
dhcp:
  far: {network: 10.7.0.0/24, range: 10.7.0.10-10.7.0.20, gateway: 10.7.0.1, probe: false}
`)
	w := stationsOn(t, l, "srv")
	s := w.station(1)
	relayed := func(m *dhcp.Message) {
		m.GIAddr, m.Hops = ip4("10.7.0.1"), 1
		s.datagram(w.gw, ip4("10.7.0.1"), ip4("192.168.5.1"), dhcp.ServerPort, dhcp.ServerPort, m.Append(nil))
	}
	w.mu.Lock()
	w.server = s // answers to the relay go to port 67
	w.mu.Unlock()
	relayed(s.message(dhcp.Discover))
	offer := s.next(dhcp.Offer)
	if offer.dst != ip4("10.7.0.1") || offer.port != dhcp.ServerPort || offer.YIAddr < ip4("10.7.0.10") || offer.YIAddr > ip4("10.7.0.20") {
		t.Errorf("%v offered to %v port %d", offer.YIAddr, offer.dst, offer.port)
	}
	relayed(s.selects(offer))
	if ack := s.next(dhcp.ACK); ack.YIAddr != offer.YIAddr || ack.dst != ip4("10.7.0.1") {
		t.Errorf("%v to %v", ack.YIAddr, ack.dst)
	}
}

func TestRequestsAreCarriedToAServerElsewhereAndAnswersBack(t *testing.T) {
	l, far := homeServed(t, homePorts+`dhcp:
  lan: {relay: {servers: 203.0.113.9, option_82: true}}
`, Options{})
	s := stationsOn(t, l, "lan").station(1)
	answer := func(want, kind dhcp.Type) {
		t.Helper()
		m := far.next(want)
		if m.src != ip4("192.168.1.1") || m.GIAddr != ip4("192.168.1.1") || m.Hops != 1 || m.dst != far.addr || len(m.Options[dhcp.OptionRelayAgent]) == 0 {
			t.Errorf("%v from %v: %+v", want, m.src, m.Message)
		}
		back := &dhcp.Message{Op: dhcp.BootReply, HType: 1, HLen: 6, XID: m.XID, CHAddr: m.CHAddr, GIAddr: m.GIAddr, YIAddr: ip4("192.168.1.33"), Options: dhcp.Options{
			dhcp.OptionMessageType: {byte(kind)}, dhcp.OptionRelayAgent: m.Options[dhcp.OptionRelayAgent],
		}}
		back.Options.SetAddr(dhcp.OptionServerID, far.addr)
		far.datagram(far.w.gw, far.addr, m.GIAddr, dhcp.ServerPort, dhcp.ServerPort, back.Append(nil))
	}
	s.send(s.message(dhcp.Discover), 0, 0)
	answer(dhcp.Discover, dhcp.Offer)
	offer := s.next(dhcp.Offer)
	if offer.YIAddr != ip4("192.168.1.33") || offer.eth != s.mac || offer.Options[dhcp.OptionRelayAgent] != nil {
		t.Errorf("%+v at %v", offer.Message, offer.eth)
	}
	m := s.selects(offer)
	m.GIAddr = 0
	s.send(m, 0, 0)
	answer(dhcp.Request, dhcp.ACK)
	s.next(dhcp.ACK)
	if m := l.DHCP()[0].Messages; len(m) != 2 || m[0] != (api.DHCPMessages{Type: "requests", Received: 2, Sent: 2}) || m[1].Sent != 2 {
		t.Errorf("carried, says the table: %+v", m)
	}
}

func TestAnAddressThatAnswersARPIsNotOffered(t *testing.T) {
	l := runHome(t, home+"dhcp: {lan: {range: 192.168.1.100-192.168.1.101, lease: 1h}}\n")
	w := stationsOn(t, l, "lan")
	squatter, s := w.station(1), w.station(2)
	squatter.has(ip4("192.168.1.100"))
	m := s.message(dhcp.Discover)
	m.Options.SetAddr(dhcp.OptionRequestedAddress, ip4("192.168.1.100"))
	s.send(m, 0, 0)
	var offer heard
	eventually(t, "an offer", func() bool {
		select {
		case offer = <-s.got:
			return true
		default:
			s.send(m, 0, 0) // as clients do
			return false
		}
	})
	if offer.YIAddr != ip4("192.168.1.101") {
		t.Errorf("%v is offered", offer.YIAddr)
	}
}

func TestAnAddressThatAnswersPingBehindARelayIsNotOffered(t *testing.T) {
	l := runHome(t, home+`routes: [{to: 10.7.0.0/24, via: 192.168.5.77}]
dhcp:
  far: {network: 10.7.0.0/24, range: 10.7.0.10-10.7.0.11, gateway: 10.7.0.1}
`)
	w := stationsOn(t, l, "srv")
	s := w.station(1)
	s.has(ip4("192.168.5.77")) // the relay, and all that is behind it
	w.mu.Lock()
	w.server = s
	w.mu.Unlock()
	w.h.OnFrame(func(f []byte) bool {
		ip := packet.IPv4(f[packet.EthernetLen:])
		if packet.Ethernet(f).Type() == packet.EtherTypeIPv4 && ip.Protocol() == packet.ProtoICMP && ip.Dst() == ip4("10.7.0.10") {
			back := appendEcho(nil, ip.Dst(), ip.Src(), uint16(packet.ICMP(ip.Payload()).Rest()>>16), 1)
			m := packet.ICMP(packet.IPv4(back).Payload())
			m.SetType(packet.ICMPEchoReply)
			m.SetChecksum(0)
			m.SetChecksum(^packet.Fold(packet.Sum(m, 0)))
			frame := make([]byte, packet.EthernetLen, 64)
			packet.Ethernet(frame).SetDst(w.gw)
			packet.Ethernet(frame).SetSrc(s.mac)
			packet.Ethernet(frame).SetType(packet.EtherTypeIPv4)
			w.h.SendFrame(append(frame, back...))
			return true
		}
		return w.frame(f)
	})
	m := s.message(dhcp.Discover)
	m.GIAddr, m.Hops = ip4("10.7.0.1"), 1
	m.Options.SetAddr(dhcp.OptionRequestedAddress, ip4("10.7.0.10"))
	s.datagram(w.gw, ip4("10.7.0.1"), ip4("192.168.5.1"), dhcp.ServerPort, dhcp.ServerPort, m.Append(nil))
	if offer := s.next(dhcp.Offer); offer.YIAddr != ip4("10.7.0.11") {
		t.Errorf("%v is offered", offer.YIAddr)
	}
}

func TestAServerThatIsConfiguredAnewKnowsItsLeases(t *testing.T) {
	l := newLab(t, homeHosts(), Options{StateDir: t.TempDir()})
	l.begin(served)
	w := stationsOn(t, l, "lan")
	s := w.station(1)
	a := s.joins().YIAddr
	l.apply(home)
	s.send(s.renewal(), a, ip4("192.168.1.1"))
	s.silent("without a server")
	l.apply(served)
	s.send(s.renewal(), a, ip4("192.168.1.1"))
	s.next(dhcp.ACK)
}

func TestAJournalThatCannotBeOpenedKeepsTheServerFromGivingAddressesAway(t *testing.T) {
	broken := true
	l := newLab(t, homeHosts(), Options{StateDir: t.TempDir(), openJournal: func(string, *Router) (leaseJournal, []server.Lease, error) {
		if broken {
			return nil, nil, errors.New("another process has it")
		}
		return &slowDisk{pass: true}, nil, nil
	}})
	l.begin(served)
	s := stationsOn(t, l, "lan").station(1)
	s.send(s.message(dhcp.Discover), 0, 0)
	s.silent("without a journal")
	if e := l.happens("dhcp_journal_failed"); !strings.Contains(e.Message, "another process has it") {
		t.Errorf("%+v", e)
	}
	if rows := l.DHCP(); rows[0].State != "down" || rows[0].Reason == "" {
		t.Errorf("%+v", rows)
	}
	expectError(t, l.DeleteLease(tester, "192.168.1.9"), "conflict", "another process has it")
	l.do(func() { broken, l.dhcp.retryAt = false, time.Now() })
	eventually(t, "the server is there", func() bool { return l.DHCP()[0].State == "up" })
	s.joins()
}

func TestLeasesOfDnsmasqAreTaken(t *testing.T) {
	l := runHome(t, served)
	_, err := l.ImportLeases(tester, "this is no line\n")
	expectError(t, err, "usage", "line 1")
	done, err := l.ImportLeases(tester, fmt.Sprintf("%d 02:00:00:00:00:01 192.168.1.150 laptop 01:02:00:00:00:00:01\n%d 02:00:00:00:00:02 10.9.9.9 elsewhere *\n",
		time.Now().Add(time.Hour).Unix(), time.Now().Add(time.Hour).Unix()))
	if err != nil || done.Imported != 1 || done.Refused != 1 || done.Refusals[0].Address != "10.9.9.9" {
		t.Fatalf("%+v, %v", done, err)
	}
	s := stationsOn(t, l, "lan").station(1)
	m := s.message(dhcp.Discover)
	m.Options[dhcp.OptionClientID] = []byte{1, 2, 0, 0, 0, 0, 1}
	s.send(m, 0, 0)
	if offer := s.next(dhcp.Offer); offer.YIAddr != ip4("192.168.1.150") {
		t.Errorf("%v is offered", offer.YIAddr)
	}
}

func TestTenThousandHardwareAddressesAreBoundedAndCounted(t *testing.T) {
	l := runHome(t, served+"dhcp_server: {max_leases: 50}\n")
	w := stationsOn(t, l, "lan")
	s := w.station(1)
	for i := range 10_000 {
		flood := &station{w: w, mac: packet.MAC{6, 6, 6, byte(i >> 16), byte(i >> 8), byte(i)}}
		flood.send(flood.message(dhcp.Discover), 0, 0)
		if i%100 == 0 {
			l.do(func() {})
		}
	}
	eventually(t, "the flood is over", func() bool { return l.counter("punts_waiting") == 0 })
	l.do(func() {
		if n := len(l.dhcp.server.Leases(time.Now())); n > 100 {
			t.Errorf("%d leases and offers are kept", n)
		}
	})
	l.pings(l.host("lan"), "203.0.113.9")
	_ = s
}

func TestInspectionDoesNotBelieveWhatContradictsTheLeases(t *testing.T) {
	l := runHome(t, home+"dhcp: {lan: {range: 192.168.1.100-192.168.1.199, probe: false, inspection: drop}}\n")
	w := stationsOn(t, l, "lan")
	s, thief := w.station(1), w.station(2)
	a := s.joins().YIAddr
	claim := func(who *station) {
		m := arp.Message{Op: arp.OpRequest, SenderMAC: who.mac, SenderAddr: a, TargetAddr: ip4("192.168.1.1")}
		w.h.SendFrame(m.AppendFrame(nil, packet.BroadcastMAC, who.mac))
	}
	claim(s)
	eventually(t, "the client is known", func() bool { return l.neighborState("lan", a.String()) != "" })
	claim(thief)
	eventually(t, "the thief is counted", func() bool { return l.dropped("arp_inspection") == 1 })
	for _, n := range l.Neighbors() {
		if n.Address == a.String() && n.MAC != s.mac.String() {
			t.Errorf("the thief is believed: %+v", n)
		}
	}
	if e := l.happens("dhcp_arp_contradiction"); e.Fields["mac"] != thief.mac.String() {
		t.Errorf("%+v", e)
	}
}

func TestAPoolThatRunsDryIsToldAndRecovers(t *testing.T) {
	l := runHome(t, home+"dhcp: {lan: {range: 192.168.1.100, probe: false}}\n")
	w := stationsOn(t, l, "lan")
	one, two := w.station(1), w.station(2)
	one.joins()
	two.send(two.message(dhcp.Discover), 0, 0)
	l.happens("dhcp_pool_exhausted")
	m := one.message(dhcp.Release)
	m.CIAddr = one.addr
	m.Options.SetAddr(dhcp.OptionServerID, ip4("192.168.1.1"))
	one.send(m, one.addr, ip4("192.168.1.1"))
	l.happens("dhcp_lease_released")
	two.joins()
	l.happens("dhcp_pool_recovered")
}
