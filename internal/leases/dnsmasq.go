package leases

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/server"
)

// maxImport is the most leases that a file may have.
const maxImport = 1 << 20

// ParseDnsmasq reads the file in which dnsmasq keeps its leases. A line is when the lease ends, in seconds since 1970 (0: never), the
// hardware address, the address, the host's name and the client's id, of which the last two may be `*`. Lines
// about IPv6 are skipped, and counted. An error names the line and says what would be right; there are no leases then. A
// name becomes the label that it has in DNS.
func ParseDnsmasq(text string) (leases []server.Lease, skipped int, err error) {
	seen := map[packet.Addr]int{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "duid" {
			skipped++
			continue
		}
		if len(words) != 5 {
			return nil, 0, fmt.Errorf("line %d: %.60q has %d words: the time of its end, hardware address, address, name and client id are wanted", number, strings.TrimSpace(line), len(words))
		}
		a, err := netip.ParseAddr(words[2])
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %.40q is no address like 192.168.1.5", number, words[2])
		}
		if a.Is6() {
			skipped++
			continue
		}
		l := server.Lease{Addr: packet.AddrFrom(a), State: server.Bound}
		if err := dnsmasqLease(&l, words); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", number, err)
		}
		if first, twice := seen[l.Addr]; twice {
			return nil, 0, fmt.Errorf("line %d: %v has a lease in line %d already: take one of them away", number, l.Addr, first)
		}
		if len(leases) == maxImport {
			return nil, 0, fmt.Errorf("line %d: more than %d leases are too many", number, maxImport)
		}
		seen[l.Addr] = number
		leases = append(leases, l)
	}
	return leases, skipped, nil
}

// dnsmasqLease reads everything but the address.
func dnsmasqLease(l *server.Lease, words []string) (err error) {
	ends, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil || ends > 1<<37 { // the year 6325
		return fmt.Errorf("%.40q is no time: seconds since 1970 are wanted, or 0 for a lease without end", words[0])
	}
	if ends > 0 {
		l.Expires = time.Unix(int64(ends), 0).UTC()
	}
	if l.HType, l.CHAddr, err = dnsmasqHardware(words[1]); err != nil {
		return err
	}
	if words[3] != "*" {
		l.Hostname = dhcp.Label(words[3])
	}
	if words[4] != "*" {
		if l.ClientID, err = colons(words[4]); err != nil || len(l.ClientID) < 2 || len(l.ClientID) > 255 {
			return fmt.Errorf("%.60q is no client id like 01:02:00:5e:10:00:01, nor `*`", words[4])
		}
	}
	if len(l.CHAddr) == 0 && len(l.ClientID) == 0 {
		return fmt.Errorf("%v has neither a hardware address nor a client id", l.Addr)
	}
	return nil
}

// dnsmasqHardware reads a hardware address. Before one that is not Ethernet's stand two digits, its type in hexadecimal, and a dash.
func dnsmasqHardware(s string) (htype uint8, address []byte, err error) {
	htype = dhcp.Ethernet
	octets := s
	if len(s) >= 3 && s[2] == '-' {
		kind, err := hex.DecodeString(s[:2])
		if err != nil {
			return 0, nil, fmt.Errorf("%.60q begins with no hardware type of two hexadecimal digits", s)
		}
		if htype, octets = kind[0], s[3:]; octets == "" {
			return htype, nil, nil
		}
	}
	if address, err = colons(octets); err != nil || len(address) > 16 {
		return 0, nil, fmt.Errorf("%.60q is no hardware address like 02:00:5e:10:00:01", s)
	}
	return htype, address, nil
}
