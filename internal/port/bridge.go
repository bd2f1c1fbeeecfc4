package port

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// seat is the kernel end's place in a bridge, and what came along.
type seat struct {
	bridge  string
	index   int
	came    int // index of the bridge in which the kernel end was before; 0: none
	members []member
}

// member is a device that was moved into the bridge.
type member struct {
	name  string
	index int
	came  int  // index of its master before; 0: none
	up    bool // it was up before
}

// setBridge brings the place of the kernel end in a bridge, and the members of that, to
// spec. An existing bridge that is down is set up and stays so.
func (d *Device) setBridge(spec Spec, end netlink.Link) error {
	if d.seat != nil && d.seat.bridge != spec.Bridge {
		if err := d.leaveBridge(true); err != nil {
			return fmt.Errorf("port %s: leaving the bridge: %w", spec.Name, err)
		}
		var err error
		if end, err = d.ns.handle.LinkByIndex(d.index); err != nil {
			return fmt.Errorf("port %s: reading device %s: %w", spec.Name, spec.Device, err)
		}
	}
	if spec.Bridge == "" {
		return nil
	}
	bridge, err := d.findBridge(spec)
	if err != nil {
		return err
	}
	if d.seat == nil {
		d.seat = &seat{bridge: spec.Bridge}
		if d.found != nil {
			d.seat.came = end.Attrs().MasterIndex
		}
	}
	d.seat.index = bridge.Attrs().Index // another than before if somebody replaced the bridge
	if bridge.Attrs().Flags&net.FlagUp == 0 {
		if err := d.ns.handle.LinkSetUp(bridge); err != nil {
			return fmt.Errorf("port %s: setting bridge %s up: %w", spec.Name, spec.Bridge, err)
		}
	}
	if end.Attrs().MasterIndex != d.seat.index {
		if err := d.ns.handle.LinkSetMasterByIndex(end, d.seat.index); err != nil {
			return fmt.Errorf("port %s: plugging device %s into bridge %s: %w", spec.Name, spec.Device, spec.Bridge, err)
		}
	}
	return d.setMembers(spec)
}

// findBridge finds the bridge, or makes it.
func (d *Device) findBridge(spec Spec) (netlink.Link, error) {
	link, err := d.ns.handle.LinkByName(spec.Bridge)
	if missing(err) {
		link, err = d.makeBridge(spec)
	}
	if err != nil {
		return nil, fmt.Errorf("port %s: bridge %s in %s: %w", spec.Name, spec.Bridge, d.ns.label, err)
	}
	if link.Type() != "bridge" {
		return nil, &fault{kind: ErrWrongKind, text: fmt.Sprintf(
			"port %s: %s in %s exists and is %s, not a bridge: name another `bridge`",
			spec.Name, spec.Bridge, d.ns.label, describe(link))}
	}
	return link, nil
}

func (d *Device) makeBridge(spec Spec) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = spec.Bridge
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	err := d.ns.handle.LinkAdd(bridge)
	if errors.Is(err, unix.EEXIST) { // somebody was faster
		return d.ns.handle.LinkByName(spec.Bridge)
	}
	if err != nil {
		return nil, err
	}
	link, err := d.ns.handle.LinkByName(spec.Bridge)
	if err != nil {
		return nil, err
	}
	_ = d.ns.handle.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE) // refused without IPv6
	if err := d.ns.handle.LinkSetAlias(link, aliasPrefix+spec.Instance); err != nil {
		return nil, together(err, d.ns.handle.LinkDel(link))
	}
	return link, nil
}

// setMembers moves in who is wanted and missing, and out who came with us and is
// no longer wanted.
func (d *Device) setMembers(spec Spec) error {
	var errs []error
	d.seat.members = slices.DeleteFunc(d.seat.members, func(m member) bool {
		if slices.Contains(spec.Members, m.name) {
			return false
		}
		errs = append(errs, d.putBack(m))
		return true
	})
	if err := together(errs...); err != nil {
		return fmt.Errorf("port %s: %w", spec.Name, err)
	}
	for _, name := range spec.Members {
		if err := d.moveIn(spec, name); err != nil {
			return err
		}
	}
	return nil
}

