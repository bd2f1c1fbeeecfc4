package config

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
)

// DHCP is the section `dhcp:`.
type DHCP struct {
	Subnets []DHCPSubnet // in the order of the file
	Relays  []DHCPRelay  // in the order of the file
	// Across all of them:
	DeclineHold time.Duration // default 10m
	MaxLeases   int           // default 65536
}

// DHCPSubnet is one network in which addresses are given away: that of a port, or one that relays reach.
type DHCPSubnet struct {
	Name    string
	Port    string       // "": a relayed network
	Network netip.Prefix // masked; of the port's address in which the ranges lie
	Server  netip.Addr   // the router's address there; zero for a relayed network

	// Ranges are in the order of the addresses and without those that are nobody's or known to be taken: the network's own, its broadcast
	// address, the router's and those of a lab host at the port.
	Ranges             []AddressRange
	Exclude            []AddressRange
	Pools              []DHCPPool
	Lease              time.Duration // default 12h; infinite: 4294967295 s, which is what the wire has for it
	MinLease, MaxLease time.Duration // 0: as Lease
	Renew, Rebind      time.Duration // 0: half and seven eighths of the lease

	Authoritative bool // default true
	RapidCommit   bool
	Probe         bool // default true
	Inspection    DHCPInspection

	Gateway, DNS, NTP []netip.Addr // default: the port's address for the first two
	Domain            string       // default: that of `dns:`
	Search            []string
	NextServer        netip.Addr
	BootFile          string
	TFTPServer        string
	Options           map[uint8][]byte // encoded
	Reservations      []DHCPReservation
	Comment           string
	Pos               Pos
}

// DHCPInspection is what happens to ARP packets that contradict the leases of a port.
type DHCPInspection string

const (
	InspectionOff  DHCPInspection = "off"
	InspectionLog  DHCPInspection = "log"
	InspectionDrop DHCPInspection = "drop"
)

// AddressRange is a span of addresses, both ends included.
type AddressRange struct{ First, Last netip.Addr }

// DHCPPool is for the clients of a vendor class.
type DHCPPool struct {
	Name, Vendor string
	Ranges       []AddressRange // empty: those of the network
	Options      map[uint8][]byte
	Pos          Pos
}

// DHCPReservation keeps an address for a client.
type DHCPReservation struct {
	MAC      packet.MAC // zero: by ClientID
	ClientID []byte
	Address  netip.Addr
	Name     string
	Lease    time.Duration
	Options  map[uint8][]byte
	Comment  string
	Pos      Pos
}

// DHCPRelay is a port whose clients are served elsewhere.
type DHCPRelay struct {
	Port       string
	Servers    []netip.Addr
	MaxHops    int    // default 10
	Agent      bool   // option 82; default false
	CircuitID  string // "": the port's name
	RemoteID   string
	TrustAgent bool
	Comment    string
	Pos        Pos
}

// DHCPClient is how a port with `address: dhcp` asks: its key `dhcp_client`.
type DHCPClient struct {
	ClientID     []byte // option 61; nil: none. Default: 1 and the MAC address
	Hostname     string
	Vendor       string
	Requests     []uint8
	Broadcast    bool
	Check        bool          // default true
	DefaultRoute bool          // take the gateway; default true
	Routes       bool          // take option 121; default true
	Distance     int           // of the routes; default 210
	DNS          bool          // take the servers for `dns:`; default true
	Release      bool          // give the address back when the router stops; default false
	LeaseTime    time.Duration // 0: the server's choice
}
