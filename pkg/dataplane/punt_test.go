package dataplane

import (
	"bytes"
	"testing"

	"vrouterd/internal/packet"
)

func TestPuntQueueIsBoundedByPackets(t *testing.T) {
	b := newTestbed(t)
	frame := frameFor(portA, ipPacket(hostA, addr("10.1.0.1"), packet.ProtoUDP, numbered(8)))
	for range puntDepth + 50 {
		b.receive(portA, frame)
	}
	if d := b.drops(); d["punt_queue"] != 50 || len(d) != 1 {
		t.Errorf("drops: %v", d)
	}
	c := b.d.Counters()
	if c.PuntsWaiting != puntDepth || c.PuntsWaitedMax != puntDepth || c.Punts[PuntLocal] != puntDepth {
		t.Errorf("waiting %d, at most %d, punted %d", c.PuntsWaiting, c.PuntsWaitedMax, c.Punts[PuntLocal])
	}
	if rx := b.d.tables.Load().Ports[portA].Attachment.Counters(); rx.RxDrops != 50 {
		t.Errorf("%d drops counted at the port", rx.RxDrops)
	}
}

func TestPuntQueueIsBoundedByOctets(t *testing.T) {
	b := newTestbed(t)
	ip, v := superTCP(hostA, addr("10.1.0.1"), packet.TCPAck, nil, numbered(60000), 1448)
	frame := frameFor(portA, ip, v)
	for range 20 {
		b.receive(portA, frame)
	}
	if held := puntBytes / len(ip); b.d.Counters().PuntsWaiting != held || b.drops()["punt_queue"] != uint64(20-held) {
		t.Errorf("%d wait of %d, drops %v", b.d.Counters().PuntsWaiting, held, b.drops())
	}
	for {
		if _, ok := b.d.NextPunt(); !ok {
			break
		}
	}
	b.receive(portA, frame) // what was taken gives room again
	b.punt()
}

func TestFloodOfUnknownNeighboursLeavesRoomForThePortsOwnTraffic(t *testing.T) {
	b := newTestbed(t)
	for i := range 2 * puntDepth {
		b.arrive(portA, ipPacket(hostA, addr("10.2.0.3")+packet.Addr(i%200), packet.ProtoUDP, numbered(8)))
	}
	arp := frameFor(portA, make([]byte, 28))
	arp[packet.VnetLen+12], arp[packet.VnetLen+13] = 8, 6
	b.receive(portA, arp)
	b.arrive(portB, ipPacket(hostB, addr("10.2.0.1"), packet.ProtoUDP, nil))
	if p, _ := b.d.NextPunt(); p.Reason != PuntARP && p.Reason != PuntLocal {
		t.Errorf("first comes %v", p.Reason)
	}
	if p, _ := b.d.NextPunt(); p.Reason != PuntARP && p.Reason != PuntLocal {
		t.Errorf("second comes %v", p.Reason)
	}
	if p, _ := b.d.NextPunt(); p.Reason != PuntResolve {
		t.Errorf("then comes %v", p.Reason)
	}
	if d := b.drops(); d["punt_queue"] != puntDepth {
		t.Errorf("drops: %v", d)
	}
}

func TestPortsTakeTurnsAtThePuntQueue(t *testing.T) {
	b := newTestbed(t)
	for range 100 {
		b.arrive(portA, ipPacket(hostA, addr("10.1.0.1"), packet.ProtoUDP, nil))
	}
	for i := range 10 {
		b.arrive(portB, ipPacket(hostB, addr("10.1.0.1"), packet.ProtoUDP, []byte{byte(i)}))
		b.arrive(portT, ipPacket(addr("10.3.0.2"), addr("10.1.0.1"), packet.ProtoUDP, []byte{byte(i)}))
	}
	count := map[PortID]int{}
	for range 30 {
		p, ok := b.d.NextPunt()
		if !ok {
			t.Fatal("the queue ran dry")
		}
		if p.Port != portA && int(packet.IPv4(p.Packet).Payload()[0]) != count[p.Port] {
			t.Errorf("port %d out of order", p.Port)
		}
		count[p.Port]++
	}
	if count[portA] != 10 || count[portB] != 10 || count[portT] != 10 {
		t.Errorf("of 30 taken: %v", count)
	}
}

