package pcp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Result codes of NAT-PMP (RFC 6886 section 3.5).
const (
	natPMPSuccess            = 0
	natPMPUnsupportedVersion = 1
	natPMPNotAuthorized      = 2
	natPMPNetworkFailure     = 3
	natPMPOutOfResources     = 4
	natPMPUnsupportedOpcode  = 5
)

// Operations of NAT-PMP.
const (
	natPMPOpAddress = 0
	natPMPOpUDP     = 1
	natPMPOpTCP     = 2
)

const (
	protoTCP = 6
	protoUDP = 17
)

// natPMP answers a request of version 0.
func (s *Server) natPMP(now time.Time, from netip.AddrPort, b []byte) (answer []byte, refused bool) {
	switch b[1] {
	case natPMPOpAddress:
		outside, ok := s.nat.Address(from.Addr())
		if !ok {
			return s.natPMPAddress(now, netip.IPv4Unspecified(), natPMPNetworkFailure), true
		}
		return s.natPMPAddress(now, outside, natPMPSuccess), false
	case natPMPOpUDP, natPMPOpTCP:
		if len(b) < 12 {
			return nil, true
		}
		return s.natPMPMap(now, from, b)
	}
	// The request comes back whole (section 3.5); what is shorter than any answer gets the epoch behind it.
	out := append([]byte{0, b[1] | 0x80, 0, natPMPUnsupportedOpcode}, b[min(len(b), 4):min(len(b), maxMessage)]...)
	if len(b) < 8 {
		out = binary.BigEndian.AppendUint32(out[:4], s.seconds(now))
	}
	return out, true
}

// natPMPAddress is the answer to the question for the outside address, and its announcement (section 3.2).
func (s *Server) natPMPAddress(now time.Time, outside netip.Addr, result byte) []byte {
	out := []byte{0, 0x80 | natPMPOpAddress, 0, result}
	out = binary.BigEndian.AppendUint32(out, s.seconds(now))
	four := outside.As4()
	return append(out, four[:]...)
}

// natPMPMap makes, renews or ends a mapping (sections 3.3 and 3.4).
func (s *Server) natPMPMap(now time.Time, from netip.AddrPort, b []byte) ([]byte, bool) {
	r := Request{Protocol: protoUDP, Client: netip.AddrPortFrom(from.Addr(), binary.BigEndian.Uint16(b[4:]))}
	if b[1] == natPMPOpTCP {
		r.Protocol = protoTCP
	}
	suggested := binary.BigEndian.Uint16(b[6:])
	r.Suggested = netip.AddrPortFrom(netip.Addr{}, suggested)
	wish := binary.BigEndian.Uint32(b[8:])
	answer := func(result byte, port uint16, lifetime uint32) []byte {
		out := []byte{0, b[1] | 0x80, 0, result}
		out = binary.BigEndian.AppendUint32(out, s.seconds(now))
		out = binary.BigEndian.AppendUint16(out, r.Client.Port())
		out = binary.BigEndian.AppendUint16(out, port)
		return binary.BigEndian.AppendUint32(out, lifetime)
	}
	if wish == 0 {
		if r.Client.Port() == 0 {
			if _, kept := s.unmapAll(now, r.Protocol, from.Addr(), false, [12]byte{}); kept > 0 {
				return answer(natPMPNotAuthorized, 0, 0), true // those that are its own have ended all the same
			}
			return answer(natPMPSuccess, 0, 0), false
		}
		if s.unmapOne(now, r) != Made {
			return answer(natPMPNotAuthorized, 0, 0), true
		}
		return answer(natPMPSuccess, 0, 0), false
	}
	if r.Client.Port() == 0 { // only for ending all of them
		return answer(natPMPNotAuthorized, 0, 0), true
	}
	r.Lifetime = time.Duration(wish) * time.Second
	g, why := s.mapOne(now, r)
	switch why {
	case Made:
		return answer(natPMPSuccess, g.Outside.Port(), uint32(g.Lifetime/time.Second)), false
	case NoAddress:
		return answer(natPMPNetworkFailure, 0, 0), true
	case NotAuthorized:
		return answer(natPMPNotAuthorized, 0, 0), true
	}
	return answer(natPMPOutOfResources, 0, 0), true
}
