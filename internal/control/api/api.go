// Package api is the vocabulary of the control socket: one type a row of a
// table, with the keys that scripts rely on, and the Backend that the daemon
// offers. docs/openapi.yaml documents the same and a test holds the two together.
package api

import (
	"context"
	"time"
)

// Status is what `show status` tells.
type Status struct {
	Name          string    `json:"name"`
	Version       string    `json:"version"`
	PID           int       `json:"pid"`
	Started       time.Time `json:"started"`
	UptimeSeconds float64   `json:"uptime_seconds"`
	Ready         bool      `json:"ready"` // every enabled port is up and packets forward
	Ports         int       `json:"ports"`
	PortsUp       int       `json:"ports_up"`
	Routes        int       `json:"routes"`
	FIBRoutes     int       `json:"fib_routes"`
	FIBBytes      int       `json:"fib_bytes"`
	Neighbors     int       `json:"neighbors"`
	Workers       int       `json:"workers"`
	RxPackets     uint64    `json:"rx_packets"`
	TxPackets     uint64    `json:"tx_packets"`
	Drops         uint64    `json:"drops"`
	Revision      int       `json:"config_revision"`
	ConfigFile    string    `json:"config_file"`
	Unsaved       bool      `json:"config_unsaved"`     // what runs is not what the file held when it was read or saved last
	Unconfirmed   bool      `json:"config_unconfirmed"` // an apply --confirm waits
	ConfirmSecs   float64   `json:"config_confirm_seconds"`
	MemoryBytes   uint64    `json:"memory_bytes"` // resident
}

// Port is a row of `show ports`.
type Port struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Netns     string   `json:"netns"`
	Device    string   `json:"device"`
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses"`
	MTU       int      `json:"mtu"`
	Up        bool     `json:"up"`
	Offload   bool     `json:"offload"`
	Queues    int      `json:"queues"`
	RxPackets uint64   `json:"rx_packets"`
	RxBytes   uint64   `json:"rx_bytes"`
	RxDrops   uint64   `json:"rx_drops"`
	TxPackets uint64   `json:"tx_packets"`
	TxBytes   uint64   `json:"tx_bytes"`
	TxDrops   uint64   `json:"tx_drops"`
	State     string   `json:"state"`  // up, down, disabled, missing, detached …: one word
	Reason    string   `json:"reason"` // why it is not up, a sentence; "" when up
	Bridge    string   `json:"bridge"`
}

// Route is a row of `show routes`.
type Route struct {
	Prefix     string  `json:"prefix"`
	NextHop    string  `json:"next_hop"` // "" for connected and on-link
	Port       string  `json:"port"`
	Protocol   string  `json:"protocol"` // connected, static, rip, dhcp
	Type       string  `json:"type"`     // unicast, blackhole, unreachable, prohibit
	Distance   int     `json:"distance"`
	Metric     int     `json:"metric"`
	Tag        int     `json:"tag"`
	From       string  `json:"from"`
	Selected   bool    `json:"selected"`
	Active     bool    `json:"active"` // its next hop resolves, so that it may be selected
	Reason     string  `json:"reason"` // why it is selected, or why not: a sentence
	AgeSeconds float64 `json:"age_seconds"`
}

// RouteLookup is what `show route ADDRESS` tells.
type RouteLookup struct {
	Address    string   `json:"address"`
	Prefix     string   `json:"prefix"` // "" when no route covers it
	Action     string   `json:"action"` // forward, deliver, resolve, blackhole, unreachable, prohibit, none
	NextHops   []string `json:"next_hops"`
	Ports      []string `json:"ports"`
	MAC        string   `json:"mac"` // of the next hop where known
	Why        string   `json:"why"` // why the winner won: a sentence
	Candidates []Route  `json:"candidates"`
}

// FIBEntry is a row of `show fib`: what the dataplane holds.
type FIBEntry struct {
	Prefix  string `json:"prefix"`
	Action  string `json:"action"` // local, glean, forward, multipath, blackhole, unreachable, prohibit
	NextHop string `json:"next_hop"`
	Port    string `json:"port"`
	MAC     string `json:"mac"` // "" when not resolved
}

