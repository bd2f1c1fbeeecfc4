package echo

import "testing"

// reply is an IPv4 header of ihl words before an ICMP header.
func reply(ihl int, kind byte, id, seq uint16) []byte {
	p := make([]byte, ihl*4+8)
	p[0] = 0x40 | byte(ihl)
	m := p[ihl*4:]
	m[0], m[4], m[5], m[6], m[7] = kind, byte(id>>8), byte(id), byte(seq>>8), byte(seq)
	return p
}

func TestOnlyTheAwaitedReplyIsOurs(t *testing.T) {
	e := &Conversation{id: 0x1234, seq: 7}
	for name, c := range map[string]struct {
		packet []byte
		mine   bool
	}{
		"the reply":            {reply(5, 0, 0x1234, 7), true},
		"with options":         {reply(15, 0, 0x1234, 7), true},
		"a request":            {reply(5, 8, 0x1234, 7), false},
		"someone else's":       {reply(5, 0, 0x1235, 7), false},
		"a late one":           {reply(5, 0, 0x1234, 6), false},
		"nothing":              {nil, false},
		"header length a lie":  {append([]byte{0x4f}, make([]byte, 27)...), false},
		"header length zero":   {append([]byte{0x40}, make([]byte, 40)...), false},
		"cut off in ICMP":      {reply(5, 0, 0x1234, 7)[:27], false},
		"cut off in IP header": {reply(5, 0, 0x1234, 7)[:19], false},
	} {
		if e.mine(c.packet) != c.mine {
			t.Errorf("%s: mine = %v", name, !c.mine)
		}
	}
}

func TestChecksumOfAMessageWithItsSumIsZero(t *testing.T) {
	m := []byte{8, 0, 0, 0, 0x12, 0x34, 0, 7, 0xff, 0xff}
	sum := checksum(m)
	m[2], m[3] = byte(sum>>8), byte(sum)
	if got := checksum(m); got != 0 {
		t.Errorf("checksum over the whole = %#x; want 0 (RFC 1071)", got)
	}
}
