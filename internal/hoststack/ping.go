package hoststack

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

// Ping sends echo requests and calls reply once for each, in the order in which
// their fates are known: an answer, an ICMP error, or nothing for the timeout. source is used when the request
// names none. Zero fields mean: 4 probes, 1 s apart, 1 s to answer, TTL 64.
// It returns when all fates are told, when ctx ends, or with ErrClosed. A request that
// cannot be is an *api.Error.
func (s *Stack) Ping(ctx context.Context, r api.PingRequest, source netip.Addr, reply func(api.PingReply)) error {
	setDefault(&r.Count, 4)
	setDefault(&r.Interval, time.Second)
	setDefault(&r.Timeout, time.Second)
	setDefault(&r.TTL, 64)
	switch {
	case r.Count < 1 || r.Count > 100000:
		return usage("count %d is not within 1 to 100000", r.Count)
	case r.Size < 0 || r.Size > 65507:
		return usage("size %d is not within 0 to 65507 octets", r.Size)
	case r.TTL < 1 || r.TTL > 255:
		return usage("ttl %d is not within 1 to 255", r.TTL)
	case r.Interval < 0 || r.Timeout < 0:
		return usage("interval %v and timeout %v must not be negative", r.Interval, r.Timeout)
	}
	src, dst, err := s.endpoints(r.Source, r.Address, source)
	if err != nil {
		return err
	}
	if r.DF && packet.IPv4MinLen+packet.ICMPLen+r.Size > s.mtu {
		for i := range r.Count {
			reply(api.PingReply{Sequence: i + 1, Result: fmt.Sprintf("fragmentation needed, mtu %d", s.mtu)})
		}
		return nil
	}
	key, flow, err := s.probes.open(false, dst, min(r.Count, 256))
	if err != nil {
		return err
	}
	defer s.probes.close(key)

	// Probes are due to time out in the order in which they were sent.
	type waiting struct {
		index int
		sent  time.Time
	}
	var (
		queue []waiting
		open  = map[uint16]waiting{} // by the sequence number on the wire
		sent  = 0
		next  = time.Now()
		timer = time.NewTimer(0)
	)
	defer timer.Stop()
	lose := func(w waiting) {
		delete(open, uint16(w.index+1))
		reply(api.PingReply{Sequence: w.index + 1, Result: "timeout"})
	}
	for sent < r.Count || len(open) > 0 {
		// Those answered leave the queue when they reach its head.
		for len(queue) > 0 && open[uint16(queue[0].index+1)] != queue[0] {
			queue = queue[1:]
		}
		wake := next
		if sent == r.Count || len(queue) > 0 && queue[0].sent.Add(r.Timeout).Before(next) {
			wake = queue[0].sent.Add(r.Timeout)
		}
		timer.Reset(time.Until(wake))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return ErrClosed
		case a := <-flow.answers:
			w, ok := open[uint16(a.index)]
			if !ok {
				continue // a double, or after the timeout
			}
			delete(open, uint16(a.index))
			reply(api.PingReply{
				Sequence: w.index + 1, From: a.from.String(), Bytes: a.bytes, TTL: a.ttl,
				RTTSeconds: a.at.Sub(w.sent).Seconds(), Result: a.inWords(),
			})
		case <-timer.C:
			now := time.Now()
			for len(queue) > 0 && !queue[0].sent.Add(r.Timeout).After(now) {
				if open[uint16(queue[0].index+1)] == queue[0] {
					lose(queue[0])
				}
				queue = queue[1:]
			}
			if sent == r.Count || next.After(now) {
				continue
			}
			seq := uint16(sent + 1)
			if w, ok := open[seq]; ok {
				lose(w) // 65536 probes ago: its number is needed
			}
			body := echo(key.id, seq, r.Size)
			w := waiting{sent, time.Now()}
			open[seq] = w
			queue = append(queue, w)
			sent++
			next = now.Add(r.Interval)
			s.transmit(probe{src: src, dst: dst, protocol: packet.ProtoICMP, ttl: uint8(r.TTL), df: r.DF, body: body})
		}
	}
	return nil
}

// endpoints checks the addresses of a request.
func (s *Stack) endpoints(source, target string, fallback netip.Addr) (src, dst packet.Addr, err error) {
	to, err := netip.ParseAddr(target)
	if err != nil || !to.Is4() || to.IsUnspecified() {
		return 0, 0, usage("%q is not an IPv4 address, such as 192.0.2.1", target)
	}
	from := fallback
	if source != "" {
		from, err = netip.ParseAddr(source)
		if err != nil || !from.Is4() {
			return 0, 0, usage("the source %q is not an IPv4 address, such as 192.0.2.1", source)
		}
	}
	if !from.Is4() || from.IsUnspecified() {
		return 0, 0, &api.Error{Code: "failed", Message: fmt.Sprintf("there is no source address towards %v: give the router an address, or name a source", to)}
	}
	if _, ok := s.own.Load().addresses[packet.AddrFrom(from)]; !ok {
		return 0, 0, usage("the source %v is not an address of this router", from)
	}
	return packet.AddrFrom(from), packet.AddrFrom(to), nil
}

func usage(format string, args ...any) error {
	return &api.Error{Code: "usage", Message: fmt.Sprintf(format, args...)}
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
