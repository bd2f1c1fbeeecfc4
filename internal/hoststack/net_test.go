package hoststack

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAListenerNeedsAnAddressOfTheRouter(t *testing.T) {
	s := wire(t, 1500, func([]byte) {})
	for at, says := range map[string]string{"10.0.0.77:80": "10.0.0.77 is not an address of this router", "[::1]:80": "not an IPv4 address"} {
		if l, err := s.ListenTCP(netip.MustParseAddrPort(at)); err == nil || !strings.Contains(err.Error(), says) {
			if err == nil {
				l.Close()
			}
			t.Errorf("tcp %s: %v, want %q", at, err, says)
		}
		if c, err := s.ListenUDP(netip.MustParseAddrPort(at)); err == nil || !strings.Contains(err.Error(), says) {
			if err == nil {
				c.Close()
			}
			t.Errorf("udp %s: %v, want %q", at, err, says)
		}
	}
}

func TestAPortIsListenedOnOnce(t *testing.T) {
	s := wire(t, 1500, func([]byte) {})
	l, err := s.ListenTCP(netip.AddrPortFrom(here, 80))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.ListenTCP(netip.AddrPortFrom(here, 80)); err == nil {
		again.Close()
		t.Error("a second listener has the same port")
	}
	l.Close()
	l, err = s.ListenTCP(netip.AddrPortFrom(here, 80))
	if err != nil {
		t.Fatalf("a closed listener keeps its port: %v", err)
	}
	l.Close()
}

func TestAListenerHearsAgainWhenItsAddressComesBack(t *testing.T) {
	a, b := pair(t)
	l, err := b.ListenTCP(netip.AddrPortFrom(there, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	b.SetAddresses([]netip.Prefix{netip.MustParsePrefix("10.9.9.9/24")})
	b.SetAddresses([]netip.Prefix{netip.PrefixFrom(there, 24)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := a.DialTCP(ctx, here, netip.AddrPortFrom(there, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case got := <-accepted:
		// What the HTTP side of UPnP holds against the name that it was called by.
		if got.LocalAddr().String() != "10.0.0.2:80" || !strings.HasPrefix(got.RemoteAddr().String(), "10.0.0.1:") {
			t.Errorf("accepted from %v at %v", got.RemoteAddr(), got.LocalAddr())
		}
		got.Close()
	case <-ctx.Done():
		t.Error("nothing was accepted")
	}
}

// A listener for every address tells at which of them it was reached.
func TestAListenerForAllAddressesKnowsTheOneReached(t *testing.T) {
	a, b := pair(t)
	l, err := b.ListenTCP(netip.AddrPortFrom(netip.Addr{}, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	extra := netip.MustParsePrefix("10.0.0.3/24")
	b.SetAddresses([]netip.Prefix{netip.PrefixFrom(there, 24), extra})
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := a.DialTCP(ctx, here, netip.AddrPortFrom(extra.Addr(), 80))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case got := <-accepted:
		if got.LocalAddr().String() != "10.0.0.3:80" {
			t.Errorf("it was reached at %v", got.LocalAddr())
		}
		got.Close()
	case <-ctx.Done():
		t.Error("nothing was accepted")
	}
}

func TestAPortWhoseListenerHasGoneIsListenedOnAgainThoughConnectionsAreLeft(t *testing.T) {
	a, b := pair(t)
	at := netip.AddrPortFrom(there, 53)
	first, err := b.ListenTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := b.ListenTCP(at); err == nil {
		l.Close()
		t.Fatal("two listen at one port")
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := first.Accept()
		accepted <- c
	}()
	near, err := a.DialTCP(t.Context(), here, at)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far := <-accepted
	first.Close()
	far.Close() // it waits for the other side
	again, err := b.ListenTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