func TestPuntRingKeepsItsOrderAsItGrows(t *testing.T) {
	var q puntQueue
	next, oldest := uint32(0), uint32(0)
	push := func(n int) {
		for range n {
			if q.push(Punt{Reason: PuntLocal, Rest: next}) {
				next++
			}
		}
	}
	pop := func(n int) {
		for range n {
			if p, ok := q.pop(0); !ok || p.Rest != oldest {
				t.Fatalf("took %d, %v; want %d", p.Rest, ok, oldest)
			}
			oldest++
		}
	}
	for round := range 300 {
		push(1 + round%7)
		pop(1 + round%6)
	}
	push(2 * puntDepth)
	if now, most := q.depth(); now != puntDepth || most != puntDepth {
		t.Errorf("%d wait, at most %d", now, most)
	}
	pop(puntDepth)
	if _, ok := q.pop(0); ok {
		t.Error("one more came out than went in")
	}
	if q.classes[0].bytes != 0 {
		t.Errorf("%d octets held by nothing", q.classes[0].bytes)
	}
}

func TestBellRingsOnceForManyPunts(t *testing.T) {
	b := newTestbed(t)
	for range 3 {
		b.arrive(portA, ipPacket(hostA, addr("10.1.0.1"), packet.ProtoUDP, nil))
	}
	<-b.d.Bell()
	select {
	case <-b.d.Bell():
		t.Error("it rang twice")
	default:
	}
}

func TestARPIsPuntedWithItsLinkHeader(t *testing.T) {
	b := newTestbed(t)
	for _, dst := range []packet.MAC{packet.BroadcastMAC, routerMAC[portA]} {
		f := frameFor(portA, numbered(46))
		packet.Ethernet(f[packet.VnetLen:]).SetDst(dst)
		packet.Ethernet(f[packet.VnetLen:]).SetType(packet.EtherTypeARP)
		b.receive(portA, f)
		p := b.punt()
		if p.Reason != PuntARP || !p.Ethernet || p.Group != (dst == packet.BroadcastMAC) ||
			packet.Ethernet(p.Link[:]).Src() != hostMAC[portA] || packet.Ethernet(p.Link[:]).Dst() != dst || !bytes.Equal(p.Packet, numbered(46)) {
			t.Errorf("punt %+v", p)
		}
	}
}

func TestUseOfANeighbourIsReportedAgainWhenTheNoticeWasLost(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Adjacencies[adjToB].Watched = true })
	for range puntDepth {
		b.d.own.push(Punt{Reason: PuntUsed})
	}
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, nil)
	b.arrive(portA, ip)
	for {
		if _, ok := b.d.NextPunt(); !ok {
			break
		}
	}
	b.arrive(portA, ip)
	if p := b.punt(); p.Reason != PuntUsed || p.NextHop != hostB {
		t.Errorf("punt %+v", p)
	}
}

func TestWhatWaitsWhenItsPortStopsIsCounted(t *testing.T) {
	b := newTestbed(t)
	at := b.d.tables.Load().Ports[portA].Attachment
	b.arrive(portA, ipPacket(hostA, addr("10.1.0.1"), packet.ProtoUDP, nil))
	b.arrive(portA, ipPacket(hostA, addr("10.2.0.77"), packet.ProtoUDP, nil))
	b.arrive(portA, ipPacket(hostA, addr("9.9.9.9"), packet.ProtoUDP, numbered(8))) // counted as no_route already
	tables := *b.d.tables.Load()
	tables.Ports = append([]Port{}, tables.Ports...)
	tables.Ports[portA].Attachment = nil
	b.d.Publish(&tables)
	b.d.Stop(at)
	b.noPunt()
	if d := b.drops(); d["port_closed"] != 2 || d["no_route"] != 1 || len(d) != 2 {
		t.Errorf("drops: %v", d)
	}
}

// tapped takes the records that wait.
func tapped(tap *Tap) (recs []Tapped) {
	for len(tap.C) > 0 {
		recs = append(recs, <-tap.C)
	}
	return recs
}

