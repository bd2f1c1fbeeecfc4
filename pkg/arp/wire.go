package arp

import (
	"encoding/binary"

	"vrouterd/internal/packet"
)

// PacketLen is the length of an ARP packet for IPv4 over Ethernet (RFC 826).
// Frames may be longer: Ethernet pads them to 60 octets.
const PacketLen = 28

// FrameLen is the length of the Ethernet frames in [Send], without padding and check sequence.
const FrameLen = packet.EthernetLen + PacketLen

// Constants of the fixed part (RFC 826, IANA).
const (
	hardwareEthernet = 1
	hardwareLen      = 6
	protocolLen      = 4
)

// Op is the operation of an ARP packet (RFC 826).
type Op uint16

// The operations of IPv4 over Ethernet.
const (
	OpRequest Op = 1
	OpReply   Op = 2
)

// Packet is a view of an ARP packet for IPv4 over Ethernet; it needs PacketLen bytes.
type Packet []byte

func (p Packet) HardwareType() uint16    { return binary.BigEndian.Uint16(p[0:]) }
func (p Packet) ProtocolType() uint16    { return binary.BigEndian.Uint16(p[2:]) }
func (p Packet) HardwareLen() uint8      { return p[4] }
func (p Packet) ProtocolLen() uint8      { return p[5] }
func (p Packet) Op() Op                  { return Op(binary.BigEndian.Uint16(p[6:])) }
func (p Packet) SenderMAC() packet.MAC   { return packet.MAC(p[8:14]) }
func (p Packet) SenderAddr() packet.Addr { return packet.Addr(binary.BigEndian.Uint32(p[14:])) }
func (p Packet) TargetMAC() packet.MAC   { return packet.MAC(p[18:24]) }
func (p Packet) TargetAddr() packet.Addr { return packet.Addr(binary.BigEndian.Uint32(p[24:])) }

// Message is the content of an ARP packet for IPv4 over Ethernet.
type Message struct {
	Op         Op
	SenderMAC  packet.MAC
	SenderAddr packet.Addr
	TargetMAC  packet.MAC
	TargetAddr packet.Addr
}

// Probe reports a request from a station that has no address yet (RFC 5227 section 1.1).
func (m Message) Probe() bool { return m.Op == OpRequest && m.SenderAddr == 0 }

// Gratuitous reports a packet in which a station tells of itself: an
// announcement (RFC 5227 section 3) or a gratuitous reply.
func (m Message) Gratuitous() bool { return m.SenderAddr == m.TargetAddr && m.SenderAddr != 0 }

// Decode reads the packet at the start of b; octets past PacketLen are padding.
// It is total: any b gives a message with BadNone, or the reason it is none.
func Decode(b []byte) (Message, BadReason) {
	if len(b) < PacketLen {
		return Message{}, BadShort
	}
	p := Packet(b)
	switch {
	case p.HardwareType() != hardwareEthernet:
		return Message{}, BadHardwareType
	case p.ProtocolType() != packet.EtherTypeIPv4:
		return Message{}, BadProtocolType
	case p.HardwareLen() != hardwareLen || p.ProtocolLen() != protocolLen:
		return Message{}, BadLengths
	case p.Op() != OpRequest && p.Op() != OpReply:
		return Message{}, BadOperation
	}
	return Message{
		Op:        p.Op(),
		SenderMAC: p.SenderMAC(), SenderAddr: p.SenderAddr(),
		TargetMAC: p.TargetMAC(), TargetAddr: p.TargetAddr(),
	}, BadNone
}

// Append writes m behind b as an ARP packet of PacketLen octets.
func (m Message) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, hardwareEthernet)
	b = binary.BigEndian.AppendUint16(b, packet.EtherTypeIPv4)
	b = append(b, hardwareLen, protocolLen)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Op))
	b = append(b, m.SenderMAC[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(m.SenderAddr))
	b = append(b, m.TargetMAC[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(m.TargetAddr))
}

// AppendFrame writes m behind b as a complete Ethernet frame of FrameLen octets.
func (m Message) AppendFrame(b []byte, dst, src packet.MAC) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	b = binary.BigEndian.AppendUint16(b, packet.EtherTypeARP)
	return m.Append(b)
}
