package nat

import (
	"bytes"
	"net/netip"
	"strconv"

	"vrouterd/internal/packet"
)

// ftpForm is how an announcement is written.
type ftpForm uint8

const (
	ftpNumbers  ftpForm = iota // h1,h2,h3,h4,p1,p2 (RFC 959 sections 4.1.2 and 5.3.2)
	ftpExtended                // |1|192.0.2.1|5282| (RFC 2428 section 2)
	ftpPortOnly                // |||5282| (RFC 2428 section 3)
)

// ftpAnnouncement is an address that a line speaks of, or for ftpPortOnly only a port.
type ftpAnnouncement struct {
	form     ftpForm
	mark     byte // what stands between the fields of the extended forms
	addr     packet.Addr
	port     uint16
	from, to int // where it stands in the line
}

// text is the announcement of another address in the same form.
func (a ftpAnnouncement) text(addr packet.Addr, port uint16) (b []byte) {
	number := func(v uint64) { b = strconv.AppendUint(b, v, 10) }
	switch a.form {
	case ftpNumbers:
		for shift := 24; shift >= 0; shift -= 8 {
			number(uint64(addr >> shift & 0xff))
			b = append(b, ',')
		}
		number(uint64(port >> 8))
		b = append(b, ',')
		number(uint64(port & 0xff))
	case ftpExtended:
		b = append(b, a.mark, '1', a.mark)
		b = addr.Netip().AppendTo(b)
		b = append(b, a.mark)
		number(uint64(port))
		b = append(b, a.mark)
	case ftpPortOnly:
		b = append(b, a.mark, a.mark, a.mark)
		number(uint64(port))
		b = append(b, a.mark)
	}
	return b
}

// ftpCommand reads PORT and EPRT. Lines come without their end.
func ftpCommand(line []byte) (a ftpAnnouncement, ok bool) {
	const verb = 5
	if len(line) < verb {
		return a, false
	}
	a.from = verb
	for a.from < len(line) && line[a.from] == ' ' {
		a.from++
	}
	rest := bytes.TrimRight(line[a.from:], " ")
	a.to = a.from + len(rest)
	switch {
	case bytes.EqualFold(line[:verb], []byte("PORT ")):
		var n int
		a.addr, a.port, n = ftpSix(rest)
		return a, n > 0 && n == len(rest)
	case bytes.EqualFold(line[:verb], []byte("EPRT ")):
		if len(rest) == 0 {
			return a, false
		}
		a.form, a.mark = ftpExtended, rest[0]
		field := bytes.Split(rest, rest[:1])
		if !ftpMark(a.mark) || len(field) != 5 || string(field[1]) != "1" || len(field[4]) != 0 {
			return a, false // of IPv6, among others
		}
		addr, err := netip.ParseAddr(string(field[2]))
		if err != nil || !addr.Is4() {
			return a, false
		}
		a.addr = packet.AddrFrom(addr)
		a.port, ok = ftpPort(field[3])
		return a, ok
	}
	return a, false
}

// ftpReply reads the replies to PASV and EPSV. The words before the address are the server's own; RFC 1123 section 4.1.2.6
// says to look for digits, wherever they are.
func ftpReply(line []byte) (a ftpAnnouncement, ok bool) {
	const code = 4
	if len(line) < code {
		return a, false
	}
	switch string(line[:code]) {
	case "227 ":
		for at := code; at < len(line); at++ {
			if ftpDigit(line[at]) && !ftpDigit(line[at-1]) {
				if addr, port, n := ftpSix(line[at:]); n > 0 {
					return ftpAnnouncement{addr: addr, port: port, from: at, to: at + n}, true
				}
			}
		}
	case "229 ":
		at := bytes.IndexByte(line, '(') + 1
		end := bytes.IndexByte(line[at:], ')')
		if at == 0 || end < 5 {
			return a, false
		}
		rest := line[at : at+end]
		a = ftpAnnouncement{form: ftpPortOnly, mark: rest[0], from: at, to: at + end}
		if !ftpMark(a.mark) || rest[1] != a.mark || rest[2] != a.mark || rest[len(rest)-1] != a.mark {
			return a, false
		}
		a.port, ok = ftpPort(rest[3 : len(rest)-1])
		return a, ok
	}
	return a, false
}

// ftpSix reads six numbers from 0 to 255 with commas between them, and says how many octets they take: 0 if they are not there.
func ftpSix(b []byte) (packet.Addr, uint16, int) {
	var value uint64
	at := 0
	for i := range 6 {
		if i > 0 {
			if at >= len(b) || b[at] != ',' {
				return 0, 0, 0
			}
			at++
		}
		n, v := 0, uint64(0)
		for at < len(b) && n < 3 && ftpDigit(b[at]) {
			v = v*10 + uint64(b[at]-'0')
			at, n = at+1, n+1
		}
		if n == 0 || v > 255 {
			return 0, 0, 0
		}
		value = value<<8 | v
	}
	if at < len(b) && (ftpDigit(b[at]) || b[at] == ',') {
		return 0, 0, 0
	}
	return packet.Addr(value >> 16), uint16(value), at
}

// ftpPort reads a port of at most five digits.
func ftpPort(b []byte) (uint16, bool) {
	if len(b) == 0 || len(b) > 5 {
		return 0, false
	}
	for _, c := range b {
		if !ftpDigit(c) {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(string(b), 10, 16)
	return uint16(v), err == nil
}

// ftpMark reports what may stand between fields: any visible character (RFC 2428 section 2) but a digit or a point, which would be read two ways.
func ftpMark(c byte) bool { return c > 32 && c < 127 && !ftpDigit(c) && c != '.' }

func ftpDigit(c byte) bool { return c >= '0' && c <= '9' }
