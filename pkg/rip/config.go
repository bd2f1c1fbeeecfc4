package rip

import (
	"net/netip"
	"time"
)

// Protocol is where a redistributed route comes from. The zero value is no protocol.
type Protocol uint8

// The protocols that may be redistributed into RIP.
const (
	ProtocolNone Protocol = iota
	ProtocolConnected
	ProtocolStatic
	ProtocolDHCP
	ProtocolOther
	NumProtocols
)

var protocolNames = [NumProtocols]string{"none", "connected", "static", "dhcp", "other"}

func (p Protocol) String() string {
	if p >= NumProtocols {
		return "unknown"
	}
	return protocolNames[p]
}

// SendVersion is what a port sends. Zero inherits.
type SendVersion uint8

// What a port may send (the first three are rip2IfConfSend of RFC 1724).
const (
	SendInherit     SendVersion = iota
	SendV2                      // version 2 to 224.0.0.9; the default
	SendV1                      // version 1 to the broadcast address
	SendV2Broadcast             // version 2 to the broadcast address, for networks with version 1 routers
)

func (v SendVersion) String() string {
	switch v {
	case SendInherit:
		return "inherit"
	case SendV2:
		return "2"
	case SendV1:
		return "1"
	case SendV2Broadcast:
		return "broadcast"
	}
	return "unknown"
}

// ReceiveVersion is what a port accepts. Zero inherits.
type ReceiveVersion uint8

// What a port may accept (rip2IfConfReceive of RFC 1724).
const (
	ReceiveInherit ReceiveVersion = iota
	ReceiveV2                     // the default
	ReceiveV1
	ReceiveBoth
)

func (v ReceiveVersion) String() string {
	switch v {
	case ReceiveInherit:
		return "inherit"
	case ReceiveV2:
		return "2"
	case ReceiveV1:
		return "1"
	case ReceiveBoth:
		return "both"
	}
	return "unknown"
}

// SplitHorizon is how a port keeps routes from going back to where they came from
// (RFC 2453 section 3.4.3). The zero value is the default.
type SplitHorizon uint8

// The kinds of split horizon.
const (
	SplitPoisoned SplitHorizon = iota // announced back with metric 16
	SplitSimple                       // not announced back
	SplitNone                         // announced back as if nothing were
)

func (s SplitHorizon) String() string {
	switch s {
	case SplitPoisoned:
		return "poisoned"
	case SplitSimple:
		return "simple"
	case SplitNone:
		return "none"
	}
	return "unknown"
}

// Timers of RFC 2453 section 3.8. A zero field takes its default, or the instance's where
// a port leaves it out.
type Timers struct {
	Update  time.Duration // between two whole tables, give or take a sixth. Default 30s, at least 100ms
	Timeout time.Duration // from a path's last mention to its end. Default 6 x Update, which is 180s
	Garbage time.Duration // how long a lost route is still announced as unreachable. Default 4 x Update, which is 120s
}

// PrefixRule is one line of a PrefixList. It matches prefixes inside Prefix whose length is from Min
// to Max; both zero: exactly Prefix; Max alone zero: up to 32; Min alone zero: from Prefix's own length.
type PrefixRule struct {
	Prefix   netip.Prefix
	Min, Max uint8
	Deny     bool
}

// PrefixList decides by its first matching rule; what none matches is denied. A nil list permits everything.
type PrefixList struct {
	Name  string // for people
	Rules []PrefixRule
}

// Offset adds to the metric of the prefixes that its list permits. The first that matches counts.
type Offset struct {
	Filter *PrefixList // nil: every prefix
	Metric uint8       // 0 to 16
}

// AuthType is a kind of authentication.
type AuthType uint8

// The kinds of authentication.
const (
	AuthNone       AuthType = iota
	AuthSimple              // plain password, RFC 2453 section 4.1: at most 16 octets count
	AuthMD5                 // keyed MD5, RFC 2082 and RFC 4822: at most 16 octets count
	AuthHMACSHA1            // RFC 4822
	AuthHMACSHA256          // RFC 4822
	AuthHMACSHA384          // RFC 4822
	AuthHMACSHA512          // RFC 4822
	numAuthTypes
)

var authNames = [numAuthTypes]string{"none", "simple", "md5", "hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"}

func (a AuthType) String() string {
	if a >= numAuthTypes {
		return "unknown"
	}
	return authNames[a]
}

// ParseAuthType reads the name that the configuration uses.
func ParseAuthType(name string) (AuthType, bool) {
	for i, n := range authNames {
		if n == name {
			return AuthType(i), true
		}
	}
	return AuthNone, false
}

// Lifetime is a span of time; a zero end is open.
type Lifetime struct{ From, Until time.Time }

