package router

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dns"
)

// Bounds of DNS over TCP. RFC 7766 section 6.2.2 wants a server to have some, and a client to need one connection.
const (
	maxDNSStreams          = 256
	maxDNSStreamsPerClient = 16
	// maxDNSPipelined is how many questions of a connection are answered at a time; it is read no further
	// until one has its answer (RFC 7766 section 6.2.1.1).
	maxDNSPipelined = 32
	// dnsIdle is how long a connection may be silent, and how long one message may take
	// (RFC 7766 section 6.2.3: a few seconds).
	dnsIdle = 10 * time.Second
	// maxDNSQueued bounds the octets of answers that wait for slow readers, in all.
	maxDNSQueued = 8 << 20
)

// dnsStream is a client's connection. Two goroutines serve it; what they share with the control goroutine are
// the channels. Everything else is the control goroutine's.
type dnsStream struct {
	conn   net.Conn
	local  netip.Addr
	remote netip.AddrPort
	port   dataplane.PortID
	out    chan []byte   // answers, with their lengths: as many as there are slots, so that it never blocks
	slots  chan struct{} // one for each question that has no answer yet
	done   chan struct{} // closed with the connection
	once   sync.Once

	pending map[dns.ClientID]struct{} // questions that wait
	counted bool                      // among the connections
}

// dnsAccepted admits a connection, or closes it.
func (r *Router) dnsAccepted(c net.Conn) {
	d := r.dns
	local, _ := netip.ParseAddrPort(c.LocalAddr().String())
	remote, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	at := d.served[local.Addr()]
	switch {
	case d.machine == nil || at == nil: // it has just gone
		c.Close()
		return
	case len(d.streams) >= maxDNSStreams:
		d.refused[dnsConnectionLimit]++
		c.Close()
		return
	case d.clients[remote.Addr()] >= maxDNSStreamsPerClient:
		d.refused[dnsClientConnectionLimit]++
		c.Close()
		return
	}
	s := &dnsStream{
		conn: c, local: local.Addr(), remote: remote,
		out: make(chan []byte, maxDNSPipelined), slots: make(chan struct{}, maxDNSPipelined), done: make(chan struct{}),
		pending: map[dns.ClientID]struct{}{}, counted: true,
	}
	if p := r.ports[at.port]; p != nil {
		s.port = p.id
	}
	d.streams[s] = struct{}{}
	d.clients[remote.Addr()]++
	go func() {
		r.readDNS(s)
		s.close()
		r.post(func() { r.dnsStreamGone(s) })
	}()
	go r.writeDNS(s)
}

// close ends a connection. Any goroutine may call it.
func (s *dnsStream) close() {
	s.once.Do(func() {
		close(s.done)
		s.conn.Close()
	})
}

// forget frees the slot of a question that gets no answer.
func (s *dnsStream) forget(id dns.ClientID) {
	delete(s.pending, id)
	<-s.slots
}

// dnsStreamGone forgets a connection that has ended.
func (r *Router) dnsStreamGone(s *dnsStream) {
	d := r.dns
	if !s.counted {
		return
	}
	s.counted = false
	delete(d.streams, s)
	if d.clients[s.remote.Addr()]--; d.clients[s.remote.Addr()] <= 0 {
		delete(d.clients, s.remote.Addr())
	}
	now := time.Now()
	for id := range s.pending {
		delete(d.waiting, id)
		r.dnsStep(now, dns.Gone{Client: id})
	}
	clear(s.pending)
	for { // what was never written
		select {
		case b := <-s.out:
			d.queued.Add(-int64(len(b)))
		default:
			return
		}
	}
}

// readDNS reads questions until the client has no more, or does not keep to the rules.
func (r *Router) readDNS(s *dnsStream) {
	in := bufio.NewReaderSize(s.conn, 2048)
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.done:
			return
		}
		s.conn.SetReadDeadline(time.Now().Add(r.dns.idle))
		var length [2]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			<-s.slots
			if err == io.EOF {
				s.finish(r.dns.idle)
			}
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(in, message); err != nil {
			return
		}
		if !r.post(func() { r.dnsStreamQuery(s, message) }) {
			return
		}
	}
}

// finish waits until a client that will ask no more, but may still listen, has its answers.
func (s *dnsStream) finish(limit time.Duration) {
	late := time.NewTimer(limit)
	defer late.Stop()
	for range maxDNSPipelined {
		select {
		case s.slots <- struct{}{}:
		case <-s.done:
			return
		case <-late.C:
			return
		}
	}
}

// dnsStreamQuery gives the machine a question of a connection.
func (r *Router) dnsStreamQuery(s *dnsStream, message []byte) {
	if r.dns.machine == nil || !s.counted {
		s.close()
		return
	}
	id := r.dnsQuery(time.Now(), dnsClient{stream: s}, dns.Query{Port: dns.PortID(s.port), From: s.remote, Stream: true, Payload: message})
	if _, waits := r.dns.waiting[id]; waits {
		s.pending[id] = struct{}{}
	}
}

// dnsStreamAnswer queues an answer. A client that reads too slowly loses its connection.
func (r *Router) dnsStreamAnswer(s *dnsStream, id dns.ClientID, payload []byte) {
	d := r.dns
	delete(s.pending, id)
	if !s.counted {
		return
	}
	if len(payload) > 0xffff || d.queued.Load()+int64(len(payload)) > maxDNSQueued {
		d.refused[dnsSlowReader]++
		s.close()
		return
	}
	b := make([]byte, 2, 2+len(payload))
	binary.BigEndian.PutUint16(b, uint16(len(payload)))
	b = append(b, payload...) // length and message in one segment: RFC 7766 section 8
	d.queued.Add(int64(len(b)))
	s.out <- b
}

// writeDNS writes answers until the connection is closed.
func (r *Router) writeDNS(s *dnsStream) {
	for {
		select {
		case b := <-s.out:
			s.conn.SetWriteDeadline(time.Now().Add(r.dns.idle))
			_, err := s.conn.Write(b)
			r.dns.queued.Add(-int64(len(b)))
			if err != nil {
				s.close()
				return
			}
			<-s.slots
		case <-s.done:
			return
		}
	}
}
