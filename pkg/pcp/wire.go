package pcp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	pcpVersion = 2
	headerLen  = 24
	mapLen     = 36
	maxMessage = 1100 // RFC 6887 section 7
)

// Operations (RFC 6887 section 19.2).
const (
	opAnnounce = 0
	opMap      = 1
)

// Options (section 13). Those below 128 have to be understood.
const (
	optionThirdParty    = 1
	optionPreferFailure = 2
	optionFilter        = 3
	optionalFrom        = 128
)

// Result codes (section 7.4).
const (
	pcpSuccess              = 0
	pcpUnsupportedVersion   = 1
	pcpNotAuthorized        = 2
	pcpMalformedRequest     = 3
	pcpUnsupportedOpcode    = 4
	pcpUnsupportedOption    = 5
	pcpMalformedOption      = 6
	pcpNetworkFailure       = 7
	pcpNoResources          = 8
	pcpUnsupportedProtocol  = 9
	pcpUserExceedsQuota     = 10
	pcpCannotProvide        = 11
	pcpAddressMismatch      = 12
	pcpExcessiveRemotePeers = 13
)

// How long a client should expect an error to last (section 7.4): some mend themselves soon, others
// take an operator.
const (
	shortWait   = 30 * time.Second
	longWait    = 30 * time.Minute
	versionWait = longWait
)

func wait(result byte) time.Duration {
	switch result {
	case pcpNetworkFailure, pcpNoResources, pcpUserExceedsQuota, pcpCannotProvide:
		return shortWait
	}
	return longWait
}

// pcpRequest is a request as far as it was understood.
type pcpRequest struct {
	opcode   byte
	lifetime time.Duration
	client   netip.Addr
	body     []byte // of the operation, options included
	done     []byte // the options that count, as they came

	nonce     [12]byte
	protocol  uint8
	port      uint16
	suggested netip.AddrPort

	preferFailure bool
	filters       int
	remote        netip.Addr // of the one filter
}

// parsePCP reads a whole request; with a result other than success it is refused with that.
func parsePCP(b []byte) (r pcpRequest, result byte) {
	if len(b) < headerLen {
		return r, pcpMalformedRequest
	}
	r.opcode = b[1]
	r.lifetime = time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second
	r.client = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	r.body = b[headerLen:]
	if len(b)%4 != 0 || len(b) > maxMessage {
		return r, pcpMalformedRequest
	}
	options := r.body
	switch r.opcode {
	case opAnnounce:
	case opMap:
		if len(r.body) < mapLen {
			return r, pcpMalformedRequest
		}
		r.nonce = [12]byte(r.body)
		r.protocol = r.body[12]
		r.port = binary.BigEndian.Uint16(r.body[16:])
		r.suggested = netip.AddrPortFrom(netip.AddrFrom16([16]byte(r.body[20:36])).Unmap(), binary.BigEndian.Uint16(r.body[18:]))
		options = r.body[mapLen:]
	default:
		return r, pcpUnsupportedOpcode
	}
	return r, r.parseOptions(options)
}

// parseOptions reads what follows the operation.
func (r *pcpRequest) parseOptions(b []byte) (result byte) {
	for len(b) > 0 {
		if len(b) < 4 {
			return pcpMalformedOption
		}
		code, n := b[0], int(binary.BigEndian.Uint16(b[2:]))
		padded := (n + 3) &^ 3
		if len(b) < 4+padded {
			return pcpMalformedOption
		}
		option, data := b[:4+padded], b[4:4+n]
		b = b[4+padded:]
		switch {
		case code == optionPreferFailure && r.opcode == opMap:
			if n != 0 || r.preferFailure {
				return pcpMalformedOption
			}
			r.preferFailure = true
		case code == optionFilter && r.opcode == opMap:
			if result := r.parseFilter(data); result != pcpSuccess {
				return result
			}
		case code < optionalFrom:
			return pcpUnsupportedOption // THIRD_PARTY too
		default:
			continue // what is left out of the answer was not processed (section 7.3)
		}
		r.done = append(r.done, option...)
	}
	return pcpSuccess
}

// parseFilter reads a FILTER (section 13.3). One host, any port, is what this server has; prefix length 0 takes back what
// came before.
func (r *pcpRequest) parseFilter(b []byte) byte {
	if len(b) != 20 {
		return pcpMalformedOption
	}
	bits, port := int(b[1]), binary.BigEndian.Uint16(b[2:])
	remote := netip.AddrFrom16([16]byte(b[4:20]))
	switch {
	case bits == 0:
		r.filters, r.remote = 0, netip.Addr{}
		return pcpSuccess
	case bits > 128 || bits < 96 || !remote.Is4In6():
		return pcpMalformedOption
	case bits != 128 || port != 0 || r.filters == 1:
		return pcpExcessiveRemotePeers
	}
	r.filters, r.remote = 1, remote.Unmap()
	return pcpSuccess
}

