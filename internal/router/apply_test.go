package router

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/port"
)

func TestAnAddressMayMoveFromOnePortToAnother(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two)
	l.pings(l.host("lan1"), "10.1.0.1")
	// The two ports change places; what one gives up is not taken from the other.
	l.apply(strings.NewReplacer("10.1.0.1", "10.2.0.1", "10.2.0.1", "10.1.0.1").Replace(two))
	for _, a := range []string{"10.1.0.1", "10.2.0.1"} {
		got, err := l.Route(a)
		if err != nil || got.Action != "deliver" {
			t.Errorf("%s is an address of the router, but: %+v, %v", a, got, err)
		}
	}
	for _, a := range []string{"10.1.0.255", "10.2.0.255"} {
		if got, _ := l.Route(a); got.Action != "deliver" {
			t.Errorf("%s is a broadcast address, but: %+v", a, got)
		}
	}
}

func TestAddressesChangeWhileThePortIsDown(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two)
	w.tell("lan2", port.State{Word: "down", Reason: "pulled"})
	eventually(t, "lan2 is down", func() bool { return !l.port("lan2").Up })
	l.apply(strings.Replace(two, "10.2.0.1/24", "10.2.0.9/24", 1))
	if got, _ := l.Route("10.2.0.1"); got.Action == "deliver" {
		t.Errorf("the old address is still delivered: %+v", got)
	}
	if got, _ := l.Route("10.2.0.9"); got.Action != "deliver" {
		t.Errorf("addresses stay while the link is down, but: %+v", got)
	}
	w.tell("lan2", port.State{Up: true, Word: "up"})
	eventually(t, "lan2 is up", func() bool { return l.port("lan2").Up })
	l.pings(l.host("lan2"), "10.2.0.9")
}

func TestARemovedPortLeavesNoPermanentNeighborBehind(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two+"neighbors: [{port: lan2, address: 10.2.0.7, mac: 02:00:00:00:00:07}]\n")
	if s := l.neighborState("lan2", "10.2.0.7"); s != "permanent" {
		t.Fatalf("expected a permanent neighbour, got %q", s)
	}
	l.apply("name: r1\nports:\n  lan1: {address: 10.1.0.1/24}\n")
	if n := l.Neighbors(); len(n) != 0 {
		t.Errorf("neighbours of a port that is gone: %+v", n)
	}
	// Another port gets the number of the one that went.
	w.set(func() { w.hosts["lan3"] = host(3, "10.2.0.3/24", "10.2.0.1") })
	l.apply("name: r1\nports:\n  lan1: {address: 10.1.0.1/24}\n  lan3: {address: 10.2.0.1/24}\n")
	for _, n := range l.Neighbors() {
		t.Errorf("nobody configured %+v", n)
	}
	l.pings(l.host("lan3"), "10.1.0.2")
}

func TestPermanentNeighborsOfAMissingPortComeWithIt(t *testing.T) {
	w := twoHosts()
	missing := true
	w.refuse = func(s port.Spec) error {
		if s.Name == "lan2" && missing {
			return fmt.Errorf("namespace x: %w", port.ErrNamespaceMissing)
		}
		return nil
	}
	l := newLab(t, w, Options{})
	l.start(two + "neighbors: [{port: lan2, address: 10.2.0.7, mac: 02:00:00:00:00:07}]\n")
	if p := l.port("lan2"); p.State != "missing" || p.Up {
		t.Fatalf("expected a missing port, got %+v", p)
	}
	// It changes while the port is missing, and another one comes.
	l.apply(two + "neighbors:\n- {port: lan2, address: 10.2.0.7, mac: 02:00:00:00:00:08}\n- {port: lan2, address: 10.2.0.9, mac: 02:00:00:00:00:09}\n")
	w.set(func() { missing = false })
	eventually(t, "the port comes back", func() bool { return l.port("lan2").Up })
	fib := l.fibText()
	for _, line := range []string{"10.2.0.7/32 forward 10.2.0.7 lan2 02:00:00:00:00:08", "10.2.0.9/32 forward 10.2.0.9 lan2 02:00:00:00:00:09"} {
		if !strings.Contains(fib, line) {
			t.Errorf("expected %q in\n%s", line, fib)
		}
	}
}

