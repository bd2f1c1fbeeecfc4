package config

import (
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// rawDHCPEntry is one entry of `dhcp:`: a port, or a network that relays reach.
type rawDHCPEntry struct {
	name                 string
	at                   *yaml.Node // its name
	broken               bool       // something in it could not be read
	network              placed[netip.Prefix]
	ranges, exclude      placed[[]placed[addressRange]]
	pools                []*rawDHCPPool
	lease                placed[time.Duration]
	minLease, maxLease   placed[time.Duration]
	renew, rebind        placed[time.Duration]
	authoritative        placed[bool]
	rapidCommit, probe   placed[bool]
	inspection           placed[DHCPInspection]
	gateway, dns, ntp    placed[[]placed[netip.Addr]] // `none` is an empty list
	domain               placed[string]
	search               placed[[]placed[string]]
	nextServer           placed[netip.Addr]
	bootFile, tftpServer placed[string]
	options              placed[rawOptions]
	reservations         []*rawReservation
	relay                placed[rawRelay]
	comment              placed[string]
}

type rawDHCPPool struct {
	at      *yaml.Node
	name    placed[string]
	vendor  placed[string]
	ranges  placed[[]placed[addressRange]]
	options placed[rawOptions]
}

type rawReservation struct {
	at       *yaml.Node
	mac      placed[packet.MAC]
	clientID placed[string] // octets
	address  placed[netip.Addr]
	name     placed[string] // lower case
	lease    placed[time.Duration]
	options  placed[rawOptions]
	comment  placed[string]
}

type rawRelay struct {
	servers   placed[[]placed[netip.Addr]]
	agent     placed[bool]
	circuitID placed[string]
	remoteID  placed[string]
	maxHops   placed[int]
	trust     placed[bool]
}

// rawOptions are options in the order of the file, encoded.
type rawOptions []rawOption

type rawOption struct {
	at    *yaml.Node // its name
	code  uint8
	value []byte
}

// rawDHCPServer is the section `dhcp_server:`.
type rawDHCPServer struct {
	at          *yaml.Node // nil: absent
	declineHold placed[time.Duration]
	maxLeases   placed[int]
}

// rawDHCPClient is the key `dhcp_client` of a port.
type rawDHCPClient struct {
	clientID     placed[rawClientID]
	hostname     placed[string]
	vendor       placed[string]
	request      placed[[]placed[uint8]]
	broadcast    placed[bool]
	check        placed[bool]
	defaultRoute placed[bool]
	routes       placed[bool]
	distance     placed[int]
	dns          placed[bool]
	release      placed[bool]
	lease        placed[time.Duration]
}

// rawClientID is option 61 as a client is to send it.
type rawClientID struct {
	off    bool
	octets string // empty without off: 1 and the MAC address
}
