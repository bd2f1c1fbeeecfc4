package conntrack

import (
	"time"

	"vrouterd/internal/packet"
)

// Tick is a moment, in tenths of a second since the router began.
type Tick uint32

// TicksPerSecond is how many ticks a second has.
const TicksPerSecond = 10

// Ticks is a duration in ticks, rounded up.
func Ticks(d time.Duration) Tick {
	const one = time.Second / TicksPerSecond
	return Tick((d + one - 1) / one)
}

// TickOf is the tick of a monotonic clock in nanoseconds.
func TickOf(nanoseconds int64) Tick {
	return Tick(nanoseconds / int64(time.Second/TicksPerSecond))
}

// Direction of a packet in its session.
type Direction uint8

// The directions.
const (
	Original Direction = 0 // that of the packet that opened the session
	Reply    Direction = 1
)

// Other is the opposite direction.
func (d Direction) Other() Direction { return d ^ 1 }

// Key is what the packets of one direction of a session have in common, as they
// arrive. For ICMP queries the identifier stands in SrcPort of a request, with DstPort 0, and in DstPort
// of a reply, with SrcPort 0. Protocols without ports have zeros.
type Key struct {
	Src, Dst         packet.Addr
	SrcPort, DstPort uint16
	Protocol         uint8
	_                [3]uint8
}

// Reverse is the key of the answers to a packet, as long as nobody translates.
func (k Key) Reverse() Key {
	k.Src, k.Dst = k.Dst, k.Src
	k.SrcPort, k.DstPort = k.DstPort, k.SrcPort
	return k
}

// MakeKey makes a key.
func MakeKey(protocol uint8, src packet.Addr, srcPort uint16, dst packet.Addr, dstPort uint16) Key {
	return Key{Src: src, Dst: dst, SrcPort: srcPort, DstPort: dstPort, Protocol: protocol}
}
