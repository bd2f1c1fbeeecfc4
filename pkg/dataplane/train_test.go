package dataplane

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// takesTrains lets the devices of the test bed take super-frames of UDP.
func takesTrains(t *Tables) {
	for id := portA; id < numPorts; id++ {
		if at := t.Ports[id].Attachment; at.vnet {
			at.TakesTrains()
		}
	}
}

// lone is a datagram as a host's stack hands it out: whole, with an open checksum.
func lone(id uint16, data []byte, change ...packetOption) (packet.IPv4, packet.Vnet) {
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 4000, 5000, data), change...)
	ip.SetID(id)
	ip.UpdateHeaderChecksum()
	return ip, partial(ip, 6)
}

// burst lets packets arrive before the worker looks, and drains the port.
func (b *testbed) burst(id PortID, frames ...[]byte) {
	b.t.Helper()
	for _, f := range frames {
		if _, err := unix.Write(b.host[id], f); err != nil {
			b.t.Fatal(err)
		}
	}
	b.drain(id)
}

// unpacked are the packets that left by a port, each as the receiver's stack will see it.
func (b *testbed) unpacked(id PortID) (packets []packet.IPv4, frames int) {
	b.t.Helper()
	for {
		s, ok := b.take(id)
		if !ok {
			return packets, frames
		}
		frames++
		p := &work{buf: make([]byte, bufferLen), vnet: s.vnet}
		p.end = headroom + copy(p.buf[headroom:], s.ip)
		if !s.vnet.IsSuper() {
			complete(p)
			packets = append(packets, bytes.Clone(p.ip()))
			continue
		}
		b.w.eachSegment(p, func(one *work) { packets = append(packets, bytes.Clone(one.ip())) })
	}
}

func frameOf(ip packet.IPv4, v packet.Vnet) []byte { return frameFor(portA, ip, v) }

func TestDatagramsOfOneFlowLeaveAsOneTrain(t *testing.T) {
	b := newTestbed(t, takesTrains)
	var frames [][]byte
	for i := range 20 {
		frames = append(frames, frameOf(lone(uint16(100+i), bytes.Repeat([]byte{byte(i)}, 22))))
	}
	b.burst(portA, frames...)
	s, ok := b.take(portB)
	if !ok || s.vnet.GSOType != packet.GSOUDPL4 || s.vnet.GSOSize != 22 || len(s.ip) != udpHeaders+20*22 || s.ip.TotalLen() != len(s.ip) {
		t.Fatalf("left: %+v, %d octets; want one train of 20 datagrams", s.vnet, len(s.ip))
	}
	if s.ip.TTL() != 63 || packet.UDP(s.ip.Payload()).Length() != 8+20*22 {
		t.Errorf("header: ttl %d, UDP length %d", s.ip.TTL(), packet.UDP(s.ip.Payload()).Length())
	}
	if c := b.d.Counters(); c.TrainsMade != 1 || c.Aboard != 20 {
		t.Errorf("counted %d trains of %d datagrams", c.TrainsMade, c.Aboard)
	}
	port := b.d.Tables().Ports[portB].Attachment.Counters()
	if port.TxPackets != 20 || port.TxBytes != 20*50 {
		t.Errorf("the port has sent %d packets of %d octets, want 20 of 1000", port.TxPackets, port.TxBytes)
	}
}

// Whatever is mixed, the receiver must see what it would see without trains, in the same order for each port.
func TestTrainsHoldWhatWouldHaveLeftOneByOne(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for run := range 300 {
		with, without := newTestbed(t, takesTrains), newTestbed(t)
		id := uint16(r.Uint32())
		var frames [][]byte
		size := 1 + r.IntN(1200)
		for range 1 + r.IntN(batch) {
			if r.IntN(6) == 0 {
				size = 1 + r.IntN(1200)
			}
			n := size
			if r.IntN(8) == 0 {
				n = 1 + r.IntN(size)
			}
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			ip, v := lone(id, data)
			id++
			switch r.IntN(14) {
			case 0:
				ip.SetTOS(4)
			case 1:
				ip.SetTTL(17)
			case 2:
				id += 5
			case 3:
				ip.SetFlagsFragment(packet.FlagDF)
			case 4:
				packet.UDP(ip.Payload()).SetDstPort(5001) // the open sum is of the pseudo-header alone
			case 5: // a finished checksum
				p := &work{buf: append(make([]byte, headroom), ip...), end: headroom + len(ip), vnet: v}
				complete(p)
				v = packet.Vnet{}
				ip = p.ip()
			case 6:
				ip.SetDst(addr("10.3.0.2")) // by another port
				v = partial(ip, 6)
			case 7:
				ip, v = superUDP(hostA, hostB, make([]byte, 3000), 1000)
			}
			ip.UpdateHeaderChecksum()
			frames = append(frames, frameOf(ip, v))
		}
		with.burst(portA, frames...)
		without.burst(portA, frames...)
		for id := portA; id < numPorts; id++ {
			got, n := with.unpacked(id)
			want, m := without.unpacked(id)
			if len(got) != len(want) || n > m {
				t.Fatalf("run %d, port %d: %d packets in %d frames, want %d in at most %d", run, id, len(got), n, len(want), m)
			}
			for i := range got {
				if want[i].DontFragment() { // what it means nothing in may differ
					got[i].SetID(want[i].ID())
					got[i].UpdateHeaderChecksum()
				}
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("run %d, port %d, packet %d:\n% x, want\n% x", run, id, i, got[i][:40], want[i][:40])
				}
			}
			a, c := with.d.Tables().Ports[id].Attachment.Counters(), without.d.Tables().Ports[id].Attachment.Counters()
			if a != c {
				t.Fatalf("run %d, port %d counted %+v, want %+v", run, id, a, c)
			}
		}
	}
}