// pcpAnswer is a response: header, and the body of the request with what was granted in it.
func (s *Server) pcpAnswer(now time.Time, r pcpRequest, result byte, lifetime time.Duration, body []byte) []byte {
	out := make([]byte, headerLen, headerLen+len(body)+3)
	out[0] = pcpVersion
	out[1] = r.opcode | 0x80
	out[3] = result
	binary.BigEndian.PutUint32(out[4:], uint32(lifetime/time.Second))
	binary.BigEndian.PutUint32(out[8:], s.seconds(now))
	out = append(out, body...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

// pcp answers a request of version 2 (section 8.2: the checks in this order).
func (s *Server) pcp(now time.Time, from netip.AddrPort, b []byte) (answer []byte, refused bool) {
	r, result := parsePCP(b)
	refuse := func(result byte) ([]byte, bool) {
		body := r.body[:min(len(r.body), maxMessage-headerLen)]
		return s.pcpAnswer(now, r, result, wait(result), body), true
	}
	switch {
	case result != pcpSuccess:
		if len(b) < headerLen {
			return nil, true
		}
		return refuse(result)
	case r.client != from.Addr():
		return refuse(pcpAddressMismatch)
	case r.opcode == opAnnounce:
		return s.pcpAnswer(now, r, pcpSuccess, 0, nil), false
	case r.protocol == 0 && r.port != 0:
		return refuse(pcpMalformedRequest)
	case r.lifetime == 0 && r.port == 0:
		return s.pcpUnmapAll(now, r, from, refuse)
	case r.protocol != protoTCP && r.protocol != protoUDP || r.port == 0:
		return refuse(pcpUnsupportedProtocol) // all ports, and all protocols, among them
	}
	return s.pcpMap(now, r, from, refuse)
}

// pcpUnmapAll ends all of a client's mappings of a protocol, or of all of them (section 11.1: port 0 is legal for this). Those with
// another nonce stay; it is an error where there are no others.
func (s *Server) pcpUnmapAll(now time.Time, r pcpRequest, from netip.AddrPort, refuse func(byte) ([]byte, bool)) ([]byte, bool) {
	ended, kept := s.unmapAll(now, r.protocol, from.Addr(), true, r.nonce)
	if ended == 0 && kept > 0 {
		return refuse(pcpNotAuthorized)
	}
	return s.pcpAnswer(now, r, pcpSuccess, 0, r.granted()), false
}

// granted is the body of a success: the operation, and the options that were processed.
func (r *pcpRequest) granted() []byte {
	return append(append([]byte(nil), r.body[:mapLen]...), r.done...)
}

// pcpMap makes, renews or ends a mapping (sections 11.3 and 15).
func (s *Server) pcpMap(now time.Time, r pcpRequest, from netip.AddrPort, refuse func(byte) ([]byte, bool)) ([]byte, bool) {
	wish := r.suggested.Addr()
	if !wish.Is4() || wish.IsUnspecified() {
		if r.preferFailure && !wish.IsUnspecified() && r.lifetime > 0 {
			return refuse(pcpCannotProvide) // an IPv6 address, or nothing
		}
		wish = netip.Addr{}
	}
	ask := Request{
		Protocol: r.protocol, Client: netip.AddrPortFrom(from.Addr(), r.port), Suggested: netip.AddrPortFrom(wish, r.suggested.Port()),
		Exact:  r.preferFailure && r.suggested.Port() != 0, // without a port there is nothing to insist on but the address
		Remote: r.remote, Lifetime: r.lifetime, PCP: true, Nonce: r.nonce,
	}
	body := r.granted()
	if r.lifetime == 0 {
		if s.unmapOne(now, ask) != Made {
			return refuse(pcpNotAuthorized)
		}
		return s.pcpAnswer(now, r, pcpSuccess, 0, body), false
	}
	g, why := s.mapOne(now, ask)
	switch why {
	case NoAddress:
		return refuse(pcpNetworkFailure)
	case NoRoom:
		return refuse(pcpNoResources)
	case Quota:
		return refuse(pcpUserExceedsQuota)
	case NotAuthorized:
		return refuse(pcpNotAuthorized)
	case Taken:
		return refuse(pcpCannotProvide)
	}
	binary.BigEndian.PutUint16(body[18:], g.Outside.Port())
	sixteen := g.Outside.Addr().As16()
	copy(body[20:36], sixteen[:])
	return s.pcpAnswer(now, r, pcpSuccess, g.Lifetime, body), false
}
