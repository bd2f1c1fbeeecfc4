package hoststack

import (
	"context"
	"net/netip"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

// traceSize is the payload of a probe: 60 octets of packet, as the classic traceroute.
const traceSize = 32

// Traceroute sends probes with growing TTL and calls hop once for each TTL, when all
// of its probes are answered or lost. The probes of a hop are sent together. UDP probes go to ports from 33434 on,
// one port a probe; ICMP probes are echo requests. It ends at the destination, at
// an unreachable, at MaxHops, when ctx ends, or with ErrClosed. Zero fields mean: 30 hops, 3 probes, 1 s.
// A request that cannot be is an *api.Error.
func (s *Stack) Traceroute(ctx context.Context, r api.TracerouteRequest, source netip.Addr, hop func(api.TracerouteHop)) error {
	setDefault(&r.MaxHops, 30)
	setDefault(&r.Probes, 3)
	setDefault(&r.Timeout, time.Second)
	switch {
	case r.MaxHops < 1 || r.MaxHops > 255:
		return usage("max_hops %d is not within 1 to 255", r.MaxHops)
	case r.Probes < 1 || r.Probes > 10:
		return usage("probes %d is not within 1 to 10", r.Probes)
	case r.Timeout < 0:
		return usage("timeout %v must not be negative", r.Timeout)
	}
	src, dst, err := s.endpoints(r.Source, r.Address, source)
	if err != nil {
		return err
	}
	key, flow, err := s.probes.open(!r.ICMP, dst, 4*r.Probes)
	if err != nil {
		return err
	}
	defer s.probes.close(key)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ttl := 1; ttl <= r.MaxHops; ttl++ {
		h := api.TracerouteHop{TTL: ttl, Probes: make([]api.TracerouteProbe, r.Probes)}
		first := (ttl - 1) * r.Probes
		sent := make([]time.Time, r.Probes)
		for i := range r.Probes {
			p := probe{src: src, dst: dst, ttl: uint8(ttl), protocol: packet.ProtoUDP}
			if r.ICMP {
				p.protocol = packet.ProtoICMP
				p.body = echo(key.id, uint16(first+i), traceSize)
			} else {
				p.body = datagram(src, dst, key.id, uint16(tracePort+first+i), traceSize)
			}
			sent[i] = time.Now()
			s.transmit(p)
		}
		timer.Reset(r.Timeout)
		lost := false
		for missing := r.Probes; missing > 0 && !lost; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.ctx.Done():
				return ErrClosed
			case <-timer.C:
				lost = true
			case a := <-flow.answers:
				i := a.index - first
				if i < 0 || i >= r.Probes || h.Probes[i].From != "" {
					continue // late, or a double
				}
				h.Probes[i] = api.TracerouteProbe{From: a.from.String(), RTTSeconds: a.at.Sub(sent[i]).Seconds(), Note: a.note()}
				h.Done = h.Done || a.udp || a.kind == packet.ICMPEchoReply || a.kind == packet.ICMPUnreachable
				missing--
			}
		}
		hop(h)
		if h.Done {
			return nil
		}
	}
	return nil
}
