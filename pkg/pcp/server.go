package pcp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Ports of the protocols (RFC 6887 section 19.1).
const (
	ServerPort = 5351
	ClientPort = 5350 // where clients listen for announcements
)

// Group is where announcements go: all hosts on the link.
var group = netip.AddrFrom4([4]byte{224, 0, 0, 1})

// Group is the address of announcements.
func Group() netip.Addr { return group }

// Request is a mapping that a client asks for.
type Request struct {
	Protocol  uint8 // 6 or 17
	Client    netip.AddrPort
	Suggested netip.AddrPort // address and port are each zero where it has no wish; never IPv6
	Exact     bool           // PREFER_FAILURE: the suggested port, and address if there is one, or nothing
	Remote    netip.Addr     // FILTER: the only host that may use it; zero: anybody
	Lifetime  time.Duration
	PCP       bool // else NAT-PMP
	Nonce     [12]byte
}

// Granted is the mapping that there is now.
type Granted struct {
	Outside  netip.AddrPort
	Lifetime time.Duration
}

// Refusal says why there is none.
type Refusal uint8

// The refusals.
const (
	Made          Refusal = iota
	NoAddress             // the outside has no address now
	NoRoom                // out of ports or mappings
	Quota                 // this client has as many as it may have
	NotAuthorized         // the policy does not translate this client, or the mapping is another's
	Taken                 // Exact, and somebody has it
)

// Mapper is the NAT.
type Mapper interface {
	// Address is the outside address that a client's mappings get.
	Address(client netip.Addr) (netip.Addr, bool)
	// Map makes or renews a mapping.
	Map(now time.Time, r Request) (Granted, Refusal)
	// Unmap ends what Map has made for an inside port. It is no error if there is nothing, but NotAuthorized where the port is mapped by
	// somebody whom clients have nothing to say: the configuration. Port 0 ends nothing, and asks whether any port of
	// the client is mapped so (protocol 0: of either protocol).
	Unmap(now time.Time, protocol uint8, client netip.AddrPort) Refusal
}

// Config of a server.
type Config struct {
	NATPMP, PCP bool
	MaxLifetime time.Duration // what clients get at most; 0: 24 h
}

// MinLifetime is what a client of PCP gets at least (RFC 6887 section 15).
const MinLifetime = 2 * time.Minute

// Counts of what has come.
type Counts struct {
	Requests  uint64 // understood
	Refused   uint64 // answered with an error
	Malformed uint64 // not answered: too short, or no request
}

// Server answers. It is not safe for concurrent use.
type Server struct {
	config Config
	nat    Mapper
	epoch  time.Time
	owners map[key]owner
	next   time.Time // when owners is searched for what is over
	counts Counts
}

type key struct {
	protocol uint8
	client   netip.AddrPort
}

// owner is who made a mapping, and until when it lasts.
type owner struct {
	nonce [12]byte
	pcp   bool
	until time.Time
}

// New makes a server whose epoch begins now.
func New(c Config, nat Mapper, now time.Time) *Server {
	if c.MaxLifetime == 0 {
		c.MaxLifetime = 24 * time.Hour
	}
	return &Server{config: c, nat: nat, epoch: now, owners: map[key]owner{}}
}

// Configure changes what is offered. Mappings stay.
func (s *Server) Configure(c Config) {
	if c.MaxLifetime == 0 {
		c.MaxLifetime = 24 * time.Hour
	}
	s.config = c
}

// Counts since New.
func (s *Server) Counts() Counts { return s.counts }

// ResetEpoch begins the epoch anew: when the outside address has changed or mappings have been lost, so that
// clients ask again for what they need (RFC 6886 section 3.6, RFC 6887 section 8.5). Mappings stay whose they are.
func (s *Server) ResetEpoch(now time.Time) { s.epoch = now }

// seconds is the epoch as the protocols count it.
func (s *Server) seconds(now time.Time) uint32 { return uint32(max(0, now.Sub(s.epoch)/time.Second)) }

// Receive answers a datagram from a client; nil: no answer. The datagram is not kept.
func (s *Server) Receive(now time.Time, from netip.AddrPort, datagram []byte) []byte {
	if len(datagram) < 2 || datagram[1]&0x80 != 0 || !from.Addr().Is4() {
		s.counts.Malformed++
		return nil
	}
	s.sweep(now)
	var answer []byte
	refused := false
	switch version := datagram[0]; {
	case version == 0 && s.config.NATPMP:
		answer, refused = s.natPMP(now, from, datagram)
	case version == pcpVersion && s.config.PCP:
		answer, refused = s.pcp(now, from, datagram)
	default:
		answer, refused = s.wrongVersion(now, datagram), true
	}
	switch {
	case answer == nil:
		s.counts.Malformed++
	case refused:
		s.counts.Refused++
	default:
		s.counts.Requests++
	}
	return answer
}

