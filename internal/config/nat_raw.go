package config

import (
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"
)

// rawNAT is one entry of `nat:`.
type rawNAT struct {
	at                  *yaml.Node
	out                 placed[string]
	kind                placed[NATType]
	source, destination placed[[]placed[netip.Prefix]]
	protocol            placed[uint8]
	to                  placed[[]placed[addressRange]]
	inside, outside     placed[netip.Addr]
	filtering           placed[NATFiltering]
	ports               placed[PortRange]
	blockSize           placed[int]
	maxBlocks           placed[int]
	deterministic       placed[bool]
	name, comment       placed[string]
}

// rawForward is one entry of `forwards:`.
type rawForward struct {
	at            *yaml.Node
	in            placed[string]
	protocol      placed[string] // tcp, udp or tcp_udp
	ports         placed[PortRange]
	address       placed[netip.Addr]
	to            placed[netip.AddrPort] // port 0: none was given
	source        placed[[]placed[netip.Prefix]]
	name, comment placed[string]
}

// rawSessions is the section `sessions:`.
type rawSessions struct {
	max, maxPerHost, maxHalfOpen            placed[int]
	udp, icmp, other                        placed[time.Duration]
	tcpEstablished, tcpTransitory, tcpReset placed[time.Duration]
	shortTimeouts, loose                    placed[bool]
	window                                  placed[string]
	helpers                                 placed[[]placed[string]]
}

// rawPortMapping is the section `port_mapping:`.
type rawPortMapping struct {
	at                *yaml.Node // nil: absent
	ports             placed[[]placed[string]]
	natPMP, pcp, upnp placed[bool]
	maxLifetime       placed[time.Duration]
	maxPerHost        placed[int]
}

// rawFirewall is the section `firewall:`.
type rawFirewall struct {
	at     *yaml.Node // nil: absent
	home   bool
	broken bool // something in it could not be read
	zones  []*rawZone
	sets   []*rawSet
	rules  []*rawFirewallRule
	policy []*rawPolicy
	access []*rawFirewallRule
}

type rawZone struct {
	name    string
	at      *yaml.Node
	broken  bool
	ports   placed[[]placed[string]]
	comment placed[string]
}

type rawSet struct {
	name      string
	at        *yaml.Node
	addresses placed[[]placed[netip.Prefix]]
	timeout   placed[time.Duration]
	max       placed[int]
	comment   placed[string]
}

type rawPolicy struct {
	at       *yaml.Node
	from, to placed[string]
	action   placed[FirewallAction]
	log      placed[bool]
	comment  placed[string]
}

// rawFirewallRule is an entry of `rules` or of `access`.
type rawFirewallRule struct {
	at                          *yaml.Node
	misplaced                   bool // a key of it was refused: it belongs to the other kind
	name                        placed[string]
	from, to, in, out           placed[string]
	source, notSource           placed[[]placed[netip.Prefix]]
	destination, notDestination placed[[]placed[netip.Prefix]]
	sourceSet, notSourceSet     placed[string]
	destSet, notDestSet         placed[string]
	protocol                    placed[uint8]
	sourcePorts, ports          placed[[]placed[PortRange]]
	icmpType, icmpCode          placed[int]
	flags                       placed[tcpFlags]
	states                      placed[[]placed[string]]
	dscp                        placed[int]
	length                      placed[lengthRange]
	rate                        placed[RuleRate]
	maxSessions                 placed[int]
	addTo                       placed[string]
	addFor                      placed[time.Duration]
	action                      placed[FirewallAction]
	log                         placed[bool]
	comment                     placed[string]
}

// addressRange is a span of addresses, both ends included.
type addressRange struct{ first, last netip.Addr }

// tcpFlags are flags of which those under the mask are to be as given.
type tcpFlags struct{ flags, mask uint8 }

// lengthRange is a span of lengths of packets in octets, both ends included.
type lengthRange struct{ least, most int }