func TestAnOnLinkRouteResolvesWithoutAChangeOfItsPort(t *testing.T) {
	w := twoHosts()
	w.hosts["lan2"] = host(2, "10.9.9.2/16", "")
	l := run(t, w, two)
	l.quick(fast)
	if err := l.AddRoute(tester, api.RouteSpec{To: "10.9.9.0/24", Port: "lan2"}); err != nil {
		t.Fatal(err)
	}
	far, ask := l.host("lan2"), l.host("lan1")
	eventually(t, "the on-link host is asked for and found", func() bool {
		ask.PingOnce(t.Context(), far.Address(), 8, 20*time.Millisecond)
		return l.neighborState("lan2", "10.9.9.2") == "reachable"
	})
	if err := l.DeleteRoute(tester, api.RouteSpec{To: "10.9.9.0/24", Port: "lan2"}); err != nil {
		t.Fatal(err)
	}
	if s := l.neighborState("lan2", "10.9.9.2"); s != "" {
		t.Errorf("the network is no longer on-link, but the neighbour is %q", s)
	}
}

// The instance is then named after the file.
func TestARouterWithoutANameInItsFileCanBeChanged(t *testing.T) {
	text := strings.TrimPrefix(two, "name: r1\n")
	l := run(t, twoHosts(), text)
	if err := l.AddRoute(tester, api.RouteSpec{To: "10.9.0.0/16", Via: []string{"10.1.0.2"}}); err != nil {
		t.Errorf("route add: %v", err)
	}
	if _, err := l.ConfigRollback(tester, 1); err != nil {
		t.Errorf("rollback: %v", err)
	}
	if _, err := l.Reload(text); err != nil {
		t.Errorf("reload: %v", err)
	}
	if s := l.Status(); s.Name != "r1" {
		t.Errorf("the router is now called %q", s.Name)
	}
}

func TestAFailedOpenLeavesTheRouterAsItWas(t *testing.T) {
	// Every open of the change fails in turn.
	change := `name: r1
ports:
  lan1: {address: 10.1.0.1/24, mtu: 1400}
  lan2: {address: 10.2.0.1/24, device: other}
  lan3: {address: 10.3.0.1/24}
  lan4: {address: 10.4.0.1/24}
routes: [{to: default, via: 10.3.0.9}]
icmp: {rate: 5, per_destination: 1}
`
	for n := 1; n <= 3; n++ {
		t.Run(fmt.Sprintf("open %d", n), func(t *testing.T) {
			w := twoHosts()
			l := run(t, w, two)
			a := l.host("lan1")
			l.pings(a, "10.2.0.2")
			w.opened()
			w.set(func() {
				count := 0
				w.refuse = func(s port.Spec) error {
					if count++; count == n {
						return errors.New("no more devices")
					}
					return nil
				}
			})
			_, err := l.ConfigApply(tester, change, 0)
			expectError(t, err, api.Failed, "no more devices")
			if got := l.ConfigText(); got != two {
				t.Errorf("the running configuration changed to\n%s", got)
			}
			if p := l.Ports(); len(p) != 2 || !p[0].Up || !p[1].Up || p[0].MTU != 1500 || p[1].Device != "lan2" {
				t.Errorf("the ports changed: %+v", p)
			}
			if got := w.end("lan1").spec.MTU; got != 1500 {
				t.Errorf("the device's MTU is left at %d", got)
			}
			if len(w.ends) != 2 {
				t.Errorf("%d devices are open", len(w.ends))
			}
			if l.host("lan1") != a {
				t.Error("a port that did not need it was opened anew")
			}
			l.pings(l.host("lan1"), "10.2.0.2")
			l.pings(l.host("lan2"), "10.1.0.2")
			if n := len(l.ConfigHistory()); n != 1 {
				t.Errorf("%d revisions", n)
			}
		})
	}
}

