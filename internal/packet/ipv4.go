package packet

import "encoding/binary"

// IPv4MinLen and IPv4MaxLen bound an IPv4 header (RFC 791 section 3.1).
const (
	IPv4MinLen = 20
	IPv4MaxLen = 60
)

// Protocol numbers (IANA).
const (
	ProtoICMP = 1
	ProtoIGMP = 2
	ProtoTCP  = 6
	ProtoUDP  = 17
)

// Flags and fragment offset of the IPv4 header.
const (
	FlagDF         = 0x4000
	FlagMF         = 0x2000
	FragOffsetMask = 0x1fff
)

// IPv4 is a view of an IPv4 packet, options and payload included.
type IPv4 []byte

func (p IPv4) Version() int          { return int(p[0] >> 4) }
func (p IPv4) HeaderLen() int        { return int(p[0]&0xf) * 4 }
func (p IPv4) TOS() uint8            { return p[1] }
func (p IPv4) TotalLen() int         { return int(binary.BigEndian.Uint16(p[2:])) }
func (p IPv4) ID() uint16            { return binary.BigEndian.Uint16(p[4:]) }
func (p IPv4) FlagsFragment() uint16 { return binary.BigEndian.Uint16(p[6:]) }
func (p IPv4) TTL() uint8            { return p[8] }
func (p IPv4) Protocol() uint8       { return p[9] }
func (p IPv4) Checksum() uint16      { return binary.BigEndian.Uint16(p[10:]) }
func (p IPv4) Src() Addr             { return Addr(binary.BigEndian.Uint32(p[12:])) }
func (p IPv4) Dst() Addr             { return Addr(binary.BigEndian.Uint32(p[16:])) }

func (p IPv4) SetTOS(v uint8)            { p[1] = v }
func (p IPv4) SetTotalLen(n int)         { binary.BigEndian.PutUint16(p[2:], uint16(n)) }
func (p IPv4) SetID(v uint16)            { binary.BigEndian.PutUint16(p[4:], v) }
func (p IPv4) SetFlagsFragment(v uint16) { binary.BigEndian.PutUint16(p[6:], v) }
func (p IPv4) SetTTL(v uint8)            { p[8] = v }
func (p IPv4) SetProtocol(v uint8)       { p[9] = v }
func (p IPv4) SetChecksum(v uint16)      { binary.BigEndian.PutUint16(p[10:], v) }
func (p IPv4) SetSrc(a Addr)             { binary.BigEndian.PutUint32(p[12:], uint32(a)) }
func (p IPv4) SetDst(a Addr)             { binary.BigEndian.PutUint32(p[16:], uint32(a)) }

// Header is the header with its options; Payload what follows, up to the end of the slice.
func (p IPv4) Header() []byte  { return p[:p.HeaderLen()] }
func (p IPv4) Options() []byte { return p[IPv4MinLen:p.HeaderLen()] }
func (p IPv4) Payload() []byte { return p[p.HeaderLen():] }

// DontFragment reports the DF bit; MoreFragments the MF bit.
func (p IPv4) DontFragment() bool  { return p.FlagsFragment()&FlagDF != 0 }
func (p IPv4) MoreFragments() bool { return p.FlagsFragment()&FlagMF != 0 }

// FragmentOffset is the offset of this fragment's payload in octets.
func (p IPv4) FragmentOffset() int { return int(p.FlagsFragment()&FragOffsetMask) * 8 }

// IsFragment reports any fragment, the first included.
func (p IPv4) IsFragment() bool { return p.FlagsFragment()&(FlagMF|FragOffsetMask) != 0 }

// UpdateHeaderChecksum computes the header checksum anew and stores it.
func (p IPv4) UpdateHeaderChecksum() {
	p.SetChecksum(0)
	p.SetChecksum(Checksum(p.Header()))
}

// DecrementTTL lowers the TTL by one and adjusts the checksum (RFC 1624).
func (p IPv4) DecrementTTL() {
	old := binary.BigEndian.Uint16(p[8:])
	p[8]--
	p.SetChecksum(UpdateChecksum16(p.Checksum(), old, binary.BigEndian.Uint16(p[8:])))
}

// HeaderFault says what is wrong with an IPv4 header.
type HeaderFault uint8

// What Validate may find, in the order of the checks of RFC 1812 section 5.2.2.
const (
	HeaderGood        HeaderFault = iota
	HeaderShort                   // fewer octets than the shortest header
	HeaderVersion                 // not version 4
	HeaderLength                  // IHL below 5, or beyond the octets that arrived
	HeaderChecksum                // the header's sum is wrong
	HeaderTotalLength             // total length below the header's, or beyond the octets that arrived
)

// Validate checks a header as RFC 1812 section 5.2.2 asks. Octets past the total
// length are legal (Ethernet pads short frames); the caller trims them.
func (p IPv4) Validate() HeaderFault {
	if len(p) < IPv4MinLen {
		return HeaderShort
	}
	if p[0]>>4 != 4 {
		return HeaderVersion
	}
	hl := p.HeaderLen()
	if hl < IPv4MinLen || hl > len(p) {
		return HeaderLength
	}
	if hl == IPv4MinLen {
		// The common case without the loop: five 32-bit words, written out.
		s := uint64(binary.BigEndian.Uint32(p)) + uint64(binary.BigEndian.Uint32(p[4:])) +
			uint64(binary.BigEndian.Uint32(p[8:])) + uint64(binary.BigEndian.Uint32(p[12:])) +
			uint64(binary.BigEndian.Uint32(p[16:20]))
		if Fold(s) != 0xffff {
			return HeaderChecksum
		}
	} else if Fold(Sum(p[:hl], 0)) != 0xffff {
		return HeaderChecksum
	}
	if tl := p.TotalLen(); tl < hl || tl > len(p) {
		return HeaderTotalLength
	}
	return HeaderGood
}