func TestATrainEndsWithAShorterDatagram(t *testing.T) {
	b := newTestbed(t, takesTrains)
	b.burst(portA, frameOf(lone(1, make([]byte, 100))), frameOf(lone(2, make([]byte, 50))), frameOf(lone(3, make([]byte, 50))))
	if packets, frames := b.unpacked(portB); len(packets) != 3 || frames != 2 {
		t.Errorf("%d packets in %d frames, want 3 in 2: nobody follows the shorter one", len(packets), frames)
	}
}

func TestALoneDatagramLeavesAsItCame(t *testing.T) {
	b := newTestbed(t, takesTrains)
	b.burst(portA, frameOf(lone(1, make([]byte, 100))))
	s, ok := b.take(portB)
	if !ok || s.vnet.IsSuper() || s.vnet.Flags&packet.VnetNeedsChecksum == 0 || len(s.ip) != 128 {
		t.Errorf("left: %v %+v, %d octets", ok, s.vnet, len(s.ip))
	}
}

func TestTrainsKeepWithinWhatAPacketHolds(t *testing.T) {
	b := newTestbed(t, takesTrains)
	var frames [][]byte
	for i := range batch {
		frames = append(frames, frameOf(lone(uint16(i), make([]byte, 1400))))
	}
	b.burst(portA, frames...)
	packets, n := b.unpacked(portB)
	if len(packets) != batch || n != 2 {
		t.Errorf("%d packets of 1,428 octets left in %d frames, want %d in 2", len(packets), n, batch)
	}
}

func TestWhoCapturesSeesEachDatagram(t *testing.T) {
	tap := &Tap{C: make(chan Tapped, 100)}
	tap.Stages[StageTx] = true
	b := newTestbed(t, takesTrains, func(t *Tables) { t.Taps = &Taps{List: []*Tap{tap}} })
	b.burst(portA, frameOf(lone(1, make([]byte, 22))), frameOf(lone(2, make([]byte, 22))))
	if len(tap.C) != 2 {
		t.Errorf("the capture has %d packets, want 2", len(tap.C))
	}
	if _, n := b.unpacked(portB); n != 2 {
		t.Errorf("%d frames while somebody captures, want 2", n)
	}
}

func TestADeviceThatRefusesATrainGetsItsDatagrams(t *testing.T) {
	b := newTestbed(t, takesTrains)
	at := b.d.Tables().Ports[portB].Attachment
	b.w.begin()
	for i := range 3 {
		ip, v := lone(uint16(i), make([]byte, 22))
		p := &b.w.pkt
		*p = work{buf: b.w.buf, end: headroom, in: portA, vnet: v}
		p.end += copy(p.buf[headroom:], ip)
		b.w.ip4Lookup(p)
	}
	p := b.w.train.couple()
	b.w.unload(&p, &b.w.train) // as depart does for EINVAL
	b.w.end()
	if packets, n := b.unpacked(portB); len(packets) != 3 || n != 3 {
		t.Errorf("%d packets in %d frames, want 3 in 3", len(packets), n)
	}
	if at.trains.Load() {
		t.Error("the next train would be tried again")
	}
}

func TestWaitingAllocatesNothing(t *testing.T) {
	b := newTestbed(t, takesTrains)
	f := frameOf(lone(1, make([]byte, 22)))
	buf := make([]byte, 70000)
	b.burst(portA, f, f)
	if n := testing.AllocsPerRun(200, func() {
		unix.Write(b.host[portA], f)
		unix.Write(b.host[portA], f)
		b.drain(portA)
		unix.Read(b.host[portB], buf)
	}); n != 0 {
		t.Errorf("%v allocations for a train", n)
	}
}
