package igd

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Port of SSDP.
const Port = 1900

// Group is where hosts search and the router announces: 239.255.255.250, with a TTL of 2 (UDA 1.1 section 1).
func Group() netip.Addr { return netip.AddrFrom4([4]byte{239, 255, 255, 250}) }

// maxAge is how long an announcement counts (UDA section 1.2.2: at least 1800 s).
const maxAge = 1800 * time.Second

// Announcements: each set is sent Repeats times, RepeatAfter apart, since datagrams get lost; and again every
// AliveEvery, with some variation, so that two are missed before the announcement lapses (UDA section 1.2.2: below half of it).
const (
	Repeats     = 3
	RepeatAfter = 200 * time.Millisecond
	AliveEvery  = 10 * time.Minute
)

// Bounds of searches.
const (
	maxSearch  = 1500 // octets of a datagram
	perHost    = 40   // answers a second for one host: four searches for everything
	perSecond  = 400  // for all of them
	maxHeaders = 32
)

// target is something that can be searched for and is announced.
type target struct {
	tree    int
	st, usn string
	all     bool // answers ssdp:all and is announced
}

// targets are those of both trees, in the order of announcements: root device, then devices, then services
// (UDA section 1.2.2).
func (s *Server) targets() (all []target) {
	for tree := 1; tree <= 2; tree++ {
		first := tree == 1
		root := s.udn(tree, s.root.name)
		if first {
			all = append(all, target{tree, "upnp:rootdevice", root + "::upnp:rootdevice", true})
		}
		var services []target
		var walk func(d *device)
		walk = func(d *device) {
			udn := s.udn(tree, d.name)
			all = append(all, target{tree, udn, udn, first}, target{tree, d.deviceType(tree), udn + "::" + d.deviceType(tree), first})
			for _, v := range d.services {
				if st := v.serviceType(tree); first || v.version >= tree {
					services = append(services, target{tree, st, udn + "::" + st, first})
				}
			}
			for _, part := range d.devices {
				walk(part)
			}
		}
		walk(s.root)
		all = append(all, services...)
	}
	return all
}

// Search answers a datagram to port 1900: of the group, or of one of the router's addresses. local is the router's address on
// the link on which it came. The answers go from local port 1900 to whoever asked; none where it is not
// a search, for something else, or by somebody who may not ask. The datagram is not kept. Calls may be concurrent.
func (s *Server) Search(now time.Time, from netip.AddrPort, local netip.Addr, datagram []byte) (answers [][]byte) {
	config := s.config.Load()
	if !plausible(from) || from.Addr() == local || !config.permits(from.Addr()) {
		s.count.strangers.Add(1)
		return nil
	}
	st, ok := parseSearch(datagram)
	if !ok {
		s.count.noSearches.Add(1)
		return nil
	}
	for _, t := range s.searchable {
		if st == "ssdp:all" && t.all || st == t.st {
			answers = append(answers, s.datagram(now, config, local, "HTTP/1.1 200 OK", "ST", t, ""))
		}
	}
	switch {
	case len(answers) == 0:
		s.count.otherTargets.Add(1)
	case !s.budget.take(now, from.Addr(), len(answers)):
		s.count.limited.Add(1)
		return nil
	default:
		s.count.searches.Add(1)
	}
	return answers
}

// plausible reports an address to which answers may be sent.
func plausible(from netip.AddrPort) bool {
	a := from.Addr()
	return from.Port() != 0 && a.Is4() && !a.IsMulticast() && !a.IsUnspecified() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// parseSearch reads a search (UDA section 1.3.2): M-SEARCH, with MAN and ST. MX, within which the answer may come, is not
// minded: the answer comes at once.
func parseSearch(datagram []byte) (st string, ok bool) {
	if len(datagram) > maxSearch || bytes.IndexByte(datagram, 0) >= 0 {
		return "", false
	}
	lines := strings.Split(strings.ReplaceAll(string(datagram), "\r\n", "\n"), "\n")
	if method := strings.Fields(lines[0]); len(method) != 3 || method[0] != "M-SEARCH" || method[1] != "*" ||
		!strings.HasPrefix(method[2], "HTTP/1.") || len(lines) > maxHeaders {
		return "", false
	}
	discover := false
	for _, line := range lines[1:] {
		if line == "" {
			break
		}
		name, v, found := strings.Cut(line, ":")
		if !found {
			return "", false
		}
		v = strings.TrimSpace(v)
		switch strings.ToUpper(strings.TrimSpace(name)) {
		case "MAN":
			discover = strings.Trim(v, `"`) == "ssdp:discover"
		case "ST":
			st = v
		}
	}
	return st, discover && st != ""
}

// Alive announces the device (UDA section 1.2.2): datagrams for the group, from local port 1900, on the link of local.
func (s *Server) Alive(now time.Time, local netip.Addr) [][]byte {
	return s.notify(now, local, "ssdp:alive")
}

// ByeBye takes the announcement back (UDA section 1.2.3): as Alive.
func (s *Server) ByeBye(now time.Time, local netip.Addr) [][]byte {
	return s.notify(now, local, "ssdp:byebye")
}

func (s *Server) notify(now time.Time, local netip.Addr, nts string) (all [][]byte) {
	config := s.config.Load()
	for _, t := range s.searchable {
		if t.all {
			all = append(all, s.datagram(now, config, local, "NOTIFY * HTTP/1.1", "NT", t, nts))
		}
	}
	return all
}

// datagram is one answer or announcement.
func (s *Server) datagram(now time.Time, config *Config, local netip.Addr, start, kind string, t target, nts string) []byte {
	var b bytes.Buffer
	line := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	b.WriteString(start + "\r\n")
	if nts != "" {
		line("HOST", netip.AddrPortFrom(Group(), Port).String())
		line("NTS", nts)
	}
	if nts != "ssdp:byebye" {
		line("CACHE-CONTROL", fmt.Sprintf("max-age=%d", maxAge/time.Second))
		line("LOCATION", fmt.Sprintf("http://%v"+rootPath, netip.AddrPortFrom(local, config.Port), t.tree))
		line("SERVER", s.product())
	}
	if nts == "" {
		line("DATE", now.UTC().Format(http.TimeFormat))
		b.WriteString("EXT:\r\n")
	}
	line(kind, t.st)
	line("USN", t.usn)
	line("BOOTID.UPNP.ORG", fmt.Sprint(s.boot))
	line("CONFIGID.UPNP.ORG", "1")
	b.WriteString("\r\n")
	return b.Bytes()
}

// product is the SERVER header (UDA section 1.2.2): system, UPnP version, product.
func (s *Server) product() string { return "Linux UPnP/1.1 vrouterd/" + s.version }