func newTap(n int, stages ...Stage) *Tap {
	tap := &Tap{C: make(chan Tapped, n)}
	for _, s := range stages {
		tap.Stages[s] = true
	}
	return tap
}

func withTaps(taps ...*Tap) func(*Tables) {
	return func(t *Tables) { t.Taps = &Taps{List: taps} }
}

func TestCaptureSeesAPacketAtEveryStage(t *testing.T) {
	all := newTap(20, StageRx, StagePunt, StageDrop, StageTx)
	b := newTestbed(t, withTaps(all))
	b.clock = 77
	ip := ipPacket(hostA, addr("10.3.0.2"), packet.ProtoUDP, numbered(20))
	b.arrive(portA, ip)
	recs := tapped(all)
	if len(recs) != 2 || recs[0].Stage != StageRx || recs[0].Port != portA || recs[1].Stage != StageTx || recs[1].Port != portT {
		t.Fatalf("records %+v", recs)
	}
	rx, tx := recs[0], recs[1]
	if !rx.Ethernet || tx.Ethernet {
		t.Errorf("link-layer headers: %v on an Ethernet port, %v on a TUN port", rx.Ethernet, tx.Ethernet)
	}
	if rx.Length != len(ip)+14 || !bytes.Equal(rx.Frame[14:], ip) || rx.At != 77 || rx.Segments != 1 {
		t.Errorf("received %+v", rx)
	}
	if tx.Length != len(ip) || tx.Frame[8] != 63 || tx.Own {
		t.Errorf("sent %+v", tx)
	}
	b.arrive(portA, ipPacket(hostA, addr("10.1.0.1"), packet.ProtoUDP, nil))
	if recs = tapped(all); len(recs) != 2 || recs[1].Stage != StagePunt || recs[1].Port != portA {
		t.Errorf("records %+v", recs)
	}
	b.arrive(portA, ipPacket(hostA, addr("192.0.2.1"), packet.ProtoUDP, nil))
	if recs = tapped(all); len(recs) != 2 || recs[1].Stage != StageDrop || recs[1].Drop != DropBlackhole || recs[1].Port != portA {
		t.Errorf("records %+v", recs)
	}
	b.d.Control().Output(ip)
	if recs = tapped(all); len(recs) != 1 || !recs[0].Own || recs[0].Stage != StageTx {
		t.Errorf("records %+v", recs)
	}
}

func TestCaptureSeesOnlyWhatItAskedFor(t *testing.T) {
	onlyB, short, small := newTap(10, StageRx, StageTx), newTap(10, StageRx), newTap(1, StageRx)
	onlyB.Ports = map[PortID]bool{portB: true}
	short.Snaplen = 20
	b := newTestbed(t, withTaps(onlyB, short, small))
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(100))
	b.arrive(portA, ip)
	b.arrive(portA, ip)
	if recs := tapped(onlyB); len(recs) != 2 || recs[0].Stage != StageTx || recs[0].Port != portB {
		t.Errorf("of port b: %+v", recs)
	}
	if recs := tapped(short); len(recs) != 2 || len(recs[0].Frame) != 20 || recs[0].Length != 134 {
		t.Errorf("snap length: %+v", recs)
	}
	if len(tapped(small)) != 1 || small.Lost() != 1 || b.d.Counters().TapsLost != 1 {
		t.Errorf("%d lost, %d counted", small.Lost(), b.d.Counters().TapsLost)
	}
}

