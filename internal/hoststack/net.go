package hoststack

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"vrouterd/internal/packet"
)

// ListenTCP accepts connections to a port of one of the router's addresses; of all
// of them, those to come too, when the address is zero or 0.0.0.0. Port 0 takes a free one.
// One address must be there already ([Stack.SetAddresses]); when it goes the listener hears nothing, and hears again when it comes back.
func (s *Stack) ListenTCP(at netip.AddrPort) (net.Listener, error) {
	if err := s.mine(at); err != nil {
		return nil, fmt.Errorf("host stack: listen on tcp %v: %w", at, err)
	}
	var wake waiter.Queue
	ep, err := s.net.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &wake)
	if err != nil {
		return nil, fmt.Errorf("host stack: listen on tcp %v: %v", at, err)
	}
	// A port whose last listener has left connections behind, if only to wait for stragglers, can be listened on again.
	ep.SocketOptions().SetReuseAddress(true)
	if err = ep.Bind(full(at)); err == nil {
		err = ep.Listen(backlog)
	}
	if err != nil {
		ep.Close()
		return nil, fmt.Errorf("host stack: listen on tcp %v: %v", at, err)
	}
	return gonet.NewTCPListener(s.net, &wake, ep), nil
}

// backlog is how many connections may wait to be accepted.
const backlog = 256

// ListenUDP receives datagrams to a port of one of the router's addresses, as ListenTCP.
func (s *Stack) ListenUDP(at netip.AddrPort) (net.PacketConn, error) {
	if err := s.mine(at); err != nil {
		return nil, fmt.Errorf("host stack: listen on udp %v: %w", at, err)
	}
	a := full(at)
	c, err := gonet.DialUDP(s.net, &a, nil, ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("host stack: listen on udp %v: %w", at, err)
	}
	return c, nil
}

// mine refuses an address that is not the router's: the netstack would only say "bad local address".
func (s *Stack) mine(at netip.AddrPort) error {
	a := at.Addr()
	if !a.IsValid() || a.Is4() && a.IsUnspecified() {
		return nil
	}
	if !a.Is4() {
		return fmt.Errorf("%v is not an IPv4 address", a)
	}
	if _, ok := s.own.Load().addresses[packet.AddrFrom(a)]; !ok {
		return fmt.Errorf("%v is not an address of this router", a)
	}
	return nil
}

// DialTCP connects from the router; from source, which must be one of its own
// addresses. The dataplane routes the connection.
func (s *Stack) DialTCP(ctx context.Context, source netip.Addr, to netip.AddrPort) (net.Conn, error) {
	c, err := gonet.DialTCPWithBind(ctx, s.net, full(netip.AddrPortFrom(source, 0)), full(to), ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("host stack: connect to tcp %v: %w", to, err)
	}
	return c, nil
}

// DialUDP sends to and receives from one address; from source, or any of our own when it is zero.
func (s *Stack) DialUDP(source, to netip.AddrPort) (net.Conn, error) {
	a, b := full(source), full(to)
	c, err := gonet.DialUDP(s.net, &a, &b, ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("host stack: connect to udp %v: %w", to, err)
	}
	return c, nil
}

func full(a netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: a.Port()}
	if a.Addr().Is4() && !a.Addr().IsUnspecified() {
		f.Addr = address(a.Addr())
	}
	return f
}
