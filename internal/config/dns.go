package config

import (
	"net/netip"
	"time"
)

// DNS is the section `dns:`.
type DNS struct {
	Listen       []string // ports
	Domain       string   // default: none
	Upstreams    []DNSUpstream
	UpstreamDHCP bool // no upstream for everything is given: those that DHCP brings are asked
	Records      []DNSRecord

	Cache            int // answers; default 10000; -1: none
	MinTTL, MaxTTL   time.Duration
	LocalTTL         time.Duration // default 1m
	MaxQueries       int           // default 1000
	MaxPerClient     int           // default 150
	Timeout          time.Duration // default 2s
	RebindProtection bool
	RebindAllow      []string
	PrivateReverse   bool // ask upstream for private reverse names; default false
	Pos              Pos
}

// DNSUpstream is a set of servers for the names below a domain ("": all).
type DNSUpstream struct {
	Domain  string
	Servers []netip.AddrPort
	Pos     Pos
}

// DNSRecord is a static name.
type DNSRecord struct {
	Name      string
	Addresses []netip.Addr
	CNAME     string
	TXT       []string
	TTL       time.Duration
	Pos       Pos
}