// Neighbor is a row of `show neighbors`.
type Neighbor struct {
	Address    string  `json:"address"`
	Port       string  `json:"port"`
	MAC        string  `json:"mac"`
	State      string  `json:"state"` // incomplete, reachable, stale, delay, probe, failed, permanent
	AgeSeconds float64 `json:"age_seconds"`
	Waiting    int     `json:"waiting_packets"`
}

// Drop is a row of `show drops`.
type Drop struct {
	Reason      string `json:"reason"`
	Description string `json:"description"`
	Packets     uint64 `json:"packets"`
}

// Counter is a row of `show counters`.
type Counter struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Value       uint64 `json:"value"`
}

// Event is something that happened; a row of `show events`, a line of `events`.
type Event struct {
	Sequence uint64            `json:"sequence"`
	Time     time.Time         `json:"time"`
	Kind     string            `json:"kind"` // port_up, port_down, route_added, route_removed, neighbor_changed, config_applied …
	Subject  string            `json:"subject"`
	Message  string            `json:"message"` // a sentence
	Fields   map[string]string `json:"fields,omitempty"`
}

// RouteSpec names a static route for `route add` and `route del`.
type RouteSpec struct {
	To       string   `json:"to"`
	Via      []string `json:"via,omitempty"`
	Port     string   `json:"port,omitempty"`
	Type     string   `json:"type,omitempty"`
	Distance int      `json:"distance,omitempty"`
	Metric   int      `json:"metric,omitempty"`
	Tag      int      `json:"tag,omitempty"`
}

// NeighborSpec names a permanent neighbour; Port and MAC may be empty in `neighbor del`.
type NeighborSpec struct {
	Port    string `json:"port"`
	Address string `json:"address"`
	MAC     string `json:"mac,omitempty"`
}

// Revision is a row of `config history`.
type Revision struct {
	Number  int       `json:"revision"`
	Time    time.Time `json:"time"`
	Author  string    `json:"author"`  // user name of the peer, or "startup", "SIGHUP", "rollback"
	Summary string    `json:"summary"` // what changed, short
	Current bool      `json:"current"`
}

// PortChange is the body of a change of a port.
type PortChange struct {
	Up *bool `json:"up"` // required
}

// NeighborFlush says which neighbours go: "" for those of all ports.
type NeighborFlush struct {
	Port string `json:"port,omitempty"`
}

// Flushed tells how many neighbours went.
type Flushed struct {
	Neighbors int `json:"neighbors"`
}

// Rollback says how many revisions to go back, at least 1.
type Rollback struct {
	Revisions int `json:"revisions"`
}

// Saved tells where the running configuration was written.
type Saved struct {
	Path string `json:"path"`
}

// ApplyResult tells what a change of configuration did.
type ApplyResult struct {
	Revision       int      `json:"revision"`
	Changes        []string `json:"changes"` // one sentence each
	ConfirmSeconds float64  `json:"confirm_seconds,omitempty"`
}

// PingRequest and its replies. One PingReply is sent for each probe.
type PingRequest struct {
	Address  string        `json:"address"`
	Source   string        `json:"source,omitempty"`
	Count    int           `json:"count"`    // 1 to 100000
	Interval time.Duration `json:"interval"` // nanoseconds
	Timeout  time.Duration `json:"timeout"`
	Size     int           `json:"size"` // payload octets, 0 to 65507
	TTL      int           `json:"ttl"`
	DF       bool          `json:"df"`
}

// PingReply is the fate of one probe.
type PingReply struct {
	Sequence   int     `json:"sequence"`
	From       string  `json:"from"`
	Bytes      int     `json:"bytes"`
	TTL        int     `json:"ttl"`
	RTTSeconds float64 `json:"rtt_seconds"`
	Result     string  `json:"result"` // reply, timeout, or an ICMP error in words: "host unreachable"
}

