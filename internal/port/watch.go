package port

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// checkPeriod is how often everything is looked at unasked. Netlink tells of devices
// at once, but not of a namespace that loses its name, and it loses messages when
// its buffer is full; half a second keeps the promise of "within a second".
const checkPeriod = 500 * time.Millisecond

// Event tells that the kernel end of a port is in a new state.
type Event struct {
	Port  string // Spec.Name
	State State
}

// watched is what a Watcher has to know of an open Device.
type watched struct {
	port, device string
	index        int
	bridge       string
	netns        string // as in the Spec
	label, path  string // of the namespace
}

// Watcher watches the kernel ends of open ports, in any number of namespaces.
//
// One goroutine owns its tables; another for each namespace waits for netlink and
// says no more than "look again". What is told is always read afresh from the kernel,
// so a lost or repeated message does no harm.
type Watcher struct {
	commands chan func(*watch)
	hints    chan nsID
	events   chan Event
	quit     chan struct{}
	stop     sync.Once
	running  sync.WaitGroup
}

// watch is the part of a Watcher that its goroutine owns.
type watch struct {
	*Watcher
	ports   map[string]*watchedPort
	spaces  map[nsID]*watchedSpace
	pending []Event // at most one a port, oldest first
}

type watchedPort struct {
	device *Device
	space  *watchedSpace
	last   State
}

type watchedSpace struct {
	ns    *namespace
	link  *nl.NetlinkSocket // subscribed to changes of links
	users int
}

// NewWatcher starts a watcher of nothing.
func NewWatcher() *Watcher {
	w := &Watcher{
		commands: make(chan func(*watch)),
		hints:    make(chan nsID),
		events:   make(chan Event),
		quit:     make(chan struct{}),
	}
	w.running.Add(1)
	go w.run()
	return w
}

// Events is where changes are told, the first state of a port included. A slow reader
// holds nobody up: of several changes of one port that it has not taken yet it gets the
// last. The channel is never closed.
func (w *Watcher) Events() <-chan Event { return w.events }

// Watch begins to watch the device, in place of any other of the same port name. Its
// present state is told at once. It goes on through every Update. It ends with Unwatch,
// or silently when the device is closed; until then the watcher keeps the namespace
// alive. A device that is missing stays missing until it is opened and watched anew.
func (w *Watcher) Watch(d *Device) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ns.handle == nil {
		return closedFault(d.spec)
	}
	name := d.spec.Name
	ns, err := d.ns.clone()
	if err != nil {
		return fmt.Errorf("port %s: watching %s: %w", name, d.ns.label, err)
	}
	result := make(chan error, 1)
	if !w.do(func(o *watch) { result <- o.add(name, d, ns) }) {
		ns.close()
		return fmt.Errorf("port %s: the watcher was closed", name)
	}
	if err := <-result; err != nil {
		return fmt.Errorf("port %s: watching %s: %w", name, d.ns.label, err)
	}
	return nil
}

// Unwatch ends the watching of a port; none of its events is told after it returns.
func (w *Watcher) Unwatch(port string) {
	done := make(chan struct{})
	if w.do(func(o *watch) { o.remove(port); close(done) }) {
		<-done
	}
}

// Close ends the watcher and waits for its goroutines.
func (w *Watcher) Close() {
	w.stop.Do(func() { close(w.quit) })
	w.running.Wait()
}

// do runs f on the owning goroutine; false once the watcher is closed.
func (w *Watcher) do(f func(*watch)) bool {
	select {
	case w.commands <- f:
		return true
	case <-w.quit:
		return false
	}
}

// run owns the tables until Close.
func (w *Watcher) run() {
	defer w.running.Done()
	o := &watch{Watcher: w, ports: map[string]*watchedPort{}, spaces: map[nsID]*watchedSpace{}}
	tick := time.NewTicker(checkPeriod)
	defer tick.Stop()
	for {
		var out chan Event
		var next Event
		if len(o.pending) > 0 {
			out, next = w.events, o.pending[0]
		}
		select {
		case f := <-w.commands:
			f(o)
		case id := <-w.hints:
			o.check(func(p *watchedPort) bool { return p.space.ns.id == id })
		case <-tick.C:
			o.check(func(*watchedPort) bool { return true })
		case out <- next:
			o.pending = slices.Delete(o.pending, 0, 1)
		case <-w.quit:
			for port := range o.ports {
				o.remove(port)
			}
			return
		}
	}
}

