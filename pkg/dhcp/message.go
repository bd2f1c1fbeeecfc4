package dhcp

import (
	"encoding/binary"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"vrouterd/internal/packet"
)

// The ports of server and client (RFC 2131 section 4.1).
const (
	ServerPort = 67
	ClientPort = 68
)

// Opcodes (RFC 2131 section 2).
const (
	BootRequest = 1
	BootReply   = 2
)

// Ethernet is the hardware type of 48-bit link-layer addresses (RFC 1700).
const Ethernet = 1

// BroadcastFlag asks for answers by broadcast (RFC 2131 section 2).
const BroadcastFlag = 0x8000

// Sizes in octets: of the fixed header with its magic cookie, of the whole message that everyone must take (RFC 2131 section 2), and
// of the least BOOTP message (RFC 951), to which short ones are padded.
const (
	headerLen  = 240
	MaxDefault = 576
	MinLen     = 300
)

// Type is the message type of option 53 (RFC 2132 section 9.6); 0: a BOOTP message.
type Type uint8

// The types.
const (
	Discover Type = 1 + iota
	Offer
	Request
	Decline
	ACK
	NAK
	Release
	Inform
)

var typeNames = [...]string{"bootp", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform"}

func (t Type) String() string {
	if int(t) >= len(typeNames) {
		return "unknown"
	}
	return typeNames[t]
}

// Options are the options of a message by code, each whole: those that came in several parts are joined (RFC 3396), those that came
// in the fields `sname` and `file` too (option 52).
type Options map[uint8][]byte

// Message is one DHCP message.
type Message struct {
	Op, HType, HLen, Hops uint8
	XID                   uint32
	Secs, Flags           uint16
	CIAddr                packet.Addr // the client's, when it may use it
	YIAddr                packet.Addr // "your" address
	SIAddr                packet.Addr // next server in bootstrap
	GIAddr                packet.Addr // relay agent
	CHAddr                [16]byte
	SName, File           string // empty where option 52 says that they hold options
	Options               Options
	Order                 []uint8 // Append: codes that are to stand first, in this order (RFC 2132 section 9.8)
}

// Type is the type that option 53 states; 0 when there is none.
func (m *Message) Type() Type {
	if v := m.Options[OptionMessageType]; len(v) == 1 {
		return Type(v[0])
	}
	return 0
}

// MAC is the client's hardware address, where it is an Ethernet one.
func (m *Message) MAC() packet.MAC { return packet.MAC(m.CHAddr[:6]) }

// Addr is an option that holds one address; 0 when it is absent or of another length.
func (m *Message) Addr(code uint8) packet.Addr {
	if v := m.Options[code]; len(v) == 4 {
		return packet.Addr(binary.BigEndian.Uint32(v))
	}
	return 0
}

// Uint32 is an option that holds a number of 32 bits.
func (m *Message) Uint32(code uint8) (uint32, bool) {
	if v := m.Options[code]; len(v) == 4 {
		return binary.BigEndian.Uint32(v), true
	}
	return 0, false
}

// ClientKey is what tells clients apart: option 61, else the hardware address (RFC 2131 section 4.2), as a string of octets for
// maps. The first octet tells the two apart.
func (m *Message) ClientKey() string {
	if id := m.Options[OptionClientID]; len(id) >= 2 {
		return "\x01" + string(id)
	}
	return "\x00" + string([]byte{m.HType}) + string(m.CHAddr[:min(m.HLen, 16)])
}

// SetAddr sets an option to addresses.
func (o Options) SetAddr(code uint8, addresses ...packet.Addr) {
	v := make([]byte, 0, 4*len(addresses))
	for _, a := range addresses {
		v = binary.BigEndian.AppendUint32(v, uint32(a))
	}
	o[code] = v
}

// SetUint32 sets an option to a number of 32 bits.
func (o Options) SetUint32(code uint8, n uint32) { o[code] = binary.BigEndian.AppendUint32(nil, n) }

// Decode reads a message. It never panics, and keeps nothing of b. What it refuses has a reason.
func Decode(b []byte) (*Message, BadReason) {
	if len(b) < headerLen {
		return nil, BadShort
	}
	if binary.BigEndian.Uint32(b[236:]) != cookie {
		return nil, BadCookie
	}
	if b[2] > 16 {
		return nil, BadHardwareLength
	}
	options := dhcpv4.Options{}
	if options.FromBytes(b[headerLen:]) != nil {
		return nil, BadOptions
	}
	m := &Message{
		Op: b[0], HType: b[1], HLen: b[2], Hops: b[3],
		XID: binary.BigEndian.Uint32(b[4:]), Secs: binary.BigEndian.Uint16(b[8:]), Flags: binary.BigEndian.Uint16(b[10:]),
		CIAddr: addrAt(b, 12), YIAddr: addrAt(b, 16), SIAddr: addrAt(b, 20), GIAddr: addrAt(b, 24),
		CHAddr: [16]byte(b[28:44]), Options: Options(options),
	}
	if why := m.overload(b[44:108], b[108:236]); why != Good {
		return nil, why
	}
	if v, there := m.Options[OptionMessageType]; there && (len(v) != 1 || v[0] == 0) {
		return nil, BadType
	}
	return m, Good
}

// overload reads the fields that option 52 says hold options (RFC 2132 section 9.3): `file` first, then `sname`, as RFC 3396
// section 5 orders what is joined.
func (m *Message) overload(sname, file []byte) BadReason {
	var fields byte
	if v, there := m.Options[OptionOverload]; there {
		if len(v) != 1 || v[0] < 1 || v[0] > 3 {
			return BadOverload
		}
		fields = v[0]
		delete(m.Options, OptionOverload)
	}
	more := dhcpv4.Options(m.Options)
	if fields&1 == 0 {
		m.File = text(file)
	} else if more.FromBytes(file) != nil {
		return BadOverload
	}
	if fields&2 == 0 {
		m.SName = text(sname)
	} else if more.FromBytes(sname) != nil {
		return BadOverload
	}
	delete(m.Options, OptionOverload) // one within the fields means nothing
	return Good
}

// text is a field up to its first zero.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func addrAt(b []byte, at int) packet.Addr { return packet.Addr(binary.BigEndian.Uint32(b[at:])) }