// TracerouteRequest asks for the path to an address with UDP or ICMP probes.
type TracerouteRequest struct {
	Address string        `json:"address"`
	Source  string        `json:"source,omitempty"`
	MaxHops int           `json:"max_hops"`
	Probes  int           `json:"probes"`
	Timeout time.Duration `json:"timeout"`
	ICMP    bool          `json:"icmp"`
}

// TracerouteHop is one hop, sent when all of its probes are answered or lost.
type TracerouteHop struct {
	TTL    int               `json:"ttl"`
	Probes []TracerouteProbe `json:"probes"`
	Done   bool              `json:"done"` // the destination answered, or nothing beyond can
}

// TracerouteProbe is one probe of a hop.
type TracerouteProbe struct {
	From       string  `json:"from"` // "" for none
	RTTSeconds float64 `json:"rtt_seconds"`
	Note       string  `json:"note"` // "", or "!N", "!H", "!P", "!X", "!F" as traceroute prints them
}

// CaptureRequest starts a capture; the answer is a pcapng stream.
type CaptureRequest struct {
	Ports   []string `json:"ports"` // empty: all
	Stages  []string `json:"stages"`
	Filter  string   `json:"filter"`  // tcpdump syntax; "" for all
	Snaplen int      `json:"snaplen"` // 0: whole packets
	Count   int      `json:"count"`   // 0: until the client goes away
}

// Peer is who asks, from the socket's peer credentials.
type Peer struct {
	UID, GID, PID int
	Name          string
}

