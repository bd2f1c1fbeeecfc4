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
	LocalOnly bool       // nobody is to be asked for names that none of Upstreams is for: they are refused
	Records   []Record   // static

	Router          string       // the router's own name, one label; "", or none that a host may have: none
	RouterAddresses []netip.Addr // what it stands for

	CacheSize      int           // answers kept; 0: 10000, below 0: none
	CacheOctets    int           // of all answers kept; 0: 1024 for each of CacheSize
	MinTTL, MaxTTL time.Duration // bounds of what is kept; MaxTTL 0: one day
	LocalTTL       time.Duration // of names of leases and records; 0: one minute
	MaxQueries     int           // outstanding upstream; 0: 1000. What is beyond is answered with SERVFAIL
	MaxPerClient   int           // outstanding for one address; 0: 150
	MaxWaiting     int           // clients that wait for one answer; 0: 100
	Timeout        time.Duration // of one try at one upstream; 0: 2 s

	RebindProtection bool           // refuse answers from upstream that hold private addresses
	RebindAllow      []string       // domains that may
	PrivateReverse   bool           // false: reverse lookups of private networks are answered here, never upstream (RFC 6303)
	Networks         []netip.Prefix // of the router's ports: among several addresses of a name, that in the client's own network comes first
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

// Query is a message that a client sent. Each gets one Answer or one Dropped, at once or later.
type Query struct {
	Client  ClientID
	Port    PortID
	From    netip.AddrPort
	Stream  bool   // by TCP: the answer is not truncated. A connection may have several queries under way
	Payload []byte // borrowed: not kept past Step
}

// Gone tells that a client of TCP has closed: its answers are of no use. What it waited for is Dropped.
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

// Name tells of a host's name, from a lease or a reservation. The same Source again replaces what it said. A name that
// reservations claim is theirs, with all their addresses; else the lease that came first has it, and the next when that one has ended.
type Name struct {
	Source string // who says so: "lease 192.168.1.5", "reservation 192.168.1.6". The first word ranks it
	Name   string // one label; "": Source says nothing any longer
	Addr   packet.Addr
}

// Configure changes the configuration. The cache is emptied if what changes decides about answers: anything but sizes and limits.
type Configure struct{ Config Config }

// Flush empties the cache, of one name ("": of all). It is answered with Flushed.
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

// UpstreamEvent is for the event log: a server was silent three times in a row, or answers again.
type UpstreamEvent struct {
	Server netip.AddrPort
	Up     bool
}

// Flushed tells how many answers a Flush forgot.
type Flushed struct{ Entries int }

func (Answer) action()        {}
func (Dropped) action()       {}
func (Ask) action()           {}
func (Done) action()          {}
func (UpstreamEvent) action() {}
func (Flushed) action()       {}
