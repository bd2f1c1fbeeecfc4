package dns

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
)

// PortID names a port; the router chooses the numbers. 0: the router itself.
type PortID uint32

// Config is what the forwarder does.
type Config struct {
	Domain    string     // of the hosts here, without the last dot; "": none. Names in it are never asked upstream
	Upstreams []Upstream // the most specific Domain that matches a name counts; among equals the list is one
	Records   []Record   // static

	CacheSize      int           // answers kept; 0: 10000
	MinTTL, MaxTTL time.Duration // bounds of what is kept; MaxTTL 0: one day
	LocalTTL       time.Duration // of names of leases and records; 0: one minute
	MaxQueries     int           // outstanding upstream; 0: 1000. What is beyond is answered with SERVFAIL
	MaxPerClient   int           // outstanding for one address; 0: 150
	Timeout        time.Duration // of one try at one upstream; 0: 2 s

	RebindProtection bool           // refuse answers from upstream that hold private addresses
	RebindAllow      []string       // domains that may
	PrivateReverse   bool           // false: reverse lookups of private networks are answered here, never upstream (RFC 6303)
	Networks         []netip.Prefix // of the router's ports: for the choice among several addresses of a name, and reverse zones
}

// Upstream is a set of servers for the names below a domain.
type Upstream struct {
	Domain  string           // "": everything
	Servers []netip.AddrPort // tried in their order of health; none: names below Domain are answered from here only (NXDOMAIN)
}

// Record is a static name. Addresses make A records and, for the first name of an address, its PTR.
type Record struct {
	Name      string // qualified, or a bare label, which Domain completes
	Addresses []netip.Addr
	CNAME     string // an alias; then nothing else
	TXT       []string
	TTL       time.Duration // 0: LocalTTL
}

// ClientID is the router's number for whoever waits for an answer.
type ClientID uint64

// AskID is the machine's number for a question upstream.
type AskID uint64

// Event is what may happen to the machine: one of the types below.
type Event interface{ event() }

// Query is a message that a client sent. Each gets at most one Answer; one that gets none (it was no query, or it was dropped by
// a limit that drops) gets a Dropped.
type Query struct {
	Client  ClientID
	Port    PortID
	From    netip.AddrPort
	Stream  bool   // by TCP: the answer is not truncated
	Payload []byte // borrowed: not kept past Step
}

// Gone tells that a client of TCP has closed: its answers are of no use.
type Gone struct{ Client ClientID }

// Reply is a message that came to the socket of an Ask. The machine checks who sent it, and its number and question.
type Reply struct {
	Ask     AskID
	From    netip.AddrPort
	Payload []byte // borrowed
}

// AskFailed tells that a question could not be sent, or that the connection failed.
type AskFailed struct {
	Ask    AskID
	Reason string
}

// Name tells of a host's name, from a lease or a reservation. The same Source again replaces what it said.
type Name struct {
	Source string // who says so: "lease 192.168.1.5", "reservation 192.168.1.6"
	Name   string // one label; "": Source says nothing any longer
	Addr   packet.Addr
}

// Configure changes the configuration. The cache is kept unless upstreams change.
type Configure struct{ Config Config }

// Flush empties the cache, of one name ("": of all).
type Flush struct{ Name string }

// Tick tells that time has passed.
type Tick struct{}

func (Query) event()     {}
func (Gone) event()      {}
func (Reply) event()     {}
func (AskFailed) event() {}
func (Name) event()      {}
func (Configure) event() {}
func (Flush) event()     {}
func (Tick) event()      {}

// Action is what the router is to do, in order.
type Action interface{ action() }

// Answer goes to a client.
type Answer struct {
	Client  ClientID
	Payload []byte // borrowed: valid until the next Step
}

// Dropped tells that a client gets no answer.
type Dropped struct {
	Client ClientID
	Reason Reason
}

// Ask sends a question to an upstream. Each has its own source port (RFC 5452 section 9.2), and keeps it until Done.
type Ask struct {
	ID      AskID
	Server  netip.AddrPort
	Port    uint16 // source port to use, 1024 to 65535; where it is taken, another random one will do. Not for Stream
	Stream  bool   // by TCP
	Payload []byte // borrowed: without the length of TCP
}

// Done closes the socket of an Ask.
type Done struct{ ID AskID }

// UpstreamEvent is for the event log.
type UpstreamEvent struct {
	Server netip.AddrPort
	Up     bool
}

func (Answer) action()        {}
func (Dropped) action()       {}
func (Ask) action()           {}
func (Done) action()          {}
func (UpstreamEvent) action() {}

// Reason says why a message was refused, or an answer not believed.
type Reason uint8
