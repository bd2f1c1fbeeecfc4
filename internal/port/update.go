package port

import (
	"fmt"
	"slices"
)

// Update changes an open port to what spec says and returns a word for each thing
// that it changed, sorted by the order of the work: "mtu", "mac", "bridge", "members", "host".
//
// It also heals: what the host took away meanwhile (the kernel end set down, a
// route lost with it, a place in the bridge) is put back, so that an Update with an
// unchanged spec is the answer to a State that is down. Only differences are touched;
// frames keep flowing.
//
// With ErrNeedsReopen nothing was changed. With any other error what spec wanted was
// taken back as far as the kernel allowed.
func (d *Device) Update(spec Spec) (changed []string, err error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue.fd < 0 {
		return nil, closedFault(spec)
	}
	if what := needsReopen(d.spec, spec); what != "" {
		return nil, &fault{kind: ErrNeedsReopen, text: fmt.Sprintf(
			"port %s: its %s cannot change while device %s is open: close the port and open it again", spec.Name, what, d.spec.Device)}
	}
	if err := d.converge(spec); err != nil {
		if back := d.converge(d.spec); back != nil {
			err = together(err, fmt.Errorf("port %s: going back to the settings before: %w", spec.Name, back))
		}
		return nil, err
	}
	changed = differences(d.spec, spec)
	d.applied(spec)
	return changed, nil
}

// needsReopen names the first setting that an open device cannot change; "" for none.
func needsReopen(now, want Spec) string {
	switch {
	case now.Name != want.Name:
		return "name"
	case now.Instance != want.Instance:
		return "instance"
	case now.TUN != want.TUN:
		return "kind"
	case now.Netns != want.Netns:
		return "namespace"
	case now.Device != want.Device:
		return "device"
	case now.Offload != want.Offload:
		return "offload"
	}
	return ""
}

// differences names what distinguishes two specs of one open port, in the order of
// the work.
func differences(now, want Spec) (changed []string) {
	if now.MTU != want.MTU {
		changed = append(changed, "mtu")
	}
	if now.MAC != want.MAC {
		changed = append(changed, "mac")
	}
	if now.Bridge != want.Bridge {
		changed = append(changed, "bridge")
	}
	if !slices.Equal(now.Members, want.Members) {
		changed = append(changed, "members")
	}
	if !sameHost(now.Host, want.Host) {
		changed = append(changed, "host")
	}
	return changed
}

func sameHost(a, b *HostSpec) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Gateway == b.Gateway && slices.Equal(a.Address, b.Address)
}
