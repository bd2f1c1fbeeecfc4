package api

// DNS is the row of `show dns`: the forwarder, how it is set and how it does.
type DNS struct {
	Listen           []string      `json:"listen"` // ports
	Domain           string        `json:"domain"`
	Upstreams        []DNSUpstream `json:"upstreams"`
	Names            int           `json:"names"` // answered from here: of the router, records, leases, reservations
	CacheEntries     int           `json:"cache_entries"`
	CacheMax         int           `json:"cache_max"`
	CacheBytes       int           `json:"cache_bytes"`
	CacheHits        uint64        `json:"cache_hits"`
	CacheMisses      uint64        `json:"cache_misses"`
	CacheEvicted     uint64        `json:"cache_evicted"` // before their time, because the cache was full
	Queries          uint64        `json:"queries"`
	QueriesTCP       uint64        `json:"queries_tcp"` // of them by TCP
	AnsweredLocally  uint64        `json:"answered_locally"`
	AnsweredFailed   uint64        `json:"answered_failed"` // with SERVFAIL
	Truncated        uint64        `json:"truncated"`       // answers that were too long for UDP
	Outstanding      int           `json:"outstanding"`     // questions upstream now
	OutstandingMax   int           `json:"outstanding_max"`
	Connections      int           `json:"connections"`     // of clients, by TCP, now
	AverageSeconds   float64       `json:"average_seconds"` // that upstreams take to answer; 0: none has answered
	NoSuchName       uint64        `json:"no_such_name"`    // answers from here that nobody has the name or such a record
	NoSuchNames      []Refusal     `json:"no_such_names"`   // by reason, the most frequent first
	Refused          uint64        `json:"refused"`
	Refusals         []Refusal     `json:"refusals"` // by reason, the most frequent first; reasons that never happened are left out
	RebindProtection bool          `json:"rebind_protection"`
}

// DNSUpstream is a server that is asked.
type DNSUpstream struct {
	Address         string  `json:"address"`         // with its port
	Domain          string  `json:"domain"`          // that it is asked for; "": everything
	Source          string  `json:"source"`          // config, or the port whose DHCP client has learned it
	State           string  `json:"state"`           // up, silent, down, unknown: not asked yet
	LatencySeconds  float64 `json:"latency_seconds"` // smoothed; 0: unknown
	Queries         uint64  `json:"queries"`
	Answers         uint64  `json:"answers"`
	Timeouts        uint64  `json:"timeouts"`
	Failures        uint64  `json:"failures"` // refusals, SERVFAIL, errors of the connection
	Outstanding     int     `json:"outstanding"`
	LastSeenSeconds float64 `json:"last_seen_seconds"` // since its last answer; -1: there was none
}

// DNSCacheEntry is a row of `show dns cache`: an answer that is kept.
type DNSCacheEntry struct {
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	State      string   `json:"state"`       // answer, no_data, no_name, failure
	TTLSeconds float64  `json:"ttl_seconds"` // 0: made of names here, for as long as those are
	Hits       uint64   `json:"hits"`
	Answers    []string `json:"answers"` // records as zone files write them, without their TTL; at most 16
}

// DNSName is a row of `show dns names`: a name that is answered from here.
type DNSName struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Value  string `json:"value"`
	Source string `json:"source"` // record, router, lease, reservation, the last two with their address
	Hidden bool   `json:"hidden"` // another source has the name: this one counts when that has ended
}

// DNSQuery filters and pages the cache and the names. Zero fields match everything.
type DNSQuery struct {
	Name   string // it and the names below it, in lower case, without the last dot
	Cursor string // "" for the beginning
	Limit  int    // 1 to 10000
}

// DNSCachePage is a part of the cache. Next is "" at the end.
type DNSCachePage struct {
	Entries []DNSCacheEntry `json:"entries"`
	Total   int             `json:"total"` // kept now, whatever the filter
	Next    string          `json:"next"`
}

// DNSNamePage is a part of the names. Next is "" at the end.
type DNSNamePage struct {
	Names []DNSName `json:"names"`
	Total int       `json:"total"`
	Next  string    `json:"next"`
}

// DNSFlush says which answers are forgotten: those of one name, or all.
type DNSFlush struct {
	Name string `json:"name,omitempty"`
}

// DNSFlushed tells how many answers were forgotten.
type DNSFlushed struct {
	Entries int `json:"entries"`
}
