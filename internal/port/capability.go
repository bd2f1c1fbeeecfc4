package port

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Check says, without touching anything, whether this process may open a port.
func Check(spec Spec) error {
	if err := checkSpec(spec); err != nil {
		return err
	}
	return requireCapabilities(spec)
}

// requireCapabilities fails when the process lacks what the port needs:
// CAP_NET_ADMIN always, CAP_SYS_ADMIN to enter another namespace. Raw sockets are
// never opened, so CAP_NET_RAW is not asked for.
func requireCapabilities(spec Spec) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("port %s: reading the capabilities of this process: %w", spec.Name, err)
	}
	return checkCapabilities(spec, uint64(data[1].Effective)<<32|uint64(data[0].Effective))
}

// checkCapabilities holds an effective set (bit n: capability n) against the needs of spec.
func checkCapabilities(spec Spec, effective uint64) error {
	has := func(capability uint) bool { return effective>>capability&1 == 1 }
	admin, enter := has(unix.CAP_NET_ADMIN), has(unix.CAP_SYS_ADMIN) || spec.Netns == ""
	var missing, purpose, grant string
	switch {
	case admin && enter:
		return nil
	case !admin && !enter:
		missing = "CAP_NET_ADMIN and CAP_SYS_ADMIN are missing"
		purpose = fmt.Sprintf("to make device %s in network namespace %s", spec.Device, spec.Netns)
		grant = "cap_net_admin,cap_sys_admin"
	case !admin:
		missing = "CAP_NET_ADMIN is missing"
		purpose = fmt.Sprintf("to make and configure device %s", spec.Device)
		grant = "cap_net_admin"
	default:
		missing = "CAP_SYS_ADMIN is missing"
		purpose = fmt.Sprintf("to enter network namespace %s", spec.Netns)
		grant = "cap_net_admin,cap_sys_admin"
	}
	return &fault{kind: ErrPermission, text: fmt.Sprintf(
		"port %s: %s, needed %s: run vrouterd as root, or give the binary what it lacks with `setcap %s+ep`",
		spec.Name, missing, purpose, grant)}
}
