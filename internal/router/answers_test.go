package router

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vrouterd/internal/control/api"
	"vrouterd/pkg/dataplane"
)

func TestACheckRefusesWhatAnApplyWould(t *testing.T) {
	l := run(t, twoHosts(), two)
	other := strings.Replace(two, "name: r1", "name: other", 1)
	check := l.ConfigCheck(other)
	_, apply := l.ConfigApply(tester, other, 0)
	if check == nil || apply == nil || check.Error() != apply.Error() {
		t.Errorf("check says %v, apply says %v", check, apply)
	}
	if err := l.ConfigCheck(two); err != nil {
		t.Errorf("what runs is refused: %v", err)
	}
}

func TestADeletedDeviceIsCalledSo(t *testing.T) {
	l := run(t, twoHosts(), two)
	l.do(func() {
		p := l.ports["lan2"]
		l.portFailed(dataplane.Failure{Port: p.id, Attachment: p.at, Err: unix.EBADFD})
	})
	past, _ := l.Events(t.Context())
	if !slices.ContainsFunc(past, func(e api.Event) bool { return e.Kind == "port_down" && strings.Contains(e.Message, "was deleted") }) {
		t.Errorf("no event says that the device was deleted: %+v", past)
	}
	eventually(t, "the port is up", func() bool { return l.port("lan2").Up })
}
