package packet

import "encoding/binary"

// VnetLen is the length of the virtio-net header that a TUN/TAP device with
// IFF_VNET_HDR puts before each frame (virtio 1.2 section 5.1.6, without num_buffers).
const VnetLen = 10

// Flags of the virtio-net header.
const (
	VnetNeedsChecksum = 1 // the checksum field holds the pseudo-header sum, to be completed
	VnetDataValid     = 2 // the sender vouches for the checksum
)

// Segmentation types of the virtio-net header.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOUDP   = 3 // UDP fragmentation offload: IP fragments of one datagram
	GSOTCPv6 = 4
	GSOUDPL4 = 5 // UDP segmentation offload: datagrams of gso_size each
	GSOECN   = 0x80
)

// Vnet is a virtio-net header in the machine's byte order (little endian on
// every platform that vrouterd runs on; the devices are opened so).
type Vnet struct {
	Flags       uint8
	GSOType     uint8
	HeaderLen   uint16 // length of all headers of a super-frame, from the start of the frame
	GSOSize     uint16 // payload octets of each segment
	ChecksumAt  uint16 // where the sum's coverage starts, from the start of the frame
	ChecksumOff uint16 // where the sum is stored, from ChecksumAt
}

// ParseVnet reads a header; b needs VnetLen bytes.
func ParseVnet(b []byte) Vnet {
	_ = b[VnetLen-1]
	return Vnet{
		Flags: b[0], GSOType: b[1],
		HeaderLen:   binary.LittleEndian.Uint16(b[2:]),
		GSOSize:     binary.LittleEndian.Uint16(b[4:]),
		ChecksumAt:  binary.LittleEndian.Uint16(b[6:]),
		ChecksumOff: binary.LittleEndian.Uint16(b[8:]),
	}
}

// Put writes the header; b needs VnetLen bytes.
func (v Vnet) Put(b []byte) {
	_ = b[VnetLen-1]
	b[0], b[1] = v.Flags, v.GSOType
	binary.LittleEndian.PutUint16(b[2:], v.HeaderLen)
	binary.LittleEndian.PutUint16(b[4:], v.GSOSize)
	binary.LittleEndian.PutUint16(b[6:], v.ChecksumAt)
	binary.LittleEndian.PutUint16(b[8:], v.ChecksumOff)
}

// IsSuper reports a frame that stands for several.
func (v Vnet) IsSuper() bool { return v.GSOType&^GSOECN != GSONone }
