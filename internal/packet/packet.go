// Package packet gives names to the bytes of a frame.
//
// Headers are views: a named byte slice with a method a field, so that
// reading a field is one load and no header is ever copied into a struct. A view
// is only as safe as its slice is long: the door of the dataplane checks lengths once
// (see [IPv4.Validate]), and what stands behind it relies on that.
//
// The package also holds the Internet checksum, whole (RFC 1071) and
// incremental (RFC 1624), and the virtio-net header with which TUN/TAP devices
// describe super-frames.
package packet

import (
	"encoding/binary"
	"net/netip"
)

// Addr is an IPv4 address in host byte order: 10.0.0.1 is 0x0a000001.
// The dataplane and the FIB compare and mask addresses as numbers.
type Addr uint32

// AddrFrom converts an IPv4 (or 4-in-6) netip address; the zero Addr for any other.
func AddrFrom(a netip.Addr) Addr {
	a = a.Unmap()
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return Addr(binary.BigEndian.Uint32(b[:]))
}

// Netip converts back.
func (a Addr) Netip() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(a))
	return netip.AddrFrom4(b)
}

func (a Addr) String() string { return a.Netip().String() }

// Mask returns the netmask of a prefix length from 0 to 32.
func Mask(bits int) Addr { return Addr(^uint32(0) << (32 - uint(bits))) }

// IsMulticast reports 224.0.0.0/4 (RFC 5771).
func (a Addr) IsMulticast() bool { return a>>28 == 0xe }

// IsLinkLocalMulticast reports 224.0.0.0/24, which no router forwards (RFC 5771 section 4).
func (a Addr) IsLinkLocalMulticast() bool { return a>>8 == 0xe00000 }

// IsLoopback reports 127.0.0.0/8 (RFC 1122 section 3.2.1.3).
func (a Addr) IsLoopback() bool { return a>>24 == 127 }

// IsZeroNet reports 0.0.0.0/8, "this network" (RFC 1122 section 3.2.1.3).
func (a Addr) IsZeroNet() bool { return a>>24 == 0 }

// IsClassE reports 240.0.0.0/4, 255.255.255.255 included.
func (a Addr) IsClassE() bool { return a>>28 == 0xf }

// Broadcast is the limited broadcast address.
const Broadcast Addr = 0xffffffff

// IsPrivate reports the networks of RFC 1918.
func (a Addr) IsPrivate() bool {
	return a>>24 == 10 || a>>20 == 0xac1 || a>>16 == 0xc0a8
}
