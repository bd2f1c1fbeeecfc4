package rip

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"slices"
	"time"

	"vrouterd/internal/packet"
)

// digestLen is how many octets a kind's digest has; 0: it has none.
func (a AuthType) digestLen() int {
	switch a {
	case AuthMD5:
		return md5.Size
	case AuthHMACSHA1:
		return sha1.Size
	case AuthHMACSHA256:
		return sha256.Size
	case AuthHMACSHA384:
		return sha512.Size384
	case AuthHMACSHA512:
		return sha512.Size
	}
	return 0
}

func (a AuthType) newHash() func() hash.Hash {
	switch a {
	case AuthHMACSHA1:
		return sha1.New
	case AuthHMACSHA256:
		return sha256.New
	case AuthHMACSHA384:
		return sha512.New384
	}
	return sha512.New
}

// room is how many routes fit a datagram of at most limit octets under this chain: at most 25 entries, of which
// authentication takes one, and the trailer must fit too.
func (c *KeyChain) room(limit int) int {
	limit = min(limit, maxDatagram) - HeaderLen
	most := MaxEntries
	if c != nil {
		limit -= EntryLen
		most--
		if n := c.Type.digestLen(); n > 0 {
			limit -= trailerHeader + n
		}
	}
	return max(1, min(most, limit/EntryLen))
}

// sendKey is the key to send with now.
func (c *KeyChain) sendKey(now time.Time) (Key, bool) {
	var best Key
	found := false
	for _, k := range c.Keys {
		if !k.Send.Covers(now) {
			continue
		}
		newer := k.Send.From.Compare(best.Send.From)
		if !found || newer > 0 || newer == 0 && k.ID > best.ID {
			best, found = k, true
		}
	}
	return best, found
}

// password is a secret as the wire has it: 16 octets, cut or padded with zeros.
func password(secret string) (out [16]byte) {
	copy(out[:], secret)
	return out
}

