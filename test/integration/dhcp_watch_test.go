package integration

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// dhcpSeen is a DHCP message that passed by.
type dhcpSeen struct {
	at       time.Time
	src, dst netip.AddrPort
	m        *dhcpv4.DHCPv4
}

func (s dhcpSeen) String() string {
	text := fmt.Sprintf("%s %v -> %v %s xid %v chaddr %v ciaddr %v yiaddr %v giaddr %v", s.at.Format("05.000"), s.src, s.dst, s.m.MessageType(),
		s.m.TransactionID, s.m.ClientHWAddr, s.m.ClientIPAddr, s.m.YourIPAddr, s.m.GatewayIPAddr)
	for name, code := range map[string]dhcpv4.OptionCode{"requested": dhcpv4.OptionRequestedIPAddress, "server": dhcpv4.OptionServerIdentifier} {
		if a := s.m.Options.Get(code); len(a) == 4 {
			text += fmt.Sprintf(" %s %v", name, netip.AddrFrom4([4]byte(a)))
		}
	}
	return text
}

// of tells whether the message is one of these types of a client.
func (s dhcpSeen) of(mac string, types ...dhcpv4.MessageType) bool {
	return s.m.ClientHWAddr.String() == mac && slices.Contains(types, s.m.MessageType())
}

// dhcpWatch keeps the DHCP messages that pass a device of a host, in their order.
type dhcpWatch struct {
	t    *testing.T
	mu   sync.Mutex
	seen []dhcpSeen
}

// watchDHCP listens at a device; at a bridge it hears everything that passes.
func (h *host) watchDHCP(device string) *dhcpWatch {
	h.lab.t.Helper()
	h.ip("link", "set", "dev", device, "promisc", "on", "up")
	w := &dhcpWatch{t: h.lab.t}
	h.tapWith(device, true, func(ip []byte) {
		if s, is := parseDHCP(ip); is {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, s)
		}
	})
	h.lab.t.Cleanup(func() {
		if h.lab.t.Failed() {
			h.lab.t.Logf("==== the last DHCP messages at %s of %s\n%s", device, h.name, w.text(0))
		}
	})
	return w
}

// parseDHCP reads a packet that is no fragment.
func parseDHCP(ip []byte) (s dhcpSeen, is bool) {
	header := int(ip[0]&15) * 4
	if ip[0]>>4 != 4 || ip[9] != 17 || len(ip) < header+8 || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
		return s, false
	}
	udp := ip[header:]
	s.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:16])), binary.BigEndian.Uint16(udp))
	s.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:20])), binary.BigEndian.Uint16(udp[2:]))
	if s.dst.Port() != 67 && s.dst.Port() != 68 {
		return s, false
	}
	m, err := dhcpv4.FromBytes(slices.Clone(udp[8:]))
	s.at, s.m = time.Now(), m
	return s, err == nil
}

// mark is the present end of what was seen.
func (w *dhcpWatch) mark() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// since are the messages after a mark for which the condition holds.
func (w *dhcpWatch) since(mark int, which func(dhcpSeen) bool) (found []dhcpSeen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen[mark:] {
		if which(s) {
			found = append(found, s)
		}
	}
	return found
}

// await waits for a message after the mark for which the condition holds.
func (w *dhcpWatch) await(mark int, limit time.Duration, what string, which func(dhcpSeen) bool) (found dhcpSeen) {
	w.t.Helper()
	eventually(w.t, limit, what, func() error {
		all := w.since(mark, which)
		if len(all) == 0 {
			return fmt.Errorf("%d messages, none like that:\n%s", w.mark()-mark, w.text(mark))
		}
		found = all[0]
		return nil
	})
	return found
}

// text are the messages after the mark, the last hundred at most.
func (w *dhcpWatch) text(mark int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var text strings.Builder
	for _, s := range w.seen[max(mark, len(w.seen)-100):] {
		fmt.Fprintln(&text, s)
	}
	return text.String()
}
