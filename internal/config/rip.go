package config

import (
	"net/netip"
	"time"
)

// RIP is the section `rip:` with every default filled in: what a port leaves out and the
// section says is already in the port, names of chains and lists are resolved. Nothing in it
// points to anything that changes.
type RIP struct {
	Send         RIPSend
	Receive      RIPReceive
	Timers       RIPTimers
	Keys         []RIPKeyChain // in the order of the file
	PrefixLists  []PrefixList  // those with a name, in the order of the file
	Ports        []RIPPort     // RIP runs on these; in the order of the file
	Connected    *RIPRedistribute
	Static       *RIPRedistribute // nil: not redistributed
	DefaultRoute RIPDefaultRoute
	Distance     int // 1 to 254, default 120
	MaxPaths     int // 1 to 16, default 16; 1: no multipath
	MaxRoutes    int // prefixes in RIP's table; 1 to 1000000, default 65536
	Pos          Pos
}

// RIPSend is what a port sends (rip2IfConfSend of RFC 1724).
type RIPSend string

const (
	RIPSendV2          RIPSend = "2"            // version 2 to 224.0.0.9; the default
	RIPSendV1          RIPSend = "1"            // version 1 to the broadcast address
	RIPSendV2Broadcast RIPSend = "v2_broadcast" // version 2 to the broadcast address, for networks with routers of version 1
)

// RIPReceive is what a port accepts (rip2IfConfReceive of RFC 1724).
type RIPReceive string

const (
	RIPReceiveV2   RIPReceive = "2" // the default
	RIPReceiveV1   RIPReceive = "1"
	RIPReceiveBoth RIPReceive = "both"
)

// RIPTimers are those of RFC 2453 section 3.8. In a port, Garbage and the pauses
// after triggered updates are those of the section.
type RIPTimers struct {
	Update  time.Duration // 1s to 1h, default 30s
	Timeout time.Duration // longer than Update, at most 24h; default 6 x Update
	Garbage time.Duration // 1s to 24h, default 4 x Update

	// The random pause after a triggered update lies between these (RFC 2453 section
	// 3.10.1). Defaults 1s and 5s, in proportion less where Update is below 30s.
	TriggeredMin, TriggeredMax time.Duration
}

// SplitHorizon is how a port keeps routes from going back to where they came from
// (RFC 2453 section 3.4.3).
type SplitHorizon string

const (
	SplitHorizonPoisoned SplitHorizon = "poisoned" // announced back as unreachable; the default
	SplitHorizonSimple   SplitHorizon = "simple"   // not announced back
	SplitHorizonNone     SplitHorizon = "none"     // announced back as if nothing were
)

// RIPAuthType is a kind of authentication.
type RIPAuthType string

const (
	RIPAuthSimple     RIPAuthType = "simple"      // plain password, RFC 2453 section 4.1
	RIPAuthMD5        RIPAuthType = "md5"         // RFC 2082, RFC 4822
	RIPAuthHMACSHA1   RIPAuthType = "hmac-sha1"   // RFC 4822, like the next ones
	RIPAuthHMACSHA256 RIPAuthType = "hmac-sha256" //
	RIPAuthHMACSHA384 RIPAuthType = "hmac-sha384" //
	RIPAuthHMACSHA512 RIPAuthType = "hmac-sha512" //
)

// Secret is a text that prints as "***", so that no log and no message of an error shows
// it by accident; string(s) is the text.
type Secret string

// String is not the secret.
func (Secret) String() string { return "***" }

// GoString is not the secret.
func (Secret) GoString() string { return "***" }

// MarshalText is not the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// RIPKeyChain is the authentication of a port: one type, and keys that take turns.
type RIPKeyChain struct {
	Name           string
	Type           RIPAuthType
	Keys           []RIPKey // at least one
	ForgetSequence bool     // accept any sequence number from a neighbour that was silent for the timeout
	Comment        string
}

// RIPKey is one secret of a chain.
type RIPKey struct {
	ID           int    // 0 to 255; 0 where a simple password has none
	Secret       Secret // 1 to 16 octets for simple and md5, else to 255
	Send, Accept Lifetime
}

// Lifetime is a span of time: From is part of it, Until is not. A zero end is open.
type Lifetime struct{ From, Until time.Time }

// PrefixList decides by its first rule that matches; what none matches is denied.
type PrefixList struct {
	Name  string // "" for one that is written where it is used
	Rules []PrefixRule
}

// PrefixRule matches the prefixes within Prefix whose length is from Min to Max.
type PrefixRule struct {
	Deny     bool
	Prefix   netip.Prefix // masked
	Min, Max int          // both are Prefix's length where neither `ge` nor `le` is given
	Comment  string
}

// RIPPort is RIP on one port.
type RIPPort struct {
	Name         string // of a port in Config.Ports that has an address
	Passive      bool
	Send         RIPSend
	Receive      RIPReceive
	Cost         int // 1 to 15, default 1
	SplitHorizon SplitHorizon
	Timers       RIPTimers
	Auth         *RIPKeyChain // nil: none
	Neighbors    []netip.Addr // get updates by unicast; on-link
	TTLSecurity  bool
	LinkCheck    bool
	FilterIn     *PrefixList // nil: everything passes
	FilterOut    *PrefixList
	OffsetIn     []RIPOffset // the first that matches counts
	OffsetOut    []RIPOffset
	Comment      string
	Pos          Pos
}

// RIPOffset adds to the metric of the prefixes that its filter permits.
type RIPOffset struct {
	Filter *PrefixList // nil: every prefix
	Metric int         // 0 to 16
}

// RIPRedistribute lets routes of another protocol into RIP.
type RIPRedistribute struct {
	Metric int         // 1 to 15; 0: that of the route if it is from 1 to 15, else 1
	Tag    int         // 1 to 65535; 0: that of the route
	Filter *PrefixList // nil: every route
}

// RIPDefaultRoute announces 0.0.0.0/0.
type RIPDefaultRoute struct {
	Originate bool
	Metric    int // 1 to 15, default 1
	Tag       int // 0 to 65535, default 0
}
