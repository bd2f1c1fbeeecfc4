package leases

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/server"
)

// castagnoli is the polynomial of the lines' checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The years that a line can tell. A lease that ends later does not end.
const (
	firstYear = 1970
	lastYear  = 9998
)

// appendRecord writes a lease as a line, without its end. Of a lease that is free only the address is kept.
func appendRecord(b []byte, l *server.Lease) []byte {
	start := len(b)
	b = append(b, timeWord(l.Start)...)
	b = append(b, ' ')
	b = append(b, l.State.String()...)
	b = append(b, ' ')
	b = append(b, l.Addr.String()...)
	if l.State != server.Free {
		b = append(b, ' ')
		b = appendHardware(b, l.CHAddr)
		if l.HType != dhcp.Ethernet {
			b = strconv.AppendUint(append(b, " type="...), uint64(l.HType), 10)
		}
		b = append(append(b, " until="...), untilWord(l.Expires)...)
		b = appendText(b, " subnet=", l.Subnet)
		b = appendHex(b, " id=", l.ClientID)
		b = appendText(b, " name=", l.Hostname)
		b = appendText(b, " vendor=", l.Vendor)
		b = appendHex(b, " agent=", l.Agent)
	}
	return fmt.Appendf(b, " #%08x", crc32.Checksum(b[start:], castagnoli))
}

// timeWord is a time in whole seconds; "-": unknown.
func timeWord(t time.Time) string {
	if t = t.UTC(); t.Year() < firstYear || t.Year() > lastYear {
		return "-"
	}
	return t.Truncate(time.Second).Format(time.RFC3339)
}

// untilWord is the end of a lease in whole seconds, never before it.
func untilWord(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	switch t = roundUp(t.UTC()); {
	case t.Year() < firstYear:
		t = time.Unix(0, 0).UTC()
	case t.Year() > lastYear:
		return "never"
	}
	return t.Format(time.RFC3339)
}

func roundUp(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

// appendHardware writes a hardware address with colons; "-" for none.
func appendHardware(b []byte, address []byte) []byte {
	if len(address) == 0 {
		return append(b, '-')
	}
	for i, octet := range address {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hexDigits[octet>>4], hexDigits[octet&15])
	}
	return b
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, key string, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return hex.AppendEncode(append(b, key...), v)
}

// appendText writes a text as it is where every octet of it is plain, else in quotes.
func appendText(b []byte, key, text string) []byte {
	if text == "" {
		return b
	}
	b = append(b, key...)
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == "" {
		return append(b, text...)
	}
	return strconv.AppendQuoteToASCII(b, text)
}

// parseRecord reads a line. A line that somebody has written by hand needs no checksum.
func parseRecord(line string) (l server.Lease, err error) {
	if body, sum, there := cutChecksum(line); there {
		if crc32.Checksum([]byte(body), castagnoli) != sum {
			return l, errors.New("its checksum is wrong (after a change by hand, take the last word away)")
		}
		line = body
	}
	words, err := split(line)
	if err != nil {
		return l, err
	}
	if len(words) < 3 {
		return l, errors.New("a time, a state and an address are wanted")
	}
	if words[0] != "-" {
		if l.Start, err = parseTime(words[0], false); err != nil {
			return l, err
		}
	}
	var known bool
	if l.State, known = server.ParseState(words[1]); !known || l.State == server.Offered {
		return l, fmt.Errorf("%.20q is no state of a lease: bound, released, expired, declined or free is wanted", words[1])
	}
	a, err := netip.ParseAddr(words[2])
	if err != nil || !a.Is4() {
		return l, fmt.Errorf("%.40q is no IPv4 address", words[2])
	}
	l.Addr = packet.AddrFrom(a)
	if l.State == server.Free {
		if len(words) > 3 {
			return l, errors.New("a free address has nothing more")
		}
		return l, nil
	}
	return l, parseHolder(&l, words[3:])
}

