package packet

import "encoding/binary"

// Lengths of the transport headers.
const (
	TCPMinLen = 20
	UDPLen    = 8
)

// TCP flags.
const (
	TCPFin = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
	TCPUrg
	TCPEce
	TCPCwr
)

// TCP is a view of a TCP segment; it needs TCPMinLen bytes (RFC 9293 section 3.1).
type TCP []byte

func (t TCP) SrcPort() uint16      { return binary.BigEndian.Uint16(t) }
func (t TCP) DstPort() uint16      { return binary.BigEndian.Uint16(t[2:]) }
func (t TCP) Seq() uint32          { return binary.BigEndian.Uint32(t[4:]) }
func (t TCP) Ack() uint32          { return binary.BigEndian.Uint32(t[8:]) }
func (t TCP) HeaderLen() int       { return int(t[12]>>4) * 4 }
func (t TCP) Flags() uint8         { return t[13] }
func (t TCP) Checksum() uint16     { return binary.BigEndian.Uint16(t[16:]) }
func (t TCP) SetSeq(v uint32)      { binary.BigEndian.PutUint32(t[4:], v) }
func (t TCP) SetFlags(v uint8)     { t[13] = v }
func (t TCP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(t[16:], v) }

// UDP is a view of a UDP datagram; it needs UDPLen bytes (RFC 768).
type UDP []byte

func (u UDP) SrcPort() uint16      { return binary.BigEndian.Uint16(u) }
func (u UDP) DstPort() uint16      { return binary.BigEndian.Uint16(u[2:]) }
func (u UDP) Length() int          { return int(binary.BigEndian.Uint16(u[4:])) }
func (u UDP) Checksum() uint16     { return binary.BigEndian.Uint16(u[6:]) }
func (u UDP) SetSrcPort(v uint16)  { binary.BigEndian.PutUint16(u, v) }
func (u UDP) SetDstPort(v uint16)  { binary.BigEndian.PutUint16(u[2:], v) }
func (u UDP) SetLength(n int)      { binary.BigEndian.PutUint16(u[4:], uint16(n)) }
func (u UDP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(u[6:], v) }
func (u UDP) Payload() []byte      { return u[UDPLen:] }
