package integration

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// STUN behaviour discovery (RFC 5780): a server with two addresses and two ports, and a client
// that finds out from inside how the NAT maps and filters.

// stunServer is four sockets, [address][port]; each answers from where CHANGE-REQUEST says.
type stunServer [2][2]*net.UDPConn

const (
	changeAddress = 0x04 // bits of CHANGE-REQUEST (RFC 5780 section 7.2)
	changePort    = 0x02
)

// serveSTUN starts the server at ports 3478 and 3479 of both addresses.
func (h *host) serveSTUN(address1, address2 string) {
	h.lab.t.Helper()
	var s stunServer
	for i, address := range []string{address1, address2} {
		for j, port := range []int{3478, 3479} {
			s[i][j] = h.listenUDP(fmt.Sprintf("%s:%d", address, port))
		}
	}
	for i := range s {
		for j := range s[i] {
			go s.serve(i, j)
		}
	}
}

func (s *stunServer) serve(i, j int) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := s[i][j].ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		request := &stun.Message{Raw: buffer[:n]}
		if request.Decode() != nil || request.Type != stun.BindingRequest {
			continue
		}
		outAddress, outPort := i, j
		if change, err := request.Get(stun.AttrChangeRequest); err == nil && len(change) == 4 {
			if change[3]&changeAddress != 0 {
				outAddress = 1 - i
			}
			if change[3]&changePort != 0 {
				outPort = 1 - j
			}
		}
		other := s[1-i][1-j].LocalAddr().(*net.UDPAddr)
		answer, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())},
			&stun.OtherAddress{IP: other.IP, Port: other.Port}, stun.Fingerprint)
		if err == nil {
			s[outAddress][outPort].WriteToUDPAddrPort(answer.Raw, from)
		}
	}
}

// bind asks a server once and returns the mapped address; not ok if no answer comes. An answer that is to come is
// waited for with repetitions; one that may be filtered, only shortly.
func bind(c *net.UDPConn, server netip.AddrPort, change byte, limit time.Duration) (mapped netip.AddrPort, other netip.AddrPort, ok bool) {
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest,
		stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, change}}, stun.Fingerprint)
	buffer := make([]byte, 1500)
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		c.WriteToUDPAddrPort(request.Raw, server)
		c.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
		for {
			n, _, err := c.ReadFromUDPAddrPort(buffer)
			if err != nil {
				break
			}
			answer := &stun.Message{Raw: buffer[:n]}
			var m stun.XORMappedAddress
			var o stun.OtherAddress
			if answer.Decode() != nil || answer.TransactionID != request.TransactionID || m.GetFrom(answer) != nil || o.GetFrom(answer) != nil {
				continue
			}
			return addrPort(m.IP, m.Port), addrPort(o.IP, o.Port), true
		}
	}
	return mapped, other, false
}

func addrPort(ip net.IP, port int) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}

// behaviour is what discovery reports, in the words of RFC 4787.
type behaviour struct{ mapping, filtering string }

// The kinds of behaviour.
const (
	independent             = "endpoint_independent"
	addressDependent        = "address_dependent"
	addressAndPortDependent = "address_and_port_dependent"
)

// discover runs the tests of RFC 5780 sections 4.3 and 4.4 from a host.
func (h *host) discover() behaviour {
	h.lab.t.Helper()
	const (
		must  = 20 * time.Second
		might = 600 * time.Millisecond
	)
	main := netip.MustParseAddrPort(server1 + ":3478")
	ask := func(c *net.UDPConn, to netip.AddrPort) (mapped, other netip.AddrPort) {
		h.lab.t.Helper()
		mapped, other, ok := bind(c, to, 0, must)
		if !ok {
			h.lab.t.Fatalf("no answer from the STUN server %v", to)
		}
		return mapped, other
	}
	var found behaviour
	c := h.listenUDP("")
	first, other := ask(c, main)
	// Mapping, test II: another address, the same port; test III: another port, too.
	second, _ := ask(c, netip.AddrPortFrom(other.Addr(), main.Port()))
	third, _ := ask(c, other)
	switch {
	case first == second && first == third:
		found.mapping = independent
	case second == third:
		found.mapping = addressDependent
	default:
		found.mapping = addressAndPortDependent
	}
	// Filtering needs a mapping that has sent to one place only.
	c = h.listenUDP("")
	ask(c, main)
	if _, _, ok := bind(c, main, changeAddress|changePort, might); ok {
		found.filtering = independent
	} else if _, _, ok := bind(c, main, changePort, might); ok {
		found.filtering = addressDependent
	} else {
		found.filtering = addressAndPortDependent
	}
	return found
}

func TestNATBehavesAsSTUNDiscoveryExpects(t *testing.T) {
	kinds := []behaviour{{independent, independent}, {independent, addressDependent}, {independent, addressAndPortDependent}}
	e := newHome(t, masquerade, "p2", "p5")
	e.out.serveSTUN(server1, server2)
	if e.r == nil {
		// The kernel keeps a free port, which looks like endpoint-independent mapping.
		if got := e.hosts["p2"].discover(); got != kinds[2] {
			t.Fatalf("the kernel is known to be %v; discovery says %v", kinds[2], got)
		}
		return
	}
	for _, want := range kinds {
		e.tell(policy{yaml: strings.Replace(masquerade.yaml, "type: masquerade", "type: masquerade, filtering: "+want.filtering, 1)})
		if got := e.hosts["p2"].discover(); got != want {
			t.Errorf("filtering: %s: RFC 5780 discovery reports %v", want.filtering, got)
		}
	}
	// Without a word about it: endpoint-independent both (RFC 4787 REQ-1, REQ-8).
	e.tell(masquerade)
	if got := e.hosts["p2"].discover(); got != kinds[0] {
		t.Errorf("by default discovery reports %v", got)
	}
	// The firewall of a home lets nobody in whom the inside has not asked, whatever the filtering.
	e.tell(policy{yaml: masquerade.yaml + "firewall: home\n"})
	if got := e.hosts["p2"].discover(); got != kinds[2] {
		t.Errorf("with firewall: home discovery reports %v", got)
	}
	// A port that a neighbour has is not shared: still endpoint-independent (RFC 4787 REQ-3).
	e.tell(masquerade)
	one, two := e.hosts["p2"].listenUDP("192.168.1.2:5000"), e.hosts["p5"].listenUDP("192.168.1.5:5000")
	e.out.serveUDP(server1 + ":7")
	e.out.serveUDP(server2 + ":9")
	mine, theirs := asks(t, one, server1+":7"), asks(t, two, server1+":7")
	if mine == theirs || asks(t, one, server2+":9") != mine || asks(t, two, server2+":9") != theirs {
		t.Errorf("two hosts with port 5000: %v and %v", mine, theirs)
	}
	if mine.Port()%2 != theirs.Port()%2 {
		t.Errorf("RFC 4787 REQ-4: port parity was not preserved: 5000 became %d and %d", mine.Port(), theirs.Port())
	}
}
