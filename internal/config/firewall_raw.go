package config

import (
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"
)

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

// tcpFlags are flags of which those under the mask are to be as given.
type tcpFlags struct{ flags, mask uint8 }

// lengthRange is a span of lengths of packets in octets, both ends included.
type lengthRange struct{ least, most int }
