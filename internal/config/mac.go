package config

import (
	"crypto/sha256"

	"vrouterd/internal/packet"
)

// DefaultMAC derives the address of a port from its instance and its name: the
// same at every start, so that neighbours keep what they learned, and different
// between routers. It is locally administered and unicast (RFC 9542 section 2.1: the
// second lowest bit of the first octet is set, the lowest is not), and begins with 02.
//
// 40 bits of a hash may meet: validation moves the later port of one
// instance on, by hashing its address once more.
func DefaultMAC(instance, port string) packet.MAC {
	sum := sha256.Sum256([]byte("vrouterd port\x00" + instance + "\x00" + port))
	return packet.MAC{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

// nextMAC is where a derived address goes when it is taken.
func nextMAC(m packet.MAC) packet.MAC {
	sum := sha256.Sum256(m[:])
	return packet.MAC{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
}
