package router

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"vrouterd/internal/control/api"
)

// Ping sends echo requests from the router itself.
func (r *Router) Ping(ctx context.Context, q api.PingRequest, reply func(api.PingReply)) error {
	source, err := r.probeSource(q.Address, q.Source)
	if err != nil {
		return err
	}
	return usage(r.stack.Ping(ctx, q, source, reply))
}

// Traceroute asks for the way from the router to an address.
func (r *Router) Traceroute(ctx context.Context, q api.TracerouteRequest, hop func(api.TracerouteHop)) error {
	source, err := r.probeSource(q.Address, q.Source)
	if err != nil {
		return err
	}
	return usage(r.stack.Traceroute(ctx, q, source, hop))
}

// probeSource is the address that probes bear: the one asked for, which must be the
// router's, or the one that the way out suggests.
func (r *Router) probeSource(address, source string) (out netip.Addr, err error) {
	to, err := parseAddress(address)
	if err != nil {
		return out, err
	}
	var own []netip.Addr
	stopped := r.do(func() {
		for _, a := range r.ownAddresses() {
			own = append(own, a.Addr())
		}
		out = r.sourceFor(to)
	})
	switch {
	case stopped != nil:
		return out, stopped
	case len(own) == 0:
		return out, &api.Error{Code: api.Failed, Message: "the router has no address in use to send from; `vrctl show ports` tells why"}
	case source == "":
		return out, nil
	}
	if out, err = parseAddress(source); err != nil {
		return out, err
	}
	if !slices.Contains(own, out) {
		return out, &api.Error{Code: api.Usage, Message: fmt.Sprintf("%v is not an address of the router; it has %v", out, own)}
	}
	return out, nil
}
