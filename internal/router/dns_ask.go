package router

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/hoststack"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dns"
)

// dnsAsk is a question on its way upstream. It has a port of its own, where anybody may send: the machine tells the answer
// from forgeries, and counts those.
type dnsAsk struct {
	server    netip.AddrPort
	datagrams *hoststack.DatagramPort // nil: it goes by TCP
	stop      context.CancelFunc      // of TCP
}

const (
	// dnsPortTries is how many random ports are tried for a question: nearly all are free.
	dnsPortTries = 16
	// dnsStreamTime bounds a question by TCP, from the first SYN to the last octet.
	dnsStreamTime = 10 * time.Second
)

// dnsAsk sends a question upstream.
func (r *Router) dnsAsk(a *dns.Ask) {
	d := r.dns
	source := r.sourceFor(a.Server.Addr())
	if !source.IsValid() {
		d.fail(a.ID, "no port has an address")
		return
	}
	if a.Stream {
		r.dnsAskStream(a, source)
		return
	}
	id := a.ID
	service := hoststack.Service{
		Take: func(g hoststack.Datagram) bool {
			r.dnsStep(time.Now(), dns.Reply{Ask: id, From: g.From, Payload: g.Payload})
			return true
		},
		Failed: func(to netip.AddrPort, why string) {
			if ask := r.dns.asks[id]; ask != nil && ask.server == to {
				r.dnsStep(time.Now(), dns.AskFailed{Ask: id, Reason: why})
			}
		},
	}
	port := a.Port
	for range dnsPortTries {
		at, err := r.stack.ServeUDP(netip.AddrPortFrom(source, port), service)
		if err == nil {
			d.asks[id] = &dnsAsk{server: a.Server, datagrams: at}
			d.packet = at.Append(d.packet[:0], a.Server, a.Payload)
			r.send.Output(d.packet)
			return
		}
		port = uint16(1024 + d.rand.IntN(1<<16-1024))
	}
	d.fail(id, "no free source port was found")
}

// fail tells the machine, in its next step, that a question could not be sent.
func (d *resolver) fail(id dns.AskID, why string) {
	d.failed = append(d.failed, dns.AskFailed{Ask: id, Reason: why})
}

// dnsDone closes the socket of a question. Its session goes too: each question has a port of its own, and
// thousands of sessions that nobody needs would wait for their end.
func (r *Router) dnsDone(id dns.AskID) {
	ask := r.dns.asks[id]
	if ask == nil {
		return
	}
	delete(r.dns.asks, id)
	if ask.stop != nil {
		ask.stop()
		return
	}
	ask.datagrams.Close()
	if r.fwd.stateful != nil && r.fwd.stateful.Sessions != nil {
		from := ask.datagrams.Addr()
		key := conntrack.MakeKey(packet.ProtoUDP, packet.AddrFrom(from.Addr()), from.Port(), packet.AddrFrom(ask.server.Addr()), ask.server.Port())
		r.stateful.sessions.End(r.stateful.reader, r.sessionTick(), &key)
	}
}

// dnsAskStream asks by TCP. The goroutine ends with the question, or with the router.
func (r *Router) dnsAskStream(a *dns.Ask, source netip.Addr) {
	ctx, stop := context.WithTimeout(context.Background(), dnsStreamTime)
	r.dns.asks[a.ID] = &dnsAsk{server: a.Server, stop: stop}
	id, server := a.ID, a.Server
	message := binary.BigEndian.AppendUint16(nil, uint16(len(a.Payload)))
	message = append(message, a.Payload...)
	go func() {
		defer stop()
		answer, err := r.dnsExchange(ctx, source, server, message)
		r.post(func() {
			switch {
			case r.dns.asks[id] == nil: // done with
			case err != nil:
				r.dnsStep(time.Now(), dns.AskFailed{Ask: id, Reason: err.Error()})
			default:
				r.dnsStep(time.Now(), dns.Reply{Ask: id, From: server, Payload: answer})
			}
		})
	}()
}

// dnsExchange opens a connection, sends one message and reads one (RFC 7766).
func (r *Router) dnsExchange(ctx context.Context, source netip.Addr, server netip.AddrPort, message []byte) ([]byte, error) {
	c, err := r.stack.DialTCP(ctx, source, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(message); err != nil {
		return nil, fmt.Errorf("send to %v: %w", server, err)
	}
	return readDNSMessage(c)
}

// readDNSMessage reads a message behind its length (RFC 1035 section 4.2.2).
func readDNSMessage(c net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, fmt.Errorf("read the length of an answer: %w", err)
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, message); err != nil {
		return nil, fmt.Errorf("read an answer of %d octets: %w", len(message), err)
	}
	return message, nil
}

// dnsUpstreamEvent writes down that an upstream has fallen silent, or is back.
func (r *Router) dnsUpstreamEvent(e dns.UpstreamEvent) {
	kind, what := "dns_upstream_down", "does not answer; others are asked first"
	if e.Up {
		kind, what = "dns_upstream_up", "answers again"
	}
	r.event(kind, e.Server.String(), "DNS server "+e.Server.String()+" "+what, map[string]string{"server": e.Server.String()})
}

// dnsConfig is the section `dns:` as the machine takes it.
func (r *Router) dnsConfig(c *config.DNS) dns.Config {
	out := dns.Config{
		Domain: c.Domain, CacheSize: c.Cache, MinTTL: c.MinTTL, MaxTTL: c.MaxTTL, LocalTTL: c.LocalTTL,
		MaxQueries: c.MaxQueries, MaxPerClient: c.MaxPerClient, Timeout: c.Timeout,
		RebindProtection: c.RebindProtection, RebindAllow: slices.Clone(c.RebindAllow), PrivateReverse: c.PrivateReverse,
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		out.Upstreams = append(out.Upstreams, dns.Upstream{Domain: u.Domain, Servers: slices.Clone(u.Servers)})
	}
	if leased := r.leasedUpstreams(); len(leased) > 0 {
		out.Upstreams = append(out.Upstreams, dns.Upstream{Servers: leased})
	}
	out.LocalOnly = !c.UpstreamDHCP && !slices.ContainsFunc(out.Upstreams, func(u dns.Upstream) bool { return u.Domain == "" && len(u.Servers) > 0 })
	out.Router, _, _ = strings.Cut(r.config.Name, ".")
	for i := range c.Records {
		one := &c.Records[i]
		out.Records = append(out.Records, dns.Record{
			Name: one.Name, Addresses: slices.Clone(one.Addresses), CNAME: one.CNAME, TXT: slices.Clone(one.TXT), TTL: one.TTL,
		})
	}
	for _, p := range r.inOrder() {
		for _, a := range p.usable() {
			out.Networks = append(out.Networks, a.Masked())
			if slices.Contains(c.Listen, p.cfg.Name) {
				out.RouterAddresses = append(out.RouterAddresses, a.Addr())
			}
		}
	}
	return out
}
