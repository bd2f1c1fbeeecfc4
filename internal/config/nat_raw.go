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

// addressRange is a span of addresses, both ends included.
type addressRange struct{ first, last netip.Addr }