// wrongVersion tells a client which version to try (RFC 6886 section 3.5, RFC 6887 section 9).
func (s *Server) wrongVersion(now time.Time, datagram []byte) []byte {
	if s.config.PCP {
		// Every error has the request in it (section 8.2), as far as it is longer than a header.
		rest := datagram[min(len(datagram), headerLen):min(len(datagram), maxMessage)]
		return s.pcpAnswer(now, pcpRequest{opcode: datagram[1]}, pcpUnsupportedVersion, versionWait, rest)
	}
	out := []byte{0, datagram[1] | 0x80, 0, natPMPUnsupportedVersion}
	return binary.BigEndian.AppendUint32(out, s.seconds(now))
}

// sweep forgets the owners of mappings that are over.
func (s *Server) sweep(now time.Time) {
	if now.Before(s.next) {
		return
	}
	s.next = now.Add(time.Minute)
	for k, o := range s.owners {
		if !o.until.After(now) {
			delete(s.owners, k)
		}
	}
}

// lifetime is what a client gets of what it asks for. With NAT-PMP it is not more than that (RFC 6886 section 3.3).
func (s *Server) lifetime(r Request) time.Duration {
	wish := r.Lifetime
	if r.PCP {
		wish = max(wish, MinLifetime)
	}
	return min(wish, s.config.MaxLifetime)
}

// mapOne asks the NAT for a mapping, unless it is somebody else's: of the same host, but with another nonce
// (RFC 6887 section 11.3).
func (s *Server) mapOne(now time.Time, r Request) (Granted, Refusal) {
	k := key{r.Protocol, r.Client}
	if o, ok := s.owners[k]; ok && o.until.After(now) && o.pcp && (!r.PCP || o.nonce != r.Nonce) {
		return Granted{}, NotAuthorized
	}
	r.Lifetime = s.lifetime(r)
	g, why := s.nat.Map(now, r)
	if why == Made {
		s.owners[k] = owner{nonce: r.Nonce, pcp: r.PCP, until: now.Add(g.Lifetime)}
	}
	return g, why
}

// unmapOne ends a client's mapping.
func (s *Server) unmapOne(now time.Time, r Request) Refusal {
	k := key{r.Protocol, r.Client}
	if o, ok := s.owners[k]; ok && o.until.After(now) && o.pcp && (!r.PCP || o.nonce != r.Nonce) {
		return NotAuthorized
	}
	delete(s.owners, k)
	return s.nat.Unmap(now, r.Protocol, r.Client) // what is gone already is so as it was asked for
}

// unmapAll ends all of a client's mappings of a protocol, 0 for every one: those made with NAT-PMP, and, when PCP asks, those
// with its nonce. kept is how many are not its to end; all that the configuration has made count as one.
func (s *Server) unmapAll(now time.Time, protocol uint8, client netip.Addr, pcp bool, nonce [12]byte) (ended, kept int) {
	for k, o := range s.owners {
		switch {
		case protocol != 0 && k.protocol != protocol, k.client.Addr() != client, !o.until.After(now):
		case o.pcp && (!pcp || o.nonce != nonce):
			kept++
		default:
			delete(s.owners, k)
			s.nat.Unmap(now, k.protocol, k.client)
			ended++
		}
	}
	if s.nat.Unmap(now, protocol, netip.AddrPortFrom(client, 0)) != Made {
		kept++
	}
	return ended, kept
}

// Announcements is how often, and AnnounceAfter how long after one another, a changed outside address or a restart is told
// (RFC 6886 section 3.2.1, RFC 6887 section 14.1.3).
const Announcements = 10

// AnnounceAfter is the pause before announcement n, from 0.
func AnnounceAfter(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return 250 * time.Millisecond << (n - 1)
}

// Announce is what is sent to the group, from ServerPort to ClientPort, when the outside address has changed or the
// router has started: a datagram for each protocol. near is the router's address on that link.
func (s *Server) Announce(now time.Time, near netip.Addr) (datagrams [][]byte) {
	if outside, ok := s.nat.Address(near); ok && s.config.NATPMP {
		datagrams = append(datagrams, s.natPMPAddress(now, outside, natPMPSuccess))
	}
	if s.config.PCP {
		datagrams = append(datagrams, s.pcpAnswer(now, pcpRequest{opcode: opAnnounce}, pcpSuccess, 0, nil))
	}
	return datagrams
}
