package port

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostEnd is what was given to the kernel end as a lab host; what was there before
// is not in it, and stays.
type hostEnd struct {
	address []netip.Prefix
	gateway netip.Addr
}

// setHost brings addresses and default gateway of the kernel end to spec.
func (d *Device) setHost(spec Spec) error {
	if spec.Host == nil {
		return d.clearHost(true)
	}
	if d.host == nil {
		d.host = &hostEnd{}
	}
	if d.host.gateway.IsValid() && d.host.gateway != spec.Host.Gateway {
		if err := d.dropGateway(); err != nil {
			return fmt.Errorf("port %s: %w", spec.Name, err)
		}
	}
	// New addresses first: a host that is never without an address keeps its routes.
	if err := d.addAddresses(spec); err != nil {
		return err
	}
	if err := d.dropAddresses(spec.Host.Address); err != nil {
		return fmt.Errorf("port %s: %w", spec.Name, err)
	}
	if err := d.addGateway(spec); err != nil {
		return err
	}
	if err := d.raiseLoopback(); err != nil { // last: a port that failed leaves lo as it was
		return fmt.Errorf("port %s: setting lo of %s up: %w", spec.Name, d.ns.label, err)
	}
	return nil
}

// raiseLoopback makes 127.0.0.1 work in the namespace of a lab host. It stays up: other
// ports and programs of the namespace have come to rely on it.
func (d *Device) raiseLoopback() error {
	if d.ns.own {
		return nil
	}
	lo, err := d.ns.handle.LinkByName("lo")
	if err != nil || lo.Attrs().Flags&net.FlagUp != 0 {
		return err
	}
	return d.ns.handle.LinkSetUp(lo)
}

func (d *Device) addAddresses(spec Spec) error {
	for _, prefix := range spec.Host.Address {
		err := d.ns.handle.AddrAdd(d.link(), &netlink.Addr{IPNet: ipNet(prefix)})
		if errors.Is(err, unix.EEXIST) {
			continue // given by us before, or by somebody who will keep it
		}
		if err != nil {
			return fmt.Errorf("port %s: giving device %s the address %s: %w", spec.Name, spec.Device, prefix, err)
		}
		if !slices.Contains(d.host.address, prefix) {
			d.host.address = append(d.host.address, prefix)
		}
	}
	return nil
}

// dropAddresses takes back what was given and is not to be kept.
func (d *Device) dropAddresses(keep []netip.Prefix) error {
	var errs []error
	d.host.address = slices.DeleteFunc(d.host.address, func(prefix netip.Prefix) bool {
		if slices.Contains(keep, prefix) {
			return false
		}
		err := d.ns.handle.AddrDel(d.link(), &netlink.Addr{IPNet: ipNet(prefix)})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !missing(err) {
			errs = append(errs, fmt.Errorf("taking address %s back: %w", prefix, err))
		}
		return true
	})
	return together(errs...)
}

// addGateway sets the default route of a lab host. Another default route is never
// pushed aside: in the daemon's own namespace it is what the machine is reached by.
func (d *Device) addGateway(spec Spec) error {
	if !spec.Host.Gateway.IsValid() {
		return nil
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return d.ns.handle.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_DST)
	})
	if err != nil {
		return fmt.Errorf("port %s: reading the default routes of %s: %w", spec.Name, d.ns.label, err)
	}
	if slices.ContainsFunc(routes, func(r netlink.Route) bool {
		return r.LinkIndex == d.index && r.Gw.Equal(spec.Host.Gateway.AsSlice())
	}) {
		return nil // ours, or its twin on a device that existed before
	}
	if len(routes) > 0 {
		cure := "leave `host.gateway` out, or take the other route away"
		if d.ns.own {
			cure = "give the port a `netns` of its own, or leave `host.gateway` out"
		}
		return &fault{kind: ErrGatewayConflict, text: fmt.Sprintf(
			"port %s: gateway %s would take the place of the default route that %s already has (%s): %s",
			spec.Name, spec.Host.Gateway, d.ns.label, d.describeRoute(routes[0]), cure)}
	}
	if err := d.ns.handle.RouteAdd(d.defaultRoute(spec.Host)); err != nil {
		return fmt.Errorf("port %s: setting gateway %s on device %s: %w", spec.Name, spec.Host.Gateway, spec.Device, err)
	}
	d.host.gateway = spec.Host.Gateway
	return nil
}

// defaultRoute through the gateway; one outside the host's networks is taken to be
// on the link, as it is behind a TUN device with a /32.
func (d *Device) defaultRoute(host *HostSpec) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: d.index,
		Dst:       ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
		Gw:        host.Gateway.AsSlice(),
		Protocol:  unix.RTPROT_STATIC,
		Flags:     int(netlink.FLAG_ONLINK),
	}
	if slices.ContainsFunc(host.Address, func(p netip.Prefix) bool { return p.Contains(host.Gateway) }) {
		route.Flags = 0
	}
	return route
}

func (d *Device) describeRoute(r netlink.Route) string {
	text := "default"
	if r.Gw != nil {
		text += " via " + r.Gw.String()
	}
	if link, err := d.ns.handle.LinkByIndex(r.LinkIndex); err == nil {
		text += " dev " + link.Attrs().Name
	}
	return text
}

func (d *Device) dropGateway() error {
	route := &netlink.Route{
		LinkIndex: d.index,
		Dst:       ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
		Gw:        d.host.gateway.AsSlice(),
	}
	if err := d.ns.handle.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) && !missing(err) {
		return fmt.Errorf("taking gateway %s back: %w", d.host.gateway, err)
	}
	d.host.gateway = netip.Addr{}
	return nil
}

// clearHost takes back all that was given; exists: the kernel end still does.
func (d *Device) clearHost(exists bool) error {
	if d.host == nil {
		return nil
	}
	var errs []error
	if exists {
		if d.host.gateway.IsValid() {
			errs = append(errs, d.dropGateway())
		}
		errs = append(errs, d.dropAddresses(nil))
	}
	d.host = nil
	return together(errs...)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
