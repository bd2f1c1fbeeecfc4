package api

import "time"

// DHCP is a row of `show dhcp`: a network in which addresses are given away, a port whose clients a relay
// carries elsewhere, or a port that gets its own address. Keys that its role does not have are empty.
type DHCP struct {
	Name     string         `json:"name"`   // of the entry under dhcp; of relays and clients the port
	Port     string         `json:"port"`   // "": a network that relays reach
	Role     string         `json:"role"`   // server, relay, client
	State    string         `json:"state"`  // server and relay: up, down; client: down, init, selecting, requesting, checking, bound, renewing, rebinding, init_reboot, rebooting, released
	Reason   string         `json:"reason"` // why it is down or has no address, a sentence; "" when it is well
	Network  string         `json:"network"`
	Ranges   []string       `json:"ranges"`   // server: 192.168.1.100-192.168.1.199
	Size     int            `json:"size"`     // server: addresses in the ranges
	Free     int            `json:"free"`     // server: of them nobody's, with those that were released or have expired
	Leased   int            `json:"leased"`   // server: bound, reserved ones too
	Offered  int            `json:"offered"`  // server: offers that wait for a request
	Declined int            `json:"declined"` // server: found in use by someone else, resting
	Servers  []string       `json:"servers"`  // relay: where requests go
	Address  string         `json:"address"`  // server and relay: the router's there; client: the one that it has, with its prefix length
	Server   string         `json:"server"`   // client: who gave the address
	Gateway  string         `json:"gateway"`  // client: the default gateway that the lease names
	DNS      []string       `json:"dns"`      // client: the DNS servers that the lease names
	Domain   string         `json:"domain"`   // client: that the lease names; server: that it tells
	Acquired *time.Time     `json:"acquired"` // client: when the server last confirmed the address; null: there is none
	Renews   *time.Time     `json:"renews"`   // client: when it asks its server next (T1); null: never
	Rebinds  *time.Time     `json:"rebinds"`  // client: when it asks any server (T2); null: never
	Expires  *time.Time     `json:"expires"`  // client: when the address is lost; null: never
	Messages []DHCPMessages `json:"messages"` // by type; types that there were none of are left out
	Refused  uint64         `json:"refused"`
	Refusals []Refusal      `json:"refusals"` // by reason, the most frequent first; reasons that never happened are left out
}

// DHCPMessages counts the messages of one type.
type DHCPMessages struct {
	Type     string `json:"type"` // bootp, discover, offer, request, decline, ack, nak, release, inform; of a relay: requests and answers of every type
	Received uint64 `json:"received"`
	Sent     uint64 `json:"sent"`
}

// Refusal is one reason for which messages were not served, or not believed.
type Refusal struct {
	Reason      string `json:"reason"`
	Description string `json:"description"` // a sentence
	Count       uint64 `json:"count"`
}

// Lease is a row of `show dhcp leases`: an address and who has it, or had it last.
type Lease struct {
	Address  string     `json:"address"`
	MAC      string     `json:"mac"`       // hardware address; "" where it is unknown
	ClientID string     `json:"client_id"` // option 61 in hexadecimal, 01:02:00:00:00:00:09; "" where the client sends none
	Hostname string     `json:"hostname"`
	State    string     `json:"state"`   // offered, bound, released, expired, declined
	Expires  *time.Time `json:"expires"` // or has expired; null: never
	Port     string     `json:"port"`    // "": by way of a relay
	Subnet   string     `json:"subnet"`  // the entry under dhcp
	Starts   *time.Time `json:"starts"`  // when it was last given or renewed; null where that is unknown
	Vendor   string     `json:"vendor"`  // option 60
	Reserved bool       `json:"reserved"`
}

// LeaseQuery filters and pages leases. Zero fields match everything.
type LeaseQuery struct {
	Address  string // IPv4, or a network like 192.168.1.0/24
	MAC      string // as Lease has it
	Hostname string // in lower case
	Port     string
	Subnet   string
	State    string // one of those of Lease
	Cursor   string // "" for the beginning
	Limit    int    // 1 to 10000
}

// LeasePage is a part of the leases, by address. Next is "" at the end.
type LeasePage struct {
	Leases []Lease `json:"leases"`
	Total  int     `json:"total"` // known now, whatever the filter
	Next   string  `json:"next"`
}

// LeaseFlush says which leases are forgotten; empty fields match everything.
type LeaseFlush struct {
	Subnet string `json:"subnet,omitempty"`
	State  string `json:"state,omitempty"` // offered, bound, released, expired, declined
}

// LeasesFlushed tells how many leases were forgotten.
type LeasesFlushed struct {
	Leases int `json:"leases"`
}

// LeaseImport tells what became of a file of leases.
type LeaseImport struct {
	Imported int            `json:"imported"`
	Skipped  int            `json:"skipped"`  // lines of IPv6, which vrouterd does not serve
	Refused  int            `json:"refused"`  // leases that clash with one that is bound, or fit no network
	Refusals []LeaseRefusal `json:"refusals"` // of them the first 100
}

// LeaseRefusal is a lease that was not imported.
type LeaseRefusal struct {
	Address string `json:"address"`
	Reason  string `json:"reason"` // a sentence
}

// DHCPPort is the body of a change of a port's DHCP client.
type DHCPPort struct {
	Port string `json:"port"` // required
}