func TestACaptureThatNobodyReadsHoldsBoundedMemory(t *testing.T) {
	slow := newTap(4096, StageRx)
	b := newTestbed(t, withTaps(slow))
	ip, v := superTCP(hostA, addr("192.0.2.1"), packet.TCPAck, nil, numbered(60000), 1000)
	const n = 300 // 18 MB
	for range n {
		b.arrive(portA, ip, v)
	}
	held := 0
	recs := tapped(slow)
	for _, r := range recs {
		held += len(r.Frame)
	}
	if held > tapOctets || held < tapOctets/2 || slow.Lost() != uint64(n-len(recs)) {
		t.Errorf("%d records of %d octets are held, %d were lost; the bound is %d octets", len(recs), held, slow.Lost(), tapOctets)
	}
	b.arrive(portA, ip, v)
	if got := tapped(slow); len(got) != 0 {
		t.Errorf("%d records beyond the bound", len(got))
	}
	for _, r := range recs {
		slow.Took(&r)
	}
	b.arrive(portA, ip, v)
	if got := tapped(slow); len(got) != 1 {
		t.Errorf("%d records once the reader has caught up, want 1", len(got))
	}
}

func TestCaptureTellsOfSuperFrames(t *testing.T) {
	all := newTap(40, StageRx, StageDrop, StageTx)
	b := newTestbed(t, withTaps(all))
	ip, v := superTCP(hostA, hostB, packet.TCPAck, nil, numbered(3000), 1000)
	b.arrive(portA, ip, v)
	for _, r := range tapped(all) {
		if r.Segments != 3 || r.GSOSize != 1000 || !r.Partial {
			t.Errorf("%v: %d segments of %d, partial %v", r.Stage, r.Segments, r.GSOSize, r.Partial)
		}
	}
	ip, v = superTCP(hostA, addr("10.4.0.2"), packet.TCPAck, nil, numbered(3000), 1000)
	b.arrive(portA, ip, v)
	recs := tapped(all)
	if len(recs) != 4 {
		t.Fatalf("%d records, want the super-frame and its three segments", len(recs))
	}
	for _, r := range recs[1:] {
		if r.Segments != 1 || r.Partial || r.Length > 1054 {
			t.Errorf("segment %+v", r)
		}
	}
}

// TestCaptureOfUncheckedSuperFramesReadsNothingBeyondThem is about frames that are
// dropped or punted before their headers are looked at.
func TestCaptureOfUncheckedSuperFramesReadsNothingBeyondThem(t *testing.T) {
	for _, kind := range []uint16{packet.EtherTypeIPv4, packet.EtherTypeARP, 0x86dd} {
		for _, gso := range []uint8{packet.GSOTCPv4, packet.GSOUDPL4, packet.GSOTCPv6, 77} {
			for _, size := range []uint16{0, 1, 1400} {
				for _, n := range []int{0, 1, 13, 20, 33, 60, 1000} {
					for _, mac := range []packet.MAC{routerMAC[portA], {2, 9, 9, 9, 9, 9}} {
						all := newTap(40, StageRx, StagePunt, StageDrop, StageTx)
						b := newFuzzbed(t, all)
						f := frameFor(portA, bytes.Repeat([]byte{0x4f}, n), packet.Vnet{Flags: 1, GSOType: gso, GSOSize: size, HeaderLen: 54})
						packet.Ethernet(f[packet.VnetLen:]).SetDst(mac)
						packet.Ethernet(f[packet.VnetLen:]).SetType(kind)
						b.receive(portA, f)
						if recs := tapped(all); len(recs) != 2 {
							t.Fatalf("%d records", len(recs))
						}
					}
				}
			}
		}
	}
}

func TestStagesHaveNames(t *testing.T) {
	for s := range NumStages {
		if got, ok := ParseStage(s.String()); !ok || got != s {
			t.Errorf("stage %d is called %q, which is %v", s, s, got)
		}
	}
	if _, ok := ParseStage("nowhere"); ok {
		t.Error("there is no such stage")
	}
}

func TestEveryReasonHasANameAndASentence(t *testing.T) {
	seen := map[string]bool{}
	check := func(name, sentence string) {
		if name == "" || sentence == "" || seen[name] {
			t.Errorf("name %q, sentence %q", name, sentence)
		}
		seen[name] = true
	}
	for r := range NumDropReasons {
		check(r.String(), r.Description())
	}
	for r := range NumPuntReasons {
		check("punt "+r.String(), r.Description())
		if r.exception() != (r >= PuntResolve) {
			t.Errorf("%v is in the wrong class", r)
		}
	}
	for k := range Prohibit + 1 {
		check("kind "+k.String(), "-")
	}
}