// openAuth appends the authentication entry, which is the first of a packet. The length is filled in by closeAuth.
func (c *KeyChain) openAuth(b []byte, k Key, sequence uint32) []byte {
	b = binary.BigEndian.AppendUint16(b, familyAuth)
	if c.Type == AuthSimple {
		p := password(k.Secret)
		b = binary.BigEndian.AppendUint16(b, wireSimple)
		return append(b, p[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, wireCrypto)
	b = append(b, 0, 0, k.ID, byte(c.Type.digestLen()))
	b = binary.BigEndian.AppendUint32(b, sequence)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
}

// closeAuth completes a packet that begins at b[start]: its length and its trailer.
func (c *KeyChain) closeAuth(b []byte, start int, k Key) []byte {
	if c.Type == AuthSimple {
		return b
	}
	binary.BigEndian.PutUint16(b[start+HeaderLen+4:], uint16(len(b)-start))
	b = binary.BigEndian.AppendUint16(b, familyAuth)
	b = binary.BigEndian.AppendUint16(b, wireTrailer)
	return c.Type.appendDigest(b, b[start:], k.Secret)
}

// appendDigest appends the digest of signed, which reaches up to and with the trailer's header.
//
// Keyed MD5 hashes the packet and then the secret, padded to 16 octets (RFC 2082 section 3.2.1).
// HMAC takes Apad where the digest will be, and a secret longer than the digest is hashed
// first (RFC 4822 section 2.5).
func (a AuthType) appendDigest(b, signed []byte, secret string) []byte {
	if a == AuthMD5 {
		h := md5.New()
		p := password(secret)
		h.Write(signed)
		h.Write(p[:])
		return h.Sum(b)
	}
	key := []byte(secret)
	if len(key) > a.digestLen() {
		h := a.newHash()()
		h.Write(key)
		key = h.Sum(nil)
	}
	return a.appendHMAC(b, signed, key)
}

// appendHMAC is RFC 4822's HMAC with the key as it is.
func (a AuthType) appendHMAC(b, signed, key []byte) []byte {
	h := hmac.New(a.newHash(), key)
	h.Write(signed)
	for range a.digestLen() / 4 {
		h.Write([]byte{0x87, 0x8f, 0xe1, 0xf3})
	}
	return h.Sum(b)
}

// verify compares a digest. RFC 4822 hashes a secret that is longer than the digest;
// RFC 2104, and BIRD with it, hashes only one that is longer than the hash function's block. Both
// need the secret, so both are accepted.
func (a AuthType) verify(signed, digest []byte, secret string) bool {
	if hmac.Equal(a.appendDigest(nil, signed, secret), digest) {
		return true
	}
	return a != AuthMD5 && len(secret) > a.digestLen() && hmac.Equal(a.appendHMAC(nil, signed, []byte(secret)), digest)
}

// authenticate climbs the part of the ladder that is about authentication and takes
// the authentication entry off msg.
func (m *Machine) authenticate(p *port, n *neighbor, msg *Message, raw []byte) BadReason {
	chain := p.cfg.Auth
	first := msg.Entries[0]
	has := first.Family == familyAuth
	switch {
	case chain == nil && has:
		return BadAuthUnexpected
	case chain == nil:
		return BadNone
	case !has || msg.Version < 2:
		return BadAuthMissing
	}
	why := BadAuthType
	switch {
	case first.Tag == wireSimple && chain.Type == AuthSimple:
		why = m.checkPassword(chain, first)
	case first.Tag == wireCrypto && chain.Type.digestLen() > 0:
		why = m.checkDigest(chain, p, n, *msg, raw)
	}
	if why != BadNone {
		return why
	}
	msg.Entries = msg.Entries[1:]
	if len(msg.Entries) == 0 {
		return BadNoEntry
	}
	return BadNone
}

func (m *Machine) checkPassword(chain *KeyChain, e Entry) BadReason {
	got := e.Append(nil)[4:]
	expired := false
	for _, k := range chain.Keys {
		want := password(k.Secret)
		if subtle.ConstantTimeCompare(got, want[:]) == 1 {
			if k.Accept.Covers(m.now) {
				return BadNone
			}
			expired = true
		}
	}
	if expired {
		return BadAuthExpired
	}
	return BadAuthPassword
}

func (m *Machine) checkDigest(chain *KeyChain, p *port, n *neighbor, msg Message, raw []byte) BadReason {
	first := msg.Entries[0]
	id, stated, sequence := uint8(first.Addr>>8), int(first.Addr&0xff), uint32(first.Mask)
	known, why := false, BadAuthKey
	for _, k := range chain.Keys { // ids may repeat while one secret replaces another
		if k.ID != id {
			continue
		}
		if !k.Accept.Covers(m.now) {
			if !known {
				why = BadAuthExpired
			}
			continue
		}
		known = true
		size := chain.Type.digestLen()
		// The stated length is that of the digest, or of the whole trailer: RFC 4822 can be read both ways.
		if len(msg.Trailer) != size || stated != size && stated != size+trailerHeader {
			why = BadAuthLength
			continue
		}
		if !chain.Type.verify(raw[:msg.Signed+trailerHeader], msg.Trailer, k.Secret) {
			why = BadAuthDigest
			continue
		}
		return m.checkSequence(chain, p, n, id, sequence)
	}
	return why
}

// checkSequence refuses what is older than the newest packet of the same neighbour and key. Equal
// numbers are one update in several packets. Once the neighbour has been silent for the timeout, zero
// is accepted too: it lost its memory (RFC 4822 section 3.2.2).
func (m *Machine) checkSequence(chain *KeyChain, p *port, n *neighbor, id uint8, sequence uint32) BadReason {
	k := sequenceKey{p.id, n.addr, id}
	last, seen := m.sequences[k]
	if seen && sequence < last {
		if !m.lostTouch(n) || sequence != 0 && !chain.ForgetSequence {
			return BadAuthSequence
		}
	}
	if !seen && !m.roomForSequence() {
		return BadNeighborLimit
	}
	m.sequences[k] = sequence
	n.sequence = sequence
	if m.saveAt.IsZero() && sequence != last {
		m.saveAt = m.now.Add(m.cfg.Timers.Timeout)
	}
	return BadNone
}

// lostTouch reports whether a neighbour has been silent for the timeout, and this router there to hear it.
func (m *Machine) lostTouch(n *neighbor) bool {
	since := n.created
	if n.lastGood.After(since) {
		since = n.lastGood
	}
	return !n.up && n.routes == 0 && m.now.Sub(since) >= n.port.cfg.Timers.Timeout
}

// sequenceKey is whose sequence numbers these are: they are kept past the
// neighbour's row, so that evicting it does not open the door to replays.
type sequenceKey struct {
	port PortID
	addr packet.Addr
	key  uint8
}

// roomForSequence forgets, when there is too much, the numbers of keys that no chain has any longer and of
// neighbours that are gone.
func (m *Machine) roomForSequence() bool {
	most := 4 * m.cfg.MaxNeighbors
	if len(m.sequences) < most {
		return true
	}
	for k := range m.sequences {
		p := m.ports[k.port]
		if m.neighbors[neighborKey{k.port, k.addr}] == nil || p == nil || !p.cfg.Auth.has(k.key) {
			delete(m.sequences, k)
		}
	}
	return len(m.sequences) < most
}

// has reports whether a chain has a key with this id.
func (c *KeyChain) has(id uint8) bool {
	return c != nil && slices.ContainsFunc(c.Keys, func(k Key) bool { return k.ID == id })
}
