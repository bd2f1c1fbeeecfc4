package packet

import (
	"encoding/binary"
	"net"
)

// EthernetLen is the length of an Ethernet header without a VLAN tag.
const EthernetLen = 14

// EtherTypes that the router knows.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
)

// MAC is an Ethernet address as a comparable value.
type MAC [6]byte

// BroadcastMAC is ff:ff:ff:ff:ff:ff.
var BroadcastMAC = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsGroup reports a broadcast or multicast address: the lowest bit of the first octet.
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// IsZero reports the all-zero address, which no station owns.
func (m MAC) IsZero() bool { return m == MAC{} }

// ParseMAC reads six octets in hexadecimal, in any of the forms of [net.ParseMAC]:
// separated by colons or hyphens, above all.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, err
	}
	if len(hw) != 6 {
		return MAC{}, &net.AddrError{Err: "not a 6-octet MAC address", Addr: s}
	}
	return MAC(hw), nil
}

// MarshalText and UnmarshalText let a MAC stand in YAML and JSON.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *MAC) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMAC(string(b))
	return err
}

// Ethernet is a view of an Ethernet header; it needs EthernetLen bytes.
type Ethernet []byte

func (e Ethernet) Dst() MAC         { return MAC(e[0:6]) }
func (e Ethernet) Src() MAC         { return MAC(e[6:12]) }
func (e Ethernet) Type() uint16     { return binary.BigEndian.Uint16(e[12:]) }
func (e Ethernet) SetDst(m MAC)     { copy(e[0:6], m[:]) }
func (e Ethernet) SetSrc(m MAC)     { copy(e[6:12], m[:]) }
func (e Ethernet) SetType(t uint16) { binary.BigEndian.PutUint16(e[12:], t) }
func (e Ethernet) Payload() []byte  { return e[EthernetLen:] }
