package api

// RIPRoute is a row of `show rip`: one way to a prefix. A prefix with several equal-cost
// paths has several rows; one with none left has one, in state garbage.
type RIPRoute struct {
	Prefix         string  `json:"prefix"`
	NextHop        string  `json:"next_hop"` // "": the router itself
	From           string  `json:"from"`     // the neighbour that told it; "": the router itself
	Port           string  `json:"port"`
	Metric         int     `json:"metric"` // 1 to 16
	Tag            int     `json:"tag"`
	State          string  `json:"state"`           // valid, garbage
	ExpiresSeconds float64 `json:"expires_seconds"` // until timeout or, in garbage, until it is forgotten; 0: never
	Source         string  `json:"source"`          // rip, or why the router announces it: port, connected, static, dhcp, other, default
	Selected       bool    `json:"selected"`        // false: known, but RIP uses a better one
}

// RIPNeighbor is a row of `show rip neighbors`.
type RIPNeighbor struct {
	Address         string   `json:"address"`
	Port            string   `json:"port"`
	Version         int      `json:"version"`           // of its last packet; 0: none was readable
	LastSeenSeconds float64  `json:"last_seen_seconds"` // since its last good packet; -1: there was none
	Up              bool     `json:"up"`                // heard within the timeout
	Routes          int      `json:"routes"`            // paths learned from it
	Updates         uint64   `json:"updates"`           // good responses that it sent
	Queries         uint64   `json:"queries"`           // good requests that it sent
	Auth            string   `json:"auth"`              // none, simple, md5, hmac-sha1 …: what its port asks of it
	AuthSequence    uint64   `json:"auth_sequence"`     // highest that was accepted from it; 0: none
	Filtered        uint64   `json:"filtered_routes"`   // entries that a filter kept out
	BadPackets      uint64   `json:"bad_packets"`
	BadRoutes       uint64   `json:"bad_routes"`
	Bad             []RIPBad `json:"bad"` // by reason, the most frequent first; reasons that never happened are left out
}

// RIPBad is one reason for which packets or routes were refused.
type RIPBad struct {
	Reason      string `json:"reason"`
	Description string `json:"description"` // a sentence
	Count       uint64 `json:"count"`
	Routes      bool   `json:"routes"` // about single routes, not whole packets
}

// RIPPort is a row of `show rip ports`.
type RIPPort struct {
	Name              string   `json:"name"`
	State             string   `json:"state"`  // up, passive, down: one word
	Reason            string   `json:"reason"` // why it is down, a sentence; "" when it is not
	Passive           bool     `json:"passive"`
	Send              string   `json:"send"`          // 1, 2, v2_broadcast
	Receive           string   `json:"receive"`       // 1, 2, both
	SplitHorizon      string   `json:"split_horizon"` // poisoned, simple, none
	Auth              string   `json:"auth"`          // none, simple, md5, hmac-sha1 …
	Cost              int      `json:"cost"`
	Neighbors         int      `json:"neighbors"`           // heard there and not forgotten
	Routes            int      `json:"routes"`              // paths learned there
	NextUpdateSeconds float64  `json:"next_update_seconds"` // until the next whole table; -1: none is due
	UpdatesReceived   uint64   `json:"updates_received"`    // good responses
	QueriesReceived   uint64   `json:"queries_received"`    // good requests
	UpdatesSent       uint64   `json:"updates_sent"`        // packets of whole tables
	TriggeredSent     uint64   `json:"triggered_sent"`      // packets of triggered updates
	QueriesSent       uint64   `json:"queries_sent"`        // requests
	AnswersSent       uint64   `json:"answers_sent"`        // packets that answer requests
	RoutesReceived    uint64   `json:"routes_received"`     // entries
	RoutesSent        uint64   `json:"routes_sent"`
	Filtered          uint64   `json:"filtered_routes"` // entries that a filter kept out, on arrival
	BadPackets        uint64   `json:"bad_packets"`
	BadRoutes         uint64   `json:"bad_routes"`
	Bad               []RIPBad `json:"bad"` // as of a neighbour; with those that came from nobody's address
}

// RIPClear says what is forgotten and asked for anew: what came from one neighbour, or through
// one port; both empty: everything. At most one of them is given.
type RIPClear struct {
	Neighbor string `json:"neighbor,omitempty"` // its address
	Port     string `json:"port,omitempty"`     // its name
}

// RIPCleared tells how many paths were forgotten.
type RIPCleared struct {
	Routes int `json:"routes"`
}
