package dataplane

import (
	"sync/atomic"

	"vrouterd/internal/packet"
)

// Stage is a place on the packet's way at which a capture may look.
type Stage uint8

// The stages, in the order of the way.
const (
	StageRx   Stage = iota // as it came from the device
	StagePunt              // handed to the control plane
	StageDrop              // dropped; the record names the reason
	StageTx                // as it goes to the device

	NumStages
)

var stageNames = [NumStages]string{"rx", "punt", "drop", "tx"}

func (s Stage) String() string { return stageNames[s] }

// ParseStage finds a stage by its name.
func ParseStage(name string) (Stage, bool) {
	for s, n := range stageNames {
		if n == name {
			return Stage(s), true
		}
	}
	return 0, false
}

// Tapped is a copy of a packet at a stage.
type Tapped struct {
	Stage    Stage
	Port     PortID
	Drop     DropReason // at StageDrop
	Segments int        // how many packets a super-frame stands for; 1 otherwise
	GSOSize  int
	Partial  bool   // its checksum is left to the device
	Own      bool   // sent by the router itself
	Ethernet bool   // Frame begins with an Ethernet header
	At       int64  // by the dataplane's clock, nanoseconds
	Frame    []byte // with its link-layer header where the port has one; cut to the snap length
	Length   int    // of the whole frame
}

// tapOctets is how many octets of frames a capture may fall behind: super-frames are large.
const tapOctets = 8 << 20

// Tap is one capture: what it wants to see and where to put it. Whoever takes a
// record from C says so with Took.
type Tap struct {
	Ports   map[PortID]bool // nil: all
	Stages  [NumStages]bool
	Snaplen int // octets of a frame to keep; 0: all
	C       chan Tapped
	held    atomic.Int64 // octets of frames in C
	lost    atomic.Uint64
}

// Took makes room for what follows a record that was taken from C.
func (t *Tap) Took(r *Tapped) { t.held.Add(-int64(len(r.Frame))) }

// Lost counts what did not fit the channel, or was more than tapOctets.
func (t *Tap) Lost() uint64 { return t.lost.Load() }

// Taps are the captures under way.
type Taps struct{ List []*Tap }

// tap shows a packet to the captures that asked for it. The port is the one that the
// record is filed under: the arrival port, or the egress at StageTx.
func (w *worker) tap(stage Stage, p *work, id PortID, reason DropReason, ethernet bool) {
	for _, t := range w.tables.Taps.List {
		if !t.Stages[stage] || t.Ports != nil && !t.Ports[id] {
			continue
		}
		start := headroom
		if ethernet {
			start -= packet.EthernetLen
		}
		frame := p.buf[start:max(start, p.end)]
		n := len(frame)
		if t.Snaplen > 0 {
			n = min(n, t.Snaplen)
		}
		if t.held.Add(int64(n)) > tapOctets {
			t.held.Add(-int64(n))
			t.lost.Add(1)
			continue
		}
		rec := Tapped{
			Stage: stage, Port: id, Drop: reason, Own: p.own, Ethernet: ethernet, At: w.d.clock(),
			Partial: p.partial(), Frame: append(make([]byte, 0, n), frame[:n]...), Length: len(frame),
			Segments: 1,
		}
		if p.vnet.IsSuper() {
			// At every stage but the last the headers may be unchecked, and lie.
			rec.Segments, rec.GSOSize = p.arrived(), int(p.vnet.GSOSize)
		}
		select {
		case t.C <- rec:
		default:
			t.Took(&rec)
			t.lost.Add(1)
		}
	}
}