// Covers reports whether the span holds t: From is part of it, Until is not.
func (l Lifetime) Covers(t time.Time) bool {
	return (l.From.IsZero() || !t.Before(l.From)) && (l.Until.IsZero() || t.Before(l.Until))
}

// Key is one secret of a chain.
type Key struct {
	ID           uint8 // 0 to 255; not sent with a plain password
	Secret       string
	Send, Accept Lifetime
}

// KeyChain is the authentication of a port: one type, and keys that take turns. Of the keys that
// may be sent now, the one whose send lifetime began last is used, then the one with the higher id.
type KeyChain struct {
	Name string // for people
	Type AuthType
	Keys []Key

	// ForgetSequence accepts any sequence number from a neighbour that has been silent for the timeout.
	// RFC 4822 section 3.2.2 allows just zero then; some peers restart at a low number and would
	// stay refused until it has grown past their last. What it costs: whoever recorded old
	// packets can replay them once the neighbour is dead.
	ForgetSequence bool
}

// PortConfig is RIP on one port.
type PortConfig struct {
	Passive      bool        // listens; sends nothing but poison for what it announced before, and to Neighbors
	Send         SendVersion // zero: as the instance
	Receive      ReceiveVersion
	Cost         uint8 // added to every received metric, 1 to 15. Default 1
	SplitHorizon SplitHorizon
	Timers       Timers       // zero fields: as the instance; Garbage is the instance's always
	Auth         *KeyChain    // nil: none
	Neighbors    []netip.Addr // get updates by unicast, besides the multicast of a port that is not passive
	TTLSecurity  bool         // send with TTL 255 and accept nothing less (RFC 5082)
	LinkCheck    bool         // a port without carrier counts as down
	FilterIn     *PrefixList
	FilterOut    *PrefixList
	OffsetIn     []Offset
	OffsetOut    []Offset
}

// RedistributeRule lets routes of a protocol into RIP.
type RedistributeRule struct {
	Metric uint8       // 1 to 15; 0: that of the route if it is from 1 to 15, else 1
	Tag    uint16      // 0: that of the route
	Filter *PrefixList // nil: every route
}

// DefaultRoute announces 0.0.0.0/0.
type DefaultRoute struct {
	Originate bool
	Metric    uint8 // 1 to 15. Default 1
	Tag       uint16
}

// Config is everything that can be chosen. A zero field takes its default. It and
// what it points to must not change after it was given to New or Configure.
type Config struct {
	Send    SendVersion    // default SendV2
	Receive ReceiveVersion // default ReceiveV2
	Timers  Timers

	// TriggerHoldMin and TriggerHoldMax bound the random pause after a triggered update (RFC 2453
	// section 3.10.1). Default 1s and 5s, scaled down in proportion when Update is below 30s.
	TriggerHoldMin, TriggerHoldMax time.Duration
	// TriggerBurst is how many triggered updates may follow each other without the pause, after a
	// time without any as long as TriggerHoldMax. Default 1, as RFC 2453 has it; more make a
	// large network that starts cold agree sooner, for a few packets more.
	TriggerBurst int
	// TriggerDelay is how long a first triggered update waits for more changes. While more than a packet's
	// worth of them keeps arriving it waits on, for at most a second, so that a large
	// table is passed on whole and not its first burst alone. Default 10ms.
	TriggerDelay time.Duration

	Ports        map[PortID]PortConfig // RIP runs on these
	Redistribute map[Protocol]RedistributeRule
	Default      DefaultRoute
	Distance     uint8 // handed through in Install. Default 120
	MaxPaths     int   // equal-cost paths in Install. Default 16; 1: no multipath

	Burst    int           // packets that leave a port before a gap. Default 40
	BurstGap time.Duration // default 50ms

	MaxRoutes            int // prefixes in the table. Default 65536
	MaxRoutesPerNeighbor int // default half of MaxRoutes
	MaxLearned           int // paths of all neighbours. Default 4 x MaxRoutes
	MaxNeighbors         int // default 256
	NeighborRate         int // packets a second from one neighbour. Default 1024
	NeighborBurst        int // packets of one neighbour at a time. Default 4096

	// InitialState is what the last SaveState of an earlier run said; only New reads it.
	InitialState State
}

// State is what must survive a restart (RFC 4822 section 3.2.1).
type State struct {
	// Sequence is a number that no packet of ours has reached: authentication goes on from here.
	Sequence uint32
	// Neighbors holds what the neighbours have reached, so that old packets cannot be replayed.
	Neighbors []NeighborSequence
}

// NeighborSequence is the highest sequence number accepted from a neighbour with a key.
type NeighborSequence struct {
	Port     PortID
	Addr     netip.Addr
	KeyID    uint8
	Sequence uint32
}
