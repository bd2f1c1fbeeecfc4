package igd_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/hoststack"
	"vrouterd/internal/igd"
)

// closed is an outside without anything.
type closed struct{}

func (closed) External(context.Context, netip.Addr) (a netip.Addr, ok bool) { return a, false }
func (closed) Link(context.Context, netip.Addr) (igd.Link, error)           { return igd.Link{}, nil }
func (closed) Add(_ context.Context, m igd.Mapping, _ bool) (igd.Mapping, error) {
	return m, igd.ActionFailed
}
func (closed) Delete(context.Context, igd.Key, netip.Addr) error        { return igd.NoSuchEntry }
func (closed) List(context.Context, netip.Addr) ([]igd.Mapping, error)  { return nil, nil }
func (closed) Find(context.Context, igd.Key) (m igd.Mapping, err error) { return m, igd.NoSuchEntry }

// The router serves it on its host stack, whose connections are not the kernel's.
func TestItIsServedOnTheHostStack(t *testing.T) {
	inside, router := netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.1.1")
	var a, b *hoststack.Stack
	ready := make(chan struct{})
	stack := func(own netip.Addr, output func([]byte)) *hoststack.Stack {
		s, err := hoststack.New(hoststack.Options{Output: func(ip []byte) { <-ready; output(ip) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		s.SetAddresses([]netip.Prefix{netip.PrefixFrom(own, 24)})
		return s
	}
	a = stack(inside, func(ip []byte) { b.Deliver(ip) })
	b = stack(router, func(ip []byte) { a.Deliver(ip) })
	close(ready)

	s, err := igd.New(igd.Options{Gateway: closed{}}, igd.Config{Port: 5000, Permitted: func(p netip.Addr) bool { return p == inside }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.ListenTCP(netip.AddrPortFrom(router, 5000))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()

	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
			return a.DialTCP(ctx, inside, netip.MustParseAddrPort(to))
		},
	}}
	r, err := client.Get("http://192.168.1.1:5000/igd1.xml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(text), "InternetGatewayDevice:1") {
		t.Errorf("status %d, %v: %s", r.StatusCode, err, text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