// Backend is the daemon as the control server sees it. Every method may be
// called from any goroutine. Errors are *Error where the caller is at fault;
// any other error is an internal one.
type Backend interface {
	Status() Status
	Ports() []Port
	Routes() []Route
	Route(address string) (RouteLookup, error)
	FIB() []FIBEntry
	Neighbors() []Neighbor
	Drops() []Drop
	Counters() []Counter
	// Events returns the last events kept, oldest first, and a channel with those
	// that follow until ctx ends. The channel is closed at the end; events lost because the
	// reader is slow are told of in an event of kind "events_lost".
	Events(ctx context.Context) (past []Event, next <-chan Event)

	// The tables of RIP are empty where the configuration has no section rip.
	RIPRoutes() []RIPRoute
	RIPNeighbors() []RIPNeighbor
	RIPPorts() []RIPPort

	// The tables of NAT and of the firewall are empty where the configuration has no section
	// `nat` or `forwards`, and none `firewall`. Sessions and mappings come in pages, in an
	// order that stays while they live: what lives from the first page to the last is in
	// exactly one of them. The query's Limit is from 1 to 10000, its Protocol "", tcp, udp, icmp, or a
	// number that is none of them. Usage: a cursor that no page has told.
	NATRules() []NATRule
	Sessions(q SessionQuery) (SessionPage, error)
	NATMappings(q SessionQuery) (MappingPage, error)
	FirewallRules() []FirewallRule
	FirewallSets() []FirewallSet
	// SetMembers are those of the configuration and those added; not_found: there is no such set.
	SetMembers(set string) ([]SetMember, error)
	// Explain tells what would happen to a packet, and changes and counts nothing. All of the
	// request's fields are set. Not_found: there is no such port of arrival.
	Explain(r ExplainRequest) (Explanation, error)

	// The tables of DHCP and of DNS are empty where the configuration has none. Pages are as those
	// of sessions: what lives from the first page to the last is in exactly one of them.
	DHCP() []DHCP
	Leases(q LeaseQuery) (LeasePage, error)
	DNS() []DNS // at most one
	DNSCache(q DNSQuery) (DNSCachePage, error)
	DNSNames(q DNSQuery) (DNSNamePage, error)

	SetPort(peer Peer, name string, up bool) error
	AddRoute(peer Peer, r RouteSpec) error
	DeleteRoute(peer Peer, r RouteSpec) error
	AddNeighbor(peer Peer, n NeighborSpec) error
	DeleteNeighbor(peer Peer, n NeighborSpec) error
	FlushNeighbors(port string) (int, error) // "": all ports; how many went
	// RIPClear forgets learned paths and asks for them anew; how many went. Conflict: RIP is
	// not configured; not_found: no such neighbour, or no such port of RIP.
	RIPClear(peer Peer, what RIPClear) (int, error)
	// ChangeSet adds an address to a set, or takes out one that was added. Not_found: there is
	// no such set, or no such address in it; conflict: the configuration has put it there, or the set is full.
	ChangeSet(peer Peer, change SetChange, add bool) error
	// FlushSessions ends the sessions that match; how many went. Conflict: there are none because
	// neither NAT nor a firewall is configured.
	FlushSessions(peer Peer, which NATFlush) (int, error)
	// AddForward and DeleteForward change the running configuration as AddRoute does. To and
	// Name of a forward to be deleted are not compared where they are left out.
	AddForward(peer Peer, f ForwardSpec) error
	DeleteForward(peer Peer, f ForwardSpec) error

	// DeleteLease forgets the lease of an address, whatever its state. Conflict: no DHCP server is
	// configured; not_found: the address has no lease.
	DeleteLease(peer Peer, address string) error
	// FlushLeases forgets the leases that match; how many. Conflict as above; not_found: there is no such subnet.
	FlushLeases(peer Peer, which LeaseFlush) (int, error)
	// ImportLeases takes the leases of a file that dnsmasq wrote. Usage: a line of it is none; conflict as above.
	ImportLeases(peer Peer, text string) (LeaseImport, error)
	// DHCPRelease gives a port's address back to its server; DHCPRenew asks for it anew at once. Not_found: there is
	// no such port; conflict: it is not one that gets its address by DHCP. A port that has none yet ceases to ask.
	DHCPRelease(peer Peer, port string) error
	DHCPRenew(peer Peer, port string) error
	// FlushDNS forgets the answers of a name ("": all); how many. Conflict: DNS is not configured.
	FlushDNS(peer Peer, name string) (int, error)

	ConfigText() string // the running configuration as YAML
	ConfigCheck(source string) error
	ConfigDiff(source string) (string, error) // unified diff, running to source
	ConfigApply(peer Peer, source string, confirm time.Duration) (ApplyResult, error)
	ConfigConfirm() error
	ConfigRollback(peer Peer, n int) (ApplyResult, error) // n revisions back, at least 1
	ConfigHistory() []Revision
	ConfigSave() (path string, err error)

	Ping(ctx context.Context, r PingRequest, reply func(PingReply)) error
	Traceroute(ctx context.Context, r TracerouteRequest, hop func(TracerouteHop)) error
	// Capture writes a pcapng stream to w until ctx ends or Count is reached.
	Capture(ctx context.Context, r CaptureRequest, w FlushWriter) error
	Metrics() string // Prometheus text
}

// FlushWriter is a stream whose buffered bytes can be pushed out.
type FlushWriter interface {
	Write([]byte) (int, error)
	Flush()
}

// Codes of an Error. Each has one HTTP status and one exit code of vrctl.
const (
	Usage     = "usage"     // the request or the configuration is wrong
	NotFound  = "not_found" // what it names does not exist
	Conflict  = "conflict"  // what it makes exists, or the moment is wrong
	Forbidden = "forbidden" // the peer may not
	Failed    = "failed"    // it was right, tried, and did not work out
	Busy      = "busy"      // too many connections or streams at once
	Internal  = "internal"  // the daemon's fault
)

// ErrorBody is the answer to every request that fails, and the last line of a
// stream that does.
type ErrorBody struct {
	Error Error `json:"error"`
}

// Error is a refusal that the user can act on.
type Error struct {
	Code    string `json:"code"`    // one of the constants above
	Message string `json:"message"` // one sentence with the place and the cure
}

func (e *Error) Error() string { return e.Message }
