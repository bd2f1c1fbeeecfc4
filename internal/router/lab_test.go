package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/port"
	"vrouterd/internal/simhost"
	"vrouterd/pkg/arp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wires is an attacher whose devices are socket pairs, with a simulated host at the far end
// of those that a test wants one at.
type wires struct {
	mu      sync.Mutex
	hosts   map[string]simhost.Options // by port: what is plugged in when the port opens
	ends    map[string]*wire           // open ones, by port
	opens   []string
	refuse  func(port.Spec) error         // Open fails with it
	hinder  func(was, to port.Spec) error // Update fails with it
	spoil   func(name string) bool        // the descriptor is one that cannot be watched
	vnet    bool
	foreign bool
	events  chan port.Event
}

// wire is one open device.
type wire struct {
	w     *wires
	fd    int
	spec  port.Spec
	far   int           // the other end, when no host has it
	host  *simhost.Host // nil: none
	calls []bool        // of SetCarrier
	bad   bool          // FD is none
}

func newWires() *wires {
	return &wires{hosts: map[string]simhost.Options{}, ends: map[string]*wire{}, events: make(chan port.Event, 256)}
}

func (w *wires) Open(s port.Spec) (Device, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opens = append(w.opens, s.Name)
	if w.refuse != nil {
		if err := w.refuse(s); err != nil {
			return nil, err
		}
	}
	for _, e := range w.ends {
		if e.spec.Netns == s.Netns && e.spec.Device == s.Device {
			return nil, fmt.Errorf("device %s is held by port %s", s.Device, e.spec.Name)
		}
	}
	if w.ends[s.Name] != nil {
		return nil, fmt.Errorf("port %s is open already", s.Name)
	}
	near, far, err := simhost.Pair()
	if err != nil {
		return nil, err
	}
	for _, fd := range []int{near, far} { // room for bursts, as a TAP's queue has
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	}
	d := &wire{w: w, fd: near, spec: s, far: far, bad: w.spoil != nil && w.spoil(s.Name)}
	if o, ok := w.hosts[s.Name]; ok {
		o.VnetHdr, o.TUN = w.vnet, s.TUN
		if d.host, err = simhost.New(far, o); err != nil {
			unix.Close(near)
			return nil, err
		}
		d.far = -1
	}
	w.ends[s.Name] = d
	return d, nil
}

func (w *wires) Watch(name string, _ Device) error {
	w.events <- port.Event{Port: name, State: port.State{Up: true, Word: "up"}}
	return nil
}

// Unwatch takes back what has not been told yet, as the real one does.
func (w *wires) Unwatch(name string) {
	for n := len(w.events); n > 0; n-- {
		if e := <-w.events; e.Port != name {
			w.events <- e
		}
	}
}

func (w *wires) Events() <-chan port.Event { return w.events }

// tell lets the watcher say something of a port.
func (w *wires) tell(name string, s port.State) { w.events <- port.Event{Port: name, State: s} }

func (w *wires) end(name string) *wire {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends[name]
}

// opened is how often devices were opened, and forgets it.
func (w *wires) opened() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.opens
	w.opens = nil
	return out
}

func (w *wires) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (d *wire) FD() int {
	if d.bad {
		return 1 << 20
	}
	return d.fd
}

func (d *wire) VnetHdr() bool  { return d.w.vnet }
func (d *wire) Attached() bool { return d.w.foreign }

func (d *wire) SetCarrier(up bool) error {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.calls = append(d.calls, up)
	return nil
}

func (d *wire) Update(s port.Spec) ([]string, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if s.Netns != d.spec.Netns || s.Device != d.spec.Device || s.TUN != d.spec.TUN || s.Offload != d.spec.Offload {
		return nil, fmt.Errorf("port %s: %w", s.Name, port.ErrNeedsReopen)
	}
	if d.w.hinder != nil {
		if err := d.w.hinder(d.spec, s); err != nil {
			return nil, err
		}
	}
	d.spec = s
	return nil, nil
}

func (d *wire) Close() error {
	d.w.mu.Lock()
	if d.w.ends[d.spec.Name] != d {
		d.w.mu.Unlock()
		return errors.New("closed twice")
	}
	delete(d.w.ends, d.spec.Name)
	d.w.mu.Unlock()
	unix.Close(d.fd)
	if d.host != nil {
		d.host.Close()
	} else {
		unix.Close(d.far)
	}
	return nil
}

// lab is a running router among simulated hosts.
type lab struct {
	*Router
	t    *testing.T
	w    *wires
	log  *logBook
	stop func()
}

// logBook keeps what the router logs.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// fast are ARP's timers for tests that see a neighbour through all its states.
var fast = arp.Config{
	Reachable: 60 * time.Millisecond, Retransmit: 30 * time.Millisecond, Delay: 60 * time.Millisecond,
	StaleHold: time.Minute, FailedHold: 300 * time.Millisecond, LockTime: 10 * time.Millisecond,
}

func (l *lab) quick(c arp.Config) { l.do(func() { l.arp.Configure(c) }) }

// host is the plug of a simulated host.
func host(n byte, address, gateway string) simhost.Options {
	o := simhost.Options{MAC: packet.MAC{2, 0, 0, 0, 0xaa, n}, Address: netip.MustParsePrefix(address)}
	if gateway != "" {
		o.Gateway = netip.MustParseAddr(gateway)
	}
	return o
}

