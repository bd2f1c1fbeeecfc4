package packet

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds b to an unfolded one's-complement sum (RFC 1071). Fold the end
// result with [Fold]. Partial sums may be chained as long as every piece but
// the last has an even length.
func Sum(b []byte, initial uint64) uint64 {
	sum, carry := initial, uint64(0)
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	var tail uint64
	if len(b) >= 4 {
		tail += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		tail += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		tail += uint64(b[0]) << 8
	}
	sum, carry = bits.Add64(sum, tail, 0)
	return sum + carry
}

// Fold reduces a sum to 16 bits without complementing it.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// Checksum is the Internet checksum of b: the complement of the folded sum.
func Checksum(b []byte) uint16 { return ^Fold(Sum(b, 0)) }

// PseudoHeaderSum is the unfolded sum of the TCP/UDP pseudo-header (RFC 9293 section 3.1).
func PseudoHeaderSum(src, dst Addr, protocol uint8, length int) uint64 {
	return uint64(src) + uint64(dst) + uint64(protocol) + uint64(length)
}

// UpdateChecksum16 returns the header checksum after one 16-bit word of the
// covered bytes changed from old to new: HC' = ~(~HC + ~m + m'), RFC 1624
// equation 3, which is right in the 0x0000/0xffff corner where RFC 1141 is not.
func UpdateChecksum16(sum, old, new uint16) uint16 {
	s := uint32(^sum) + uint32(^old) + uint32(new)
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return ^uint16(s)
}

// UpdateChecksum32 is UpdateChecksum16 for two words at once, such as an address.
func UpdateChecksum32(sum uint16, old, new uint32) uint16 {
	return UpdateChecksum16(UpdateChecksum16(sum, uint16(old>>16), uint16(new>>16)), uint16(old), uint16(new))
}
