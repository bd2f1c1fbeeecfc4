package config

import (
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// The raw configuration is what the tables of keys fill in: values that are
// right by themselves, each with its place, before anything is known of how they go
// together.

type rawConfig struct {
	root       *yaml.Node
	name       placed[string]
	ports      []*rawPort
	routes     []*rawRoute
	neighbors  []*rawNeighbor
	icmp       rawICMP
	forwarding rawForwarding
	arp        rawARP
	control    rawControl
	rip        rawRIP

	nat         []*rawNAT
	forwards    []*rawForward
	sessions    rawSessions
	portMapping rawPortMapping
	firewall    rawFirewall

	dhcp       []*rawDHCPEntry
	dhcpAt     *yaml.Node // nil: absent
	dhcpServer rawDHCPServer
	dns        rawDNS
}

type rawPort struct {
	name        string
	at          *yaml.Node // its name
	broken      bool       // something in it could not be read
	index       int        // in the order of the file
	kind        placed[Kind]
	netns       placed[string]
	device      placed[string]
	address     placed[[]placed[netip.Prefix]] // of a port with dynamic: there, and empty
	dynamic     bool                           // `address: dhcp`
	client      placed[rawDHCPClient]
	mac         placed[packet.MAC]
	mtu         placed[int]
	offload     placed[string]
	proxyARP    placed[[]placed[netip.Prefix]]
	bridge      placed[rawBridge]
	host        placed[rawHost]
	enabled     placed[bool]
	mssClamp    placed[int]
	reversePath placed[ReversePath]
	leakGuard   placed[bool]
	redirects   placed[bool]
	comment     placed[string]
}

type rawBridge struct {
	name    placed[string]
	members placed[[]placed[string]]
}

type rawHost struct {
	address placed[[]placed[netip.Prefix]]
	gateway placed[netip.Addr]
}

type rawRoute struct {
	at       *yaml.Node
	to       placed[netip.Prefix]
	via      placed[[]placed[netip.Addr]]
	port     placed[string]
	kind     placed[RouteType]
	distance placed[int]
	metric   placed[int]
	tag      placed[int]
	name     placed[string]
	comment  placed[string]
}

type rawNeighbor struct {
	at      *yaml.Node
	port    placed[string]
	address placed[netip.Addr]
	mac     placed[packet.MAC]
	name    placed[string]
	comment placed[string]
}

type rawICMP struct {
	rate           placed[int]
	perDestination placed[int]
}

type rawForwarding struct {
	classE      placed[bool]
	sourceRoute placed[bool]
}

type rawARP struct {
	reachable placed[time.Duration]
	maxCache  placed[int]
	probe     placed[bool]
}

type rawControl struct {
	readOnly placed[string]
}
