package nat

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Release gives back what a session held: the references that Inbound (Target.Mapped) and Outbound (Source.Mapped) have taken
// for it. It is called exactly once for each session with either, from the Ended of the session table, or in the place of
// it when Create has refused, or has returned a session that another worker was quicker to make.
//
// original and reply are the session's keys, as packets of each direction arrive, and say which mappings these are:
//
//	source: outside reply.Dst, reply.DstPort    inside original.Src, original.SrcPort
//	target: outside original.Dst, original.DstPort    inside reply.Src, reply.SrcPort
//
// A hairpin has both, and holds two references. The last reference to a dynamic mapping removes it.
func (m *Mappings) Release(now conntrack.Tick, original, reply conntrack.Key) {
	class, ported := classOf(original.Protocol)
	if !ported {
		return
	}
	m.releaseSource(now, class, &original, &reply)
	if original.Dst != reply.Src || original.DstPort != reply.SrcPort {
		m.releaseTarget(now, class, original.Protocol, original.Dst, original.DstPort, reply.Src, reply.SrcPort)
	}
}

// ReleaseTarget gives back the reference of Inbound alone, for a packet that was refused before Outbound was asked. k is the key that
// Inbound was asked with. It may be called with any target.
func (m *Mappings) ReleaseTarget(now conntrack.Tick, k *conntrack.Key, t *Target) {
	if class, ported := classOf(k.Protocol); ported && t.Mapped {
		m.releaseTarget(now, class, k.Protocol, k.Dst, k.DstPort, t.Addr, t.Port)
	}
}

func (m *Mappings) releaseSource(now conntrack.Tick, class int, original, reply *conntrack.Key) {
	sh, slot, e := m.lockAt(class, original.Protocol, reply.Dst, reply.DstPort)
	if e == nil {
		return
	}
	defer sh.mu.Unlock()
	if e.inside != original.Src || e.insidePort != original.SrcPort || e.sources == 0 {
		return
	}
	e.sources--
	// Whom a hairpin was for stands in original.Dst; where a forward led out by another port with NAT, in reply.Src.
	if !sh.disallow(slot, original.Dst) {
		sh.disallow(slot, reply.Src)
	}
	if e.idle() {
		m.remove(now, sh, slot)
	}
}

func (m *Mappings) releaseTarget(now conntrack.Tick, class int, protocol uint8, outside packet.Addr, outsidePort uint16, inside packet.Addr, insidePort uint16) {
	sh, slot, e := m.lockAt(class, protocol, outside, outsidePort)
	if e == nil {
		return
	}
	defer sh.mu.Unlock()
	if e.inside != inside || e.insidePort != insidePort || e.targets == 0 {
		return
	}
	e.targets--
	if e.idle() {
		m.remove(now, sh, slot)
	}
}