// two is a router between two networks.
const two = `name: r1
ports:
  lan1: {address: 10.1.0.1/24}
  lan2: {address: 10.2.0.1/24}
icmp: {rate: 0, per_destination: 0}
`

// twoHosts are plugged into it.
func twoHosts() *wires {
	w := newWires()
	w.hosts["lan1"] = host(1, "10.1.0.2/24", "10.1.0.1")
	w.hosts["lan2"] = host(2, "10.2.0.2/24", "10.2.0.1")
	return w
}

// newLab makes the router's loop turn, without a configuration.
func newLab(t *testing.T, w *wires, opt Options) *lab {
	t.Helper()
	book := &logBook{}
	opt.Attach, opt.Rand = w, rand.New(rand.NewPCG(1, 2))
	opt.Log = slog.New(slog.NewTextHandler(book, nil))
	if opt.Workers == 0 {
		opt.Workers = 2
	}
	r, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	r.arp = arp.New(fast, opt.Rand) // what is not configured with the rest, such as the pace of requests
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	l := &lab{Router: r, t: t, w: w, log: book}
	var once sync.Once
	l.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n := len(w.ends); n != 0 {
				t.Errorf("%d devices are left open", n)
			}
		})
	}
	t.Cleanup(func() {
		l.stop()
		if t.Failed() {
			t.Logf("the router's log:\n%s", tail(book.String(), 6000))
		}
	})
	return l
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// run starts a router with a configuration and waits until it is ready.
func run(t *testing.T, w *wires, text string) *lab {
	t.Helper()
	l := newLab(t, w, Options{})
	l.begin(text)
	return l
}

func (l *lab) begin(text string) {
	l.t.Helper()
	l.start(text)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.WaitReady(ctx); err != nil {
		l.t.Fatalf("not ready: %v", err)
	}
}

func (l *lab) host(name string) *simhost.Host {
	l.t.Helper()
	e := l.w.end(name)
	if e == nil || e.host == nil {
		l.t.Fatalf("no host at port %s", name)
	}
	return e.host
}

var tester = api.Peer{Name: "tester"}

// apply replaces the configuration, which has to work.
func (l *lab) apply(text string) api.ApplyResult {
	l.t.Helper()
	result, err := l.ConfigApply(tester, text, 0)
	if err != nil {
		l.t.Fatalf("apply: %v\n%s", err, text)
	}
	return result
}

// pings sends one echo request, which has to be answered.
func (l *lab) pings(from *simhost.Host, to string) {
	l.t.Helper()
	p, err := from.PingOnce(l.t.Context(), netip.MustParseAddr(to), 56, 10*time.Second)
	if err != nil || p.Result != "reply" {
		l.t.Fatalf("ping %v from %v: %+v, %v", to, from.Address(), p, err)
	}
}

// pingSays sends one echo request, whose fate is to be as given.
func (l *lab) pingSays(from *simhost.Host, to, want string, timeout time.Duration) {
	l.t.Helper()
	p, err := from.PingOnce(l.t.Context(), netip.MustParseAddr(to), 56, timeout)
	if err != nil || !strings.Contains(p.Result, want) {
		l.t.Fatalf("ping %v from %v: expected %q, got %+v, %v", to, from.Address(), want, p, err)
	}
}

// eventually polls to a deadline.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (l *lab) port(name string) api.Port {
	l.t.Helper()
	rows := l.Ports()
	i := slices.IndexFunc(rows, func(p api.Port) bool { return p.Name == name })
	if i < 0 {
		l.t.Fatalf("there is no port %s", name)
	}
	return rows[i]
}

// neighborState of an address on a port; "" when it is not known.
func (l *lab) neighborState(name, address string) string {
	for _, n := range l.Neighbors() {
		if n.Port == name && n.Address == address {
			return n.State
		}
	}
	return ""
}

func (l *lab) dropped(reason string) uint64 {
	for _, d := range l.Drops() {
		if d.Reason == reason {
			return d.Packets
		}
	}
	l.t.Fatalf("there is no drop reason %s", reason)
	return 0
}

func (l *lab) counter(name string) uint64 {
	for _, c := range l.Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	l.t.Fatalf("there is no counter %s", name)
	return 0
}

// fibText is the FIB in lines, for comparisons.
func (l *lab) fibText() string {
	var b strings.Builder
	for _, e := range l.FIB() {
		fmt.Fprintf(&b, "%s %s %s %s %s\n", e.Prefix, e.Action, e.NextHop, e.Port, e.MAC)
	}
	return b.String()
}

// expectError checks a refusal: its code, one line, and words in it.
func expectError(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("expected an error of code %s with %q, got %v", code, words, err)
	}
	if e.Code != code {
		t.Errorf("expected code %s, got %s: %s", code, e.Code, e.Message)
	}
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			t.Errorf("expected %q in %q", w, e.Message)
		}
	}
	if strings.Contains(e.Message, "\n") {
		t.Errorf("not one sentence: %q", e.Message)
	}
}

// start gives the router a configuration whose ports need not all come up.
func (l *lab) start(text string) {
	l.t.Helper()
	c, err := config.Parse("r1.yaml", []byte(text))
	if err != nil {
		l.t.Fatalf("%v\n%s", err, text)
	}
	if err := l.Start(c, text); err != nil {
		l.t.Fatal(err)
	}
}