// moveIn makes the device a member of the bridge and remembers where it was.
//
// One that is in the bridge already was put there by its owner and stays there in the
// end, unless the bridge was made by a vrouterd: then it was a run that did not live to
// put it back, and it belonged to no bridge before that one existed.
func (d *Device) moveIn(spec Spec, name string) error {
	link, err := d.ns.handle.LinkByName(name)
	if missing(err) {
		return &fault{kind: ErrMemberMissing, cause: err, text: fmt.Sprintf(
			"port %s: there is no device %s in %s to be a member of bridge %s: take it out of `members`, or make it first",
			spec.Name, name, d.ns.label, spec.Bridge)}
	}
	if err != nil {
		return fmt.Errorf("port %s: looking for bridge member %s: %w", spec.Name, name, err)
	}
	m := member{name: name, index: link.Attrs().Index, came: link.Attrs().MasterIndex, up: link.Attrs().Flags&net.FlagUp != 0}
	known := slices.IndexFunc(d.seat.members, func(old member) bool { return old.index == m.index })
	here := m.came == d.seat.index
	if here && known < 0 {
		if ours, err := d.isOurs(d.seat.index); err != nil || !ours {
			return err
		}
		m.came = 0
	}
	if !here {
		if err := d.ns.handle.LinkSetMasterByIndex(link, d.seat.index); err != nil {
			return fmt.Errorf("port %s: moving device %s into bridge %s: %w", spec.Name, name, spec.Bridge, err)
		}
	}
	if known < 0 {
		d.seat.members = append(d.seat.members, m)
	}
	if !m.up {
		if err := d.ns.handle.LinkSetUp(link); err != nil {
			return fmt.Errorf("port %s: setting bridge member %s up: %w", spec.Name, name, err)
		}
	}
	return nil
}

// putBack returns a member to where it was. One that somebody took elsewhere
// meanwhile, or deleted, is let be.
func (d *Device) putBack(m member) error {
	link, err := d.ns.handle.LinkByIndex(m.index)
	if missing(err) || err == nil && link.Attrs().MasterIndex != d.seat.index {
		return nil
	}
	if err == nil {
		err = d.seatIn(link, m.came)
	}
	if err == nil && !m.up {
		err = d.ns.handle.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("putting bridge member %s back: %w", m.name, err)
	}
	return nil
}

// seatIn moves link into the bridge with that index, or out of any when it is 0 or gone.
func (d *Device) seatIn(link netlink.Link, index int) error {
	if index != 0 {
		err := d.ns.handle.LinkSetMasterByIndex(link, index)
		if !missing(err) && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return d.ns.handle.LinkSetNoMaster(link)
}

// leaveBridge undoes setBridge; exists: the kernel end still does.
func (d *Device) leaveBridge(exists bool) error {
	if d.seat == nil {
		return nil
	}
	var errs []error
	for _, m := range slices.Backward(d.seat.members) {
		errs = append(errs, d.putBack(m))
	}
	if exists {
		end, err := d.ns.handle.LinkByIndex(d.index)
		if err == nil && end.Attrs().MasterIndex == d.seat.index {
			err = d.seatIn(end, d.seat.came)
		}
		if err != nil && !missing(err) {
			errs = append(errs, fmt.Errorf("taking it out of bridge %s: %w", d.seat.bridge, err))
		}
	}
	errs = append(errs, d.removeBridge())
	d.seat = nil
	return together(errs...)
}

// removeBridge deletes the bridge if a vrouterd made it and nobody is left in it.
func (d *Device) removeBridge() error {
	ours, err := d.isOurs(d.seat.index)
	if err != nil || !ours {
		return err
	}
	links, err := dump(d.ns.handle.LinkList)
	if err != nil {
		return fmt.Errorf("looking who is left in bridge %s: %w", d.seat.bridge, err)
	}
	for _, link := range links {
		if link.Attrs().MasterIndex == d.seat.index {
			return nil
		}
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: d.seat.index}}
	if err := d.ns.handle.LinkDel(bridge); err != nil && !missing(err) {
		return fmt.Errorf("removing bridge %s: %w", d.seat.bridge, err)
	}
	return nil
}

// isOurs reports that the bridge exists and that a vrouterd made it: this one, one that
// was killed, or another that still runs or has gone. The last to leave removes it.
func (d *Device) isOurs(index int) (bool, error) {
	link, err := d.ns.handle.LinkByIndex(index)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading bridge: %w", err)
	}
	return link.Type() == "bridge" && strings.HasPrefix(link.Attrs().Alias, aliasPrefix), nil
}
