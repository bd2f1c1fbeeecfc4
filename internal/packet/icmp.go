package packet

import "encoding/binary"

// ICMP types (RFC 792) and the codes that the router sends (RFC 792, 1812 section 5.2.7, 1191).
const (
	ICMPEchoReply       = 0
	ICMPUnreachable     = 3
	ICMPSourceQuench    = 4
	ICMPRedirect        = 5
	ICMPEchoRequest     = 8
	ICMPTimeExceeded    = 11
	ICMPParamProblem    = 12
	ICMPTimestamp       = 13
	ICMPTimestampReply  = 14
	ICMPNetUnreachable  = 0
	ICMPHostUnreachable = 1
	ICMPProtoUnreach    = 2
	ICMPPortUnreachable = 3
	ICMPFragNeeded      = 4
	ICMPSourceRouteFail = 5
	ICMPNetProhibited   = 9
	ICMPHostProhibited  = 10
	ICMPAdminProhibited = 13
	ICMPTTLExceeded     = 0
	ICMPReassembly      = 1
	ICMPRedirectHost    = 1
)

// ICMPLen is the length of the fixed part of an ICMP message.
const ICMPLen = 8

// ICMP is a view of an ICMP message; it needs ICMPLen bytes.
type ICMP []byte

func (m ICMP) Type() uint8          { return m[0] }
func (m ICMP) Code() uint8          { return m[1] }
func (m ICMP) Checksum() uint16     { return binary.BigEndian.Uint16(m[2:]) }
func (m ICMP) Rest() uint32         { return binary.BigEndian.Uint32(m[4:]) }
func (m ICMP) SetType(v uint8)      { m[0] = v }
func (m ICMP) SetCode(v uint8)      { m[1] = v }
func (m ICMP) SetChecksum(v uint16) { binary.BigEndian.PutUint16(m[2:], v) }
func (m ICMP) SetRest(v uint32)     { binary.BigEndian.PutUint32(m[4:], v) }
func (m ICMP) Payload() []byte      { return m[ICMPLen:] }

// IsError reports a message that may itself never be answered with an error
// (RFC 1812 section 4.3.2.7): every type that is not known to be a query.
func (m ICMP) IsError() bool {
	switch m[0] {
	case ICMPEchoReply, ICMPEchoRequest, 9, 10, ICMPTimestamp, ICMPTimestampReply, 15, 16, 17, 18:
		return false
	}
	return true
}
