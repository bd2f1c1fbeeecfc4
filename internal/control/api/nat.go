package api

import "time"

// NATRule is a row of `show nat`: a rule of `nat:` or a forward, with what it has done.
type NATRule struct {
	Kind      string   `json:"kind"` // rule, forward, mapping protocol (nat_pmp, pcp, upnp)
	Name      string   `json:"name"`
	Type      string   `json:"type"`    // masquerade, snat, one_to_one, none, cgnat, forward
	Port      string   `json:"port"`    // the outside port
	Match     string   `json:"match"`   // what it applies to, in words
	Outside   []string `json:"outside"` // its addresses
	To        string   `json:"to"`      // forwards: address or address:port
	Filtering string   `json:"filtering"`
	Sessions  int      `json:"sessions"`
	Mappings  int      `json:"mappings"`
	Created   uint64   `json:"created"` // sessions since the start
	Line      int      `json:"line"`
}

// Session is a row of `show sessions` and, with what NAT does, of `show nat sessions`.
type Session struct {
	Protocol       string  `json:"protocol"`
	Inside         string  `json:"inside"`  // who is on the inside, address:port as it is known there
	Outside        string  `json:"outside"` // address:port that the remote sees; as inside where nothing is translated
	Remote         string  `json:"remote"`
	State          string  `json:"state"`
	Direction      string  `json:"direction"` // out: opened from inside; in: from outside
	InPort         string  `json:"in_port"`
	OutPort        string  `json:"out_port"`
	IdleSeconds    float64 `json:"idle_seconds"`
	ExpiresSeconds float64 `json:"expires_seconds"`
	PacketsOut     uint64  `json:"packets_out"`
	BytesOut       uint64  `json:"bytes_out"`
	PacketsIn      uint64  `json:"packets_in"`
	BytesIn        uint64  `json:"bytes_in"`
	NAT            string  `json:"nat"`  // the rule or forward in words; "" for none
	Rule           string  `json:"rule"` // the firewall rule that let it in; "" for none
}

// SessionQuery filters and pages sessions and mappings. Zero fields match everything.
type SessionQuery struct {
	Address  string // IPv4, any of the session's
	Port     int    // any of the session's
	Protocol string // tcp, udp, icmp, or another's number
	NATOnly  bool
	Cursor   string // "" for the beginning
	Limit    int    // 1 to 10000; 0: 1000
}

// SessionPage is a part of the sessions. Next is "" at the end.
type SessionPage struct {
	Sessions []Session `json:"sessions"`
	Total    int       `json:"total"` // live now, whatever the filter
	Next     string    `json:"next"`
}

// NATMapping is a row of `show nat mappings`.
type NATMapping struct {
	Protocol       string  `json:"protocol"`
	Inside         string  `json:"inside"`
	Outside        string  `json:"outside"`
	Remote         string  `json:"remote"` // the only one who may use it; "" anybody
	By             string  `json:"by"`     // traffic, nat_pmp, pcp, upnp, helper
	Owner          string  `json:"owner"`
	Rule           string  `json:"rule"`
	Filtering      string  `json:"filtering"`
	Sessions       int     `json:"sessions"`
	ExpiresSeconds float64 `json:"expires_seconds"` // explicit mappings; 0: as long as sessions use it
}

// MappingPage is a part of the mappings.
type MappingPage struct {
	Mappings []NATMapping `json:"mappings"`
	Total    int          `json:"total"`
	Next     string       `json:"next"`
}

// FirewallRule is a row of `show firewall`: zones' policies, rules and access rules in the order in which a packet meets them.
type FirewallRule struct {
	Kind    string `json:"kind"` // access, rule, policy, default
	Name    string `json:"name"`
	From    string `json:"from"` // zone, or port for access rules
	To      string `json:"to"`
	Match   string `json:"match"` // in words
	Action  string `json:"action"`
	Log     bool   `json:"log"`
	Line    int    `json:"line"` // of the configuration; 0: not written there
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// FirewallSet is a row of `show firewall set`: a named set of addresses.
type FirewallSet struct {
	Name           string  `json:"name"`
	Members        int     `json:"members"`         // networks of the configuration, and addresses added
	Added          int     `json:"added"`           // by rules and by users
	Max            int     `json:"max"`             // that may be added
	TimeoutSeconds float64 `json:"timeout_seconds"` // of what is added; 0: it stays
	Line           int     `json:"line"`            // of the configuration
}

// SetMember is a row of `show firewall set NAME`.
type SetMember struct {
	Set            string  `json:"set"`
	Address        string  `json:"address"`         // or network
	Dynamic        bool    `json:"dynamic"`         // added, not written in the configuration
	ExpiresSeconds float64 `json:"expires_seconds"` // 0: never
}

// SetChange adds an address to a set of the firewall, or takes it out.
type SetChange struct {
	Set     string        `json:"set"`
	Address string        `json:"address"`
	For     time.Duration `json:"for,omitempty"` // nanoseconds; 0: the set's timeout
}

// ForwardSpec names a port forward for `nat forward add` and `nat forward del`.
type ForwardSpec struct {
	In       string `json:"in"`
	Protocol string `json:"protocol"`
	Port     string `json:"port"` // 80 or 8000-8010
	To       string `json:"to,omitempty"`
	Name     string `json:"name,omitempty"`
}

// NATFlush says which sessions go; zero fields match everything.
type NATFlush struct {
	Address  string `json:"address,omitempty"`
	Port     int    `json:"port,omitempty"`
	Protocol string `json:"protocol,omitempty"`
}

// SessionsFlushed tells how many sessions went.
type SessionsFlushed struct {
	Sessions int `json:"sessions"`
}

// ExplainRequest is a packet that does not exist. What is left out has the default.
type ExplainRequest struct {
	In       string `json:"in"` // port of arrival
	Src      string `json:"src"`
	Dst      string `json:"dst"`
	Protocol string `json:"protocol,omitempty"` // icmp (default), tcp, udp or a number
	SrcPort  int    `json:"sport,omitempty"`    // default 49152; for ICMP the identifier, default 1
	DstPort  int    `json:"dport,omitempty"`    // of TCP and UDP, which need it
	TCPFlags string `json:"flags,omitempty"`    // letters of FSRPAUEW as tcpdump writes them, S (default), SA, A …, or none
	ICMPType int    `json:"icmp_type"`          // 0 to 255; where left out: 8, echo request
	TTL      int    `json:"ttl,omitempty"`      // 1 to 255, default 64
	Length   int    `json:"length,omitempty"`   // octets of the IP packet; default: those of its headers
	DF       bool   `json:"df,omitempty"`
}

// ExplainStep is one decision.
type ExplainStep struct {
	Stage    string `json:"stage"`    // input, access, session, nat_inbound, lookup, filter, nat_outbound, rewrite, output
	Decision string `json:"decision"` // pass, drop, reject, translate, deliver, resolve …
	Text     string `json:"text"`     // one sentence
	Line     int    `json:"line"`     // of the running configuration; 0: none
	Source   string `json:"source"`   // that line's text
}

// Explanation is what would happen to it.
type Explanation struct {
	Verdict string        `json:"verdict"` // forwarded, delivered, dropped, rejected, waits
	Reason  string        `json:"reason"`  // drop reason by name; "" where it passes
	Out     string        `json:"out"`     // port of departure
	Packet  string        `json:"packet"`  // as it leaves, in words
	Session *Session      `json:"session"` // that it belongs to, or would make; null for none
	Exists  bool          `json:"session_exists"`
	Steps   []ExplainStep `json:"steps"`
}