func TestAnUnchangedPortIsNotTouched(t *testing.T) {
	w := twoHosts()
	w.hosts["lan3"] = host(3, "10.3.0.2/24", "10.3.0.1")
	l := run(t, w, two)
	a, b := l.host("lan1"), l.host("lan2")
	l.pings(a, "10.2.0.2")
	w.opened()
	l.apply(two + "routes: [{to: 10.8.0.0/16, via: 10.2.0.2}]\n")
	l.apply(strings.Replace(two, "ports:\n", "ports:\n  lan3: {address: 10.3.0.1/24}\n", 1))
	l.apply(two)
	if got := w.opened(); len(got) != 1 || got[0] != "lan3" {
		t.Errorf("opened %v, expected lan3 alone", got)
	}
	if l.host("lan1") != a || l.host("lan2") != b {
		t.Error("a port was opened anew")
	}
	for _, n := range []string{"lan1", "lan2"} {
		if c := w.end(n).calls; len(c) != 0 {
			t.Errorf("the carrier of %s was touched: %v", n, c)
		}
	}
	l.pings(a, "10.2.0.2")
}

func TestPortsMayExchangeTheirDevices(t *testing.T) {
	w := twoHosts()
	text := strings.Replace(strings.Replace(two, "lan1: {", "lan1: {device: a, ", 1), "lan2: {", "lan2: {device: b, ", 1)
	l := run(t, w, text)
	l.apply(strings.NewReplacer("device: a", "device: b", "device: b", "device: a").Replace(text))
	if a, b := l.port("lan1"), l.port("lan2"); a.Device != "b" || b.Device != "a" || !a.Up || !b.Up {
		t.Fatalf("%+v\n%+v", a, b)
	}
	l.pings(l.host("lan1"), "10.2.0.2")
}

func TestAConflictedAddressStaysUnusedWhenItsPortChanges(t *testing.T) {
	w := newWires()
	w.hosts["lan1"] = host(1, "10.1.0.1/24", "") // has the router's address
	w.hosts["lan2"] = host(2, "10.2.0.2/24", "10.2.0.1")
	l := newLab(t, w, Options{})
	text := "name: r1\nports:\n  lan1: {address: 10.1.0.1/24}\narp: {probe: true}\n"
	l.start(text)
	claimed := func() bool { got, _ := l.Route("10.1.0.1"); return got.Action == "deliver" }
	if claimed() {
		t.Fatal("the address is used before it is probed")
	}
	l.apply(strings.Replace(text, "24}", "24, mtu: 1400}", 1))
	if claimed() {
		t.Error("a change of the MTU put an address into use that is still being probed")
	}
	eventually(t, "the conflict is told", func() bool {
		return strings.Contains(l.log.String(), "address conflict")
	})
	l.apply(strings.Replace(text, "24}", "24, mtu: 1300}", 1))
	if claimed() {
		t.Error("a change of the MTU put a conflicted address into use")
	}
}

