package rip

import (
	"encoding/binary"

	"vrouterd/internal/packet"
)

// Sizes in octets and limits (RFC 2453 section 3.6 and 4).
const (
	HeaderLen  = 4
	EntryLen   = 20
	MaxEntries = 25 // in a packet, an authentication entry among them

	// maxDatagram is how long a datagram of ours may be, authentication trailer
	// included: peers refuse longer ones (RFC 2453 section 3.6 has the limit from RFC 1058).
	maxDatagram = 512

	trailerHeader = 4  // of the authentication trailer (RFC 4822 section 2.1)
	maxDigest     = 64 // HMAC-SHA-512
)

// Command is what a packet is for.
type Command uint8

// The commands of RFC 2453 section 3.6; the others are obsolete or of other documents.
const (
	Request  Command = 1
	Response Command = 2
)

// Address families of entries (RFC 2453 sections 3.6 and 4.1).
const (
	familyTable uint16 = 0 // of the one entry that asks for the whole table
	familyIPv4  uint16 = 2
	familyAuth  uint16 = 0xffff // the entry holds authentication
)

// Authentication types on the wire: Entry.Tag of an authentication entry.
const (
	wireTrailer uint16 = 1 // of the trailer's own header
	wireSimple  uint16 = 2
	wireCrypto  uint16 = 3
)

// Entry is 20 octets of a packet. In an authentication entry (Family 0xffff) Tag is the
// type and the four words are its data.
type Entry struct {
	Family  uint16
	Tag     uint16
	Addr    packet.Addr
	Mask    packet.Addr
	NextHop packet.Addr
	Metric  uint32
}

// Message is a packet. Trailer is what follows the entries where the first of them
// announces cryptographic authentication: the digest without its header of four octets.
type Message struct {
	Command Command
	Version uint8
	Unused  uint16 // must be zero in version 1
	Entries []Entry
	Trailer []byte // borrowed: part of what was decoded
	Signed  int    // octets in front of the trailer
}

// crypto reports a message whose first entry announces a trailer.
func (m Message) crypto() bool {
	return len(m.Entries) > 0 && m.Entries[0].Family == familyAuth && m.Entries[0].Tag == wireCrypto
}

// Decode reads a packet; the entries are appended to room, which may be nil. It is total: any
// b gives a message with BadNone, or the reason it is none.
func Decode(b []byte, room []Entry) (Message, BadReason) {
	if len(b) < HeaderLen {
		return Message{}, BadSize
	}
	m := Message{Command: Command(b[0]), Version: b[1], Unused: binary.BigEndian.Uint16(b[2:])}
	body := b[HeaderLen:]
	if len(body) >= EntryLen {
		if first := decodeEntry(body); first.Family == familyAuth && first.Tag == wireCrypto {
			length := int(first.Addr >> 16) // of the packet without its trailer
			if length < HeaderLen+EntryLen || length > len(b) {
				return Message{}, BadAuthLength
			}
			trailer := b[length:]
			if len(trailer) < trailerHeader || len(trailer) > trailerHeader+maxDigest ||
				binary.BigEndian.Uint16(trailer) != familyAuth || binary.BigEndian.Uint16(trailer[2:]) != wireTrailer {
				return Message{}, BadAuthTrailer
			}
			body, m.Trailer, m.Signed = b[HeaderLen:length], trailer[trailerHeader:], length
		}
	}
	switch {
	case len(body)%EntryLen != 0:
		return Message{}, BadAlignment
	case len(body) == 0:
		return Message{}, BadNoEntry
	case len(body) > MaxEntries*EntryLen:
		return Message{}, BadTooManyEntries
	}
	m.Entries = room
	for ; len(body) > 0; body = body[EntryLen:] {
		m.Entries = append(m.Entries, decodeEntry(body))
	}
	return m, BadNone
}

func decodeEntry(b []byte) Entry {
	_ = b[EntryLen-1]
	return Entry{
		Family:  binary.BigEndian.Uint16(b),
		Tag:     binary.BigEndian.Uint16(b[2:]),
		Addr:    packet.Addr(binary.BigEndian.Uint32(b[4:])),
		Mask:    packet.Addr(binary.BigEndian.Uint32(b[8:])),
		NextHop: packet.Addr(binary.BigEndian.Uint32(b[12:])),
		Metric:  binary.BigEndian.Uint32(b[16:]),
	}
}

// Append writes the message behind b: header, entries and, with cryptographic
// authentication, the trailer.
func (m Message) Append(b []byte) []byte {
	b = append(b, byte(m.Command), m.Version)
	b = binary.BigEndian.AppendUint16(b, m.Unused)
	for _, e := range m.Entries {
		b = e.Append(b)
	}
	if m.crypto() {
		b = binary.BigEndian.AppendUint16(b, familyAuth)
		b = binary.BigEndian.AppendUint16(b, wireTrailer)
		b = append(b, m.Trailer...)
	}
	return b
}

// Append writes the entry's 20 octets behind b.
func (e Entry) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, e.Family)
	b = binary.BigEndian.AppendUint16(b, e.Tag)
	b = binary.BigEndian.AppendUint32(b, uint32(e.Addr))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Mask))
	b = binary.BigEndian.AppendUint32(b, uint32(e.NextHop))
	return binary.BigEndian.AppendUint32(b, e.Metric)
}

// mustBeZero reports whether what version 1 reserves is zero (RFC 1058 section 3.1).
func (m Message) mustBeZero() bool {
	if m.Unused != 0 {
		return false
	}
	for _, e := range m.Entries {
		if e.Tag != 0 || e.Mask != 0 || e.NextHop != 0 {
			return false
		}
	}
	return true
}
