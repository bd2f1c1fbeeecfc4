package router

import (
	"net"
	"net/netip"

	"vrouterd/internal/hoststack"
)

// dnsAddress is one of the router's addresses at which DNS is served.
type dnsAddress struct {
	addr      netip.Addr
	port      string
	datagrams *hoststack.DatagramPort // nil: UDP is not served
	listener  net.Listener            // nil: TCP is not served
}

// serveDNS begins to listen at an address.
func (r *Router) serveDNS(a netip.Addr, port string) {
	where := netip.AddrPortFrom(a, dnsPort)
	at := &dnsAddress{addr: a, port: port}
	var err error
	at.datagrams, err = r.stack.ServeUDP(where, hoststack.Service{
		Take: func(g hoststack.Datagram) bool { return r.dnsReceive(at, g) },
	})
	if err != nil {
		r.log.Error("DNS is not served by UDP at an address", "address", a, "error", err)
	}
	if at.listener, err = r.stack.ListenTCP(where); err != nil {
		r.log.Error("DNS is not served by TCP at an address", "address", a, "error", err)
	} else {
		go r.acceptDNS(at.listener)
	}
	r.dns.served[a] = at
}

// leaveDNS ends listening at an address. Connections there go with it.
func (r *Router) leaveDNS(at *dnsAddress) {
	if at.datagrams != nil {
		at.datagrams.Close()
	}
	if at.listener != nil {
		at.listener.Close()
	}
	for s := range r.dns.streams {
		if s.local == at.addr {
			s.close()
		}
	}
	delete(r.dns.served, at.addr)
}

// acceptDNS takes connections until the listener is closed.
func (r *Router) acceptDNS(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !r.post(func() { r.dnsAccepted(c) }) {
			c.Close()
			return
		}
	}
}