func TestAnUnconfirmedChangeUndoesItself(t *testing.T) {
	w := twoHosts()
	w.hosts["lan3"] = host(3, "10.3.0.2/24", "10.3.0.1")
	l := run(t, w, two)
	changed := strings.Replace(two, "ports:\n", "ports:\n  lan3: {address: 10.3.0.1/24}\n", 1)
	if _, err := l.ConfigApply(tester, changed, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if s := l.Status(); !s.Unconfirmed || s.ConfirmSecs <= 0 {
		t.Errorf("the status does not say that a change waits: %+v", s)
	}
	// A small change after it neither confirms it nor survives it.
	if err := l.AddRoute(tester, api.RouteSpec{To: "10.9.0.0/16", Via: []string{"10.3.0.2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ConfigSave(); err == nil {
		t.Error("an unconfirmed change was saved")
	}
	eventually(t, "the change is undone", func() bool { return l.ConfigText() == two })
	if len(w.ends) != 2 {
		t.Errorf("%d devices are open", len(w.ends))
	}
	expectError(t, l.ConfigConfirm(), api.Conflict, "no change waits")
	h := l.ConfigHistory()
	if h[0].Author != "unconfirmed" || !h[0].Current {
		t.Errorf("the history says %+v", h[0])
	}
}

func TestAConfirmedChangeStays(t *testing.T) {
	l := run(t, twoHosts(), two)
	changed := two + "routes: [{to: default, via: 10.1.0.2}]\n"
	if _, err := l.ConfigApply(tester, changed, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := l.ConfigConfirm(); err != nil {
		t.Fatal(err)
	}
	if s := l.Status(); s.Unconfirmed || l.ConfigText() != changed {
		t.Errorf("%+v", s)
	}
}

func TestASecondUnconfirmedChangeGoesBackBehindTheFirst(t *testing.T) {
	l := run(t, twoHosts(), two)
	if _, err := l.ConfigApply(tester, two+"routes: [{to: default, via: 10.1.0.2}]\n", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ConfigApply(tester, two+"routes: [{to: default, via: 10.2.0.2}]\n", 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are undone", func() bool { return l.ConfigText() == two })
}

func TestAnUnconfirmedChangeIsUndoneAlsoWhenAPortCannotComeBackYet(t *testing.T) {
	for _, kind := range []error{port.ErrNamespaceMissing, errors.New("busy")} {
		t.Run(kind.Error(), func(t *testing.T) {
			w := twoHosts()
			l := run(t, w, two)
			only := "name: r1\nports:\n  lan1: {address: 10.1.0.1/24}\nicmp: {rate: 0, per_destination: 0}\n"
			gone := true
			w.set(func() {
				w.refuse = func(s port.Spec) error {
					if gone && s.Name == "lan2" {
						return fmt.Errorf("lan2: %w", kind)
					}
					return nil
				}
			})
			w.opened()
			if _, err := l.ConfigApply(tester, only, 30*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the undoing was tried", func() bool { return len(w.opened()) > 0 })
			w.set(func() { gone = false })
			eventually(t, "the change is undone", func() bool { return l.ConfigText() == two })
			eventually(t, "the port is back", func() bool { return l.port("lan2").Up })
			l.pings(l.host("lan1"), "10.2.0.2")
		})
	}
}

func TestAReopenedPortSaysWhyItWasDown(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two)
	l.apply(strings.Replace(two, "lan2: {", "lan2: {device: other, ", 1))
	past, _ := l.Events(t.Context())
	for _, e := range past {
		if e.Kind == "port_down" && (strings.Contains(e.Message, "is up") || strings.HasSuffix(e.Message, ": ")) {
			t.Errorf("an event contradicts itself: %+v", e)
		}
	}
}

func TestAddressesThatComeAndGoLeaveTheOthersAlone(t *testing.T) {
	// /30 and /31 and /32 beside each other: a change of one keeps what the others need.
	text := "name: r1\nports:\n  p: {address: [10.0.0.1/30, 10.0.0.5/30, 10.0.1.1/32, 10.0.2.0/31]}\n"
	l := run(t, newWires(), text)
	before := l.fibText()
	l.apply(strings.Replace(text, ", 10.0.0.5/30", "", 1))
	l.apply(text)
	if after := l.fibText(); after != before {
		t.Errorf("the FIB does not come back:\n%s\nbefore:\n%s", after, before)
	}
}

func TestAPortThatIsDownIsPutRightWhenAskedFor(t *testing.T) {
	for name, ask := range map[string]func(*lab) error{
		"port up": func(l *lab) error { return l.SetPort(tester, "lan2", true) },
		"reload":  func(l *lab) error { _, err := l.Reload(two); return err },
		"apply":   func(l *lab) error { _, err := l.ConfigApply(tester, two, 0); return err },
	} {
		t.Run(name, func(t *testing.T) {
			w := twoHosts()
			l := run(t, w, two)
			healed := 0
			w.set(func() {
				w.hinder = func(_, to port.Spec) error {
					if to.Name == "lan2" {
						healed++
					}
					return nil
				}
			})
			w.tell("lan2", port.State{Word: "down", Reason: "bridge br0 was deleted"})
			eventually(t, "the port is down", func() bool { return !l.port("lan2").Up })
			if err := l.AddRoute(tester, api.RouteSpec{To: "10.9.0.0/16", Via: []string{"10.1.0.2"}}); err != nil {
				t.Fatal(err)
			}
			if healed != 0 {
				t.Error("a change of something else touched the device")
			}
			if err := ask(l); err != nil {
				t.Fatal(err)
			}
			if healed != 1 {
				t.Errorf("the device was put right %d times", healed)
			}
		})
	}
}

func TestAnUpdateThatFailsIsTakenBackOnAllPorts(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two)
	w.set(func() {
		w.hinder = func(_, to port.Spec) error {
			if to.Name == "lan2" && to.MTU == 1400 {
				return errors.New("the device refuses")
			}
			return nil
		}
	})
	_, err := l.ConfigApply(tester, strings.ReplaceAll(two, "24}", "24, mtu: 1400}"), 0)
	expectError(t, err, api.Failed, "the device refuses")
	if a, b := w.end("lan1").spec.MTU, w.end("lan2").spec.MTU; a != 1500 || b != 1500 {
		t.Errorf("the devices are left at %d and %d", a, b)
	}
	l.pings(l.host("lan1"), "10.2.0.2")
}

func TestAPortMayChangeItsKind(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two)
	l.pings(l.host("lan1"), "10.2.0.2")
	before := l.fibText()
	tun := strings.Replace(two, "lan2: {", "lan2: {kind: tun, ", 1)
	l.apply(tun)
	l.pings(l.host("lan1"), "10.2.0.2")
	l.pings(l.host("lan2"), "10.1.0.2")
	if got, _ := l.Route("10.2.0.255"); got.Action == "deliver" {
		t.Errorf("a point-to-point port has no broadcast address: %+v", got)
	}
	l.apply(two)
	l.pings(l.host("lan1"), "10.2.0.2")
	if after := l.fibText(); after != before {
		t.Errorf("the FIB does not come back:\n%s\nbefore:\n%s", after, before)
	}
}

func TestAReloadTakesTheDecisionOnAnUnconfirmedChange(t *testing.T) {
	l := run(t, twoHosts(), two)
	if _, err := l.ConfigApply(tester, two+"routes: [{to: default, via: 10.1.0.2}]\n", time.Hour); err != nil {
		t.Fatal(err)
	}
	// A reload that is refused decides nothing.
	if _, err := l.Reload("name: r1\nprots: {}\n"); err == nil {
		t.Fatal("it was not refused")
	}
	if !l.Status().Unconfirmed {
		t.Error("a refused reload confirmed a change")
	}
	past, _ := l.Events(t.Context())
	if last := past[len(past)-1]; last.Kind != "config_refused" || !strings.Contains(last.Message, "prots") {
		t.Errorf("the last event is %+v", last)
	}
	if _, err := l.Reload(two); err != nil {
		t.Fatal(err)
	}
	if l.Status().Unconfirmed || l.ConfigText() != two {
		t.Errorf("the file was to be in force:\n%s", l.ConfigText())
	}
}

func TestPortsWhoseDevicesCannotBeReadAreTriedAgain(t *testing.T) {
	w := twoHosts()
	bad := true
	l := run(t, w, two)
	w.set(func() {
		w.spoil = func(name string) bool { return bad && name == "lan2" }
	})
	l.apply(strings.Replace(two, "lan2: {", "lan2: {device: x, ", 1))
	eventually(t, "the port is missing", func() bool { return l.port("lan2").State == "missing" })
	w.set(func() { bad = false })
	eventually(t, "the port is up", func() bool { return l.port("lan2").Up })
	l.pings(l.host("lan1"), "10.2.0.2")
}

func TestTwoAddressesOfOneSubnetShareWhatIsItsOwn(t *testing.T) {
	w := twoHosts()
	text := strings.Replace(two, "10.2.0.1/24}", "[10.2.0.1/24, 10.2.0.5/24]}", 1)
	l := run(t, w, text)
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	l.pings(a, "10.2.0.5")
	if got, _ := l.Route("10.2.0.2"); len(got.NextHops) != 1 || got.Action != "forward" {
		t.Errorf("two addresses make two ways: %+v", got)
	}
	l.apply(two)
	for _, address := range []string{"10.2.0.255", "10.2.0.0", "10.2.0.1"} {
		if got, _ := l.Route(address); got.Action != "deliver" {
			t.Errorf("%s went with the second address: %+v", address, got)
		}
	}
	if got, _ := l.Route("10.2.0.5"); got.Action == "deliver" {
		t.Errorf("%+v", got)
	}
	l.pings(a, "10.2.0.2")
}

func TestAMissingPortIsChangedAndRemovedLikeAnyOther(t *testing.T) {
	w := twoHosts()
	w.refuse = func(s port.Spec) error {
		if s.Name == "lan2" {
			return fmt.Errorf("namespace x: %w", port.ErrNamespaceMissing)
		}
		return nil
	}
	l := newLab(t, w, Options{})
	l.start(two)
	for _, up := range []bool{false, true} {
		if err := l.SetPort(tester, "lan2", up); err != nil {
			t.Fatal(err)
		}
		if s := l.port("lan2").State; s != map[bool]string{false: "disabled", true: "missing"}[up] {
			t.Errorf("up=%v: it is %s", up, s)
		}
	}
	l.apply(strings.Replace(two, "lan2: {", "lan2: {mtu: 1400, ", 1))
	l.apply("name: r1\nports:\n  lan1: {address: 10.1.0.1/24}\n")
	if p := l.Ports(); len(p) != 1 || !l.Status().Ready {
		t.Errorf("%+v", p)
	}
	l.do(func() {
		if len(l.ports) != 1 || len(l.rib.All()) != 1 {
			t.Errorf("something of the port is left: %v, %+v", l.ports, l.rib.All())
		}
	})
	l.pings(l.host("lan1"), "10.1.0.1")
}

func TestAPortIsRenamed(t *testing.T) {
	w := twoHosts()
	w.hosts["outside"] = w.hosts["lan2"]
	text := strings.Replace(two, "lan2: {", "lan2: {device: eth0, ", 1) +
		"routes: [{to: 10.9.0.0/16, via: 10.2.0.2, port: lan2}]\nneighbors: [{port: lan2, address: 10.2.0.9, mac: 02:00:00:00:00:09}]\n"
	l := run(t, w, text)
	l.pings(l.host("lan1"), "10.2.0.2")
	l.apply(strings.ReplaceAll(text, "lan2", "outside"))
	l.pings(l.host("lan1"), "10.2.0.2")
	if got, _ := l.Route("10.9.1.1"); len(got.Ports) != 1 || got.Ports[0] != "outside" || got.Action != "forward" {
		t.Errorf("%+v", got)
	}
	if s := l.neighborState("outside", "10.2.0.9"); s != "permanent" {
		t.Errorf("the permanent neighbour is %q", s)
	}
	for _, n := range l.Neighbors() {
		if n.Port != "outside" && n.Port != "lan1" {
			t.Errorf("%+v", n)
		}
	}
}

func TestARefusedChangeOfPortsThatExchangeDevicesIsUndone(t *testing.T) {
	w := twoHosts()
	text := strings.Replace(strings.Replace(two, "lan1: {", "lan1: {device: a, ", 1), "lan2: {", "lan2: {device: b, ", 1)
	l := run(t, w, text)
	l.pings(l.host("lan1"), "10.2.0.2")
	fib := l.fibText()
	n := 0
	w.set(func() {
		w.refuse = func(port.Spec) error {
			if n++; n == 2 {
				return errors.New("no")
			}
			return nil
		}
	})
	if _, err := l.ConfigApply(tester, strings.NewReplacer("device: a", "device: b", "device: b", "device: a").Replace(text), 0); err == nil {
		t.Fatal("it was not refused")
	}
	if a, b := w.end("lan1").spec.Device, w.end("lan2").spec.Device; a != "a" || b != "b" {
		t.Errorf("the devices are %s and %s", a, b)
	}
	l.pings(l.host("lan1"), "10.2.0.2")
	if got := l.fibText(); got != fib {
		t.Errorf("the FIB is\n%s\nbefore:\n%s", got, fib)
	}
	// When even the way back fails, the port is missing, and comes back by itself.
	n = 0
	w.set(func() {
		w.refuse = func(port.Spec) error {
			if n++; n >= 2 && n <= 4 {
				return errors.New("no")
			}
			return nil
		}
	})
	if _, err := l.ConfigApply(tester, strings.NewReplacer("device: a", "device: b", "device: b", "device: a").Replace(text), 0); err == nil {
		t.Fatal("it was not refused")
	}
	eventually(t, "both ports are back", func() bool { return l.port("lan1").Up && l.port("lan2").Up })
	l.pings(l.host("lan1"), "10.2.0.2")
}