// add takes ns over.
func (o *watch) add(port string, d *Device, ns *namespace) error {
	o.remove(port)
	space := o.spaces[ns.id]
	if space != nil {
		ns.close()
	} else {
		space = &watchedSpace{ns: ns}
		if err := ns.do(func() (err error) {
			space.link, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
			return err
		}); err != nil {
			ns.close()
			return err
		}
		o.spaces[ns.id] = space
		o.running.Add(1)
		go o.listen(space.link, ns.id)
	}
	space.users++
	o.ports[port] = &watchedPort{device: d, space: space}
	o.look(port)
	return nil
}

func (o *watch) remove(port string) {
	p := o.ports[port]
	if p == nil {
		return
	}
	delete(o.ports, port)
	o.pending = slices.DeleteFunc(o.pending, func(e Event) bool { return e.Port == port })
	if p.space.users--; p.space.users == 0 {
		delete(o.spaces, p.space.ns.id)
		p.space.link.Close()
		p.space.ns.close()
	}
}

// listen turns netlink messages into hints until the socket is closed.
func (w *Watcher) listen(link *nl.NetlinkSocket, id nsID) {
	defer w.running.Done()
	for {
		_, _, err := link.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return // closed; should it be anything else, the periodic check goes on
		}
		select {
		case w.hints <- id:
		case <-w.quit:
			return
		}
	}
}

// check looks at the ports that are meant.
func (o *watch) check(meant func(*watchedPort) bool) {
	for port, p := range o.ports {
		if meant(p) {
			o.look(port)
		}
	}
}

// look reads a port's state and queues an event if it is new.
func (o *watch) look(port string) {
	p := o.ports[port]
	about := p.device.watched.Load()
	if about == nil {
		o.remove(port)
		return
	}
	state, err := p.space.state(about)
	if err != nil || state == p.last {
		return // what cannot be read now is read again half a second later
	}
	p.last = state
	event := Event{Port: port, State: state}
	if i := slices.IndexFunc(o.pending, func(e Event) bool { return e.Port == port }); i >= 0 {
		o.pending[i] = event
		return
	}
	o.pending = append(o.pending, event)
}

// state reads what a port's kernel end is like.
func (s *watchedSpace) state(about *watched) (State, error) {
	gone := func(format string, args ...any) (State, error) {
		return State{Word: "missing", Reason: fmt.Sprintf(format, args...)}, nil
	}
	down := func(format string, args ...any) (State, error) {
		return State{Word: "down", Reason: fmt.Sprintf(format, args...)}, nil
	}
	if s.ns.id.goneFrom(about.path) {
		return gone("network namespace %s was deleted", about.netns)
	}
	link, err := s.ns.handle.LinkByIndex(about.index)
	if missing(err) {
		return gone("device %s was deleted from %s, or moved away", about.device, about.label)
	}
	if err != nil {
		return State{}, err
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return down("device %s in %s is set down: set it up with `%s link set %s up`",
			about.device, about.label, about.command(), about.device)
	}
	if about.bridge == "" {
		return State{Up: true, Word: "up"}, nil
	}
	var bridge netlink.Link
	if master := link.Attrs().MasterIndex; master != 0 {
		if bridge, err = s.ns.handle.LinkByIndex(master); err != nil && !missing(err) {
			return State{}, err
		}
	}
	if bridge == nil {
		if _, err := s.ns.handle.LinkByName(about.bridge); missing(err) {
			return down("bridge %s in %s was deleted: have it made anew with `vrctl port up %s`", about.bridge, about.label, about.port)
		}
	}
	if bridge == nil || bridge.Attrs().Name != about.bridge {
		return down("device %s in %s is no longer in bridge %s: put it back with `%s link set %s master %s`",
			about.device, about.label, about.bridge, about.command(), about.device, about.bridge)
	}
	if bridge.Attrs().Flags&net.FlagUp == 0 {
		return down("bridge %s in %s is set down: set it up with `%s link set %s up`",
			about.bridge, about.label, about.command(), about.bridge)
	}
	return State{Up: true, Word: "up"}, nil
}

// command is how `ip` is called for the namespace.
func (a *watched) command() string {
	switch {
	case a.path == "":
		return "ip"
	case a.netns != a.path:
		return "ip -n " + a.netns
	default:
		return "nsenter --net=" + a.path + " ip"
	}
}