// cutChecksum takes the last word away where it is a checksum. It cannot be within quotes: it is the line's end.
func cutChecksum(line string) (body string, sum uint32, there bool) {
	i := len(line) - len(" #00000000")
	if i < 0 || line[i:i+2] != " #" {
		return line, 0, false
	}
	n, err := strconv.ParseUint(line[i+2:], 16, 32)
	return line[:i], uint32(n), err == nil
}

// parseHolder reads who has the lease, until when, and what else is known.
func parseHolder(l *server.Lease, words []string) (err error) {
	if len(words) == 0 {
		return errors.New("the hardware address is missing: write - for none")
	}
	if l.CHAddr, err = parseHardware(words[0]); err != nil {
		return err
	}
	l.HType = dhcp.Ethernet
	seen := map[string]bool{}
	for _, word := range words[1:] {
		key, value, pair := strings.Cut(word, "=")
		if !pair || seen[key] {
			return fmt.Errorf("the word %.40q is no KEY=VALUE, or there twice", word)
		}
		seen[key] = true
		switch key {
		case "until":
			if value != "never" {
				l.Expires, err = parseTime(value, true)
			}
		case "type":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 8)
			l.HType = uint8(n)
		case "subnet":
			l.Subnet, err = parseText(value)
		case "id":
			l.ClientID, err = parseHex(value)
		case "name":
			l.Hostname, err = parseText(value)
		case "vendor":
			l.Vendor, err = parseText(value)
		case "agent":
			l.Agent, err = parseHex(value)
		default:
			return fmt.Errorf("the word %.40q is unknown", word)
		}
		if err != nil {
			return fmt.Errorf("%s=: %w", key, err)
		}
	}
	switch {
	case !seen["until"]:
		return errors.New("until= is missing: a time or never is wanted")
	case len(l.CHAddr) == 0 && len(l.ClientID) == 0 && l.State != server.Declined:
		return errors.New("it has neither a hardware address nor an id")
	}
	return nil
}

// split cuts a line at its blanks, but not within quotes.
func split(line string) (words []string, err error) {
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return words, nil
		}
		end := strings.IndexAny(line, " \t\"")
		if end >= 0 && line[end] == '"' {
			quoted, err := strconv.QuotedPrefix(line[end:])
			if err != nil {
				return nil, errors.New("a quote is not closed")
			}
			end += len(quoted)
			if end < len(line) && line[end] != ' ' && line[end] != '\t' {
				return nil, errors.New("a word goes on after its closing quote")
			}
		}
		if end < 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), line[end:]
	}
}

// parseTime reads a time, and makes a whole second of it.
func parseTime(s string, up bool) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if t = t.UTC(); up {
		t = roundUp(t)
	}
	if err != nil || t.Year() < firstYear || t.Year() > lastYear {
		return time.Time{}, fmt.Errorf("%.40q is no time like 2026-01-02T15:04:05Z", s)
	}
	return t.Truncate(time.Second), nil
}

func parseHardware(s string) ([]byte, error) {
	if s == "-" {
		return nil, nil
	}
	b, err := colons(s)
	if err != nil || len(b) > 16 {
		return nil, fmt.Errorf("%.60q is no hardware address like 02:00:5e:10:00:01", s)
	}
	return b, nil
}

// colons reads octets of two digits each, with colons between them.
func colons(s string) ([]byte, error) {
	if len(s)%3 != 2 {
		return nil, hex.ErrLength
	}
	for i := 2; i < len(s); i += 3 {
		if s[i] != ':' {
			return nil, hex.InvalidByteError(s[i])
		}
	}
	return hex.DecodeString(strings.ReplaceAll(s, ":", ""))
}

func parseHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%.40q is not in hexadecimal, two digits an octet", s)
	}
	return b, nil
}

func parseText(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		if strings.Contains(s, `"`) {
			return "", fmt.Errorf("%.40q has a quote within", s)
		}
		return s, nil
	}
	return strconv.Unquote(s)
}
