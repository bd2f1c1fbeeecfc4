// Package router is the control plane: one goroutine that owns every protocol
// machine, the routing table, the neighbours and the configuration.
//
//	punt queue ----+                              +--> packets to send
//	requests ------+-->  one step of the loop  ---+--> tables and FIB changes
//	link events ---+    (machines, RIB, config)   +--> events, answers
//	one timer -----+
//
// Nothing in here is shared, so nothing is locked, but for the event log and the limits
// of ICMP errors, which say so. Whoever wants something of the
// router from another goroutine sends a function to it ([Router.do]) and waits.
// After every step [Router.settle] brings the dataplane up to date, in one publication
// for all that the step has changed, and sets the timer to the earliest deadline of all
// the machines.
//
// Time is read here and handed down; the machines below never ask for it.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/config/history"
	"vrouterd/internal/hoststack"
	"vrouterd/internal/port"
	"vrouterd/internal/rcu"
	"vrouterd/internal/reassembly"
	"vrouterd/internal/rib"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dhcp/server"
	"vrouterd/pkg/dns"
	"vrouterd/pkg/rip"
)

// Options of a router.
type Options struct {
	Workers    int    // dataplane goroutines; 0: as many as suit the machine
	Version    string // for `show status`
	ConfigPath string // where `config save` writes; "" when there is no file
	StateDir   string // where revisions are kept; "" for memory only
	Log        *slog.Logger
	Attach     Attacher // how ports are made
	Rand       *rand.Rand

	openJournal func(path string, r *Router) (leaseJournal, []server.Lease, error) // nil: on disk; tests have others
}

// Router is one IPv4 router.
type Router struct {
	opt     Options
	log     *slog.Logger
	started time.Time

	requests chan func()
	stopped  chan struct{} // closed when the loop has ended

	dp      *dataplane.Dataplane
	send    dataplane.Injector // the control goroutine's
	fwd     *forwarding
	rib     *rib.RIB
	arp     *arp.Machine
	rip     *rip.Machine // nil: not configured
	stack   *hoststack.Stack
	pieces  *reassembly.Machine
	limits  *errorLimiter
	scratch []byte // a datagram on its way out

	stateful    *stateful // sessions, NAT, firewall
	portMapping portMapping
	upnp        upnp
	dns         *resolver
	dhcp        dhcpService
	probes      addressProbes
	leaseFiles  leaseFiles

	ports map[string]*portState
	byID  map[dataplane.PortID]*portState
	// reserved are the numbers of ports that are about to be added: NAT and firewall name
	// them before the first packet can come in by them.
	reserved map[string]dataplane.PortID
	events   *eventLog
	later    []func() // what has to wait for the tables to be published

	config   *config.Config
	text     string           // what config was read from
	static   map[rib.Key]bool // the configured routes that the RIB has
	history  *history.History
	saved    string // the text that the file holds
	confirm  *confirmation
	readOnly func(who string) error // tells the control server
	timer    *time.Timer
	running  bool // a configuration is in force
	wasReady bool
}

// New makes a router that runs nothing yet.
func New(opt Options) (*Router, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	seed := dnsSeed(opt.Rand)
	if opt.Rand == nil {
		opt.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if opt.Workers == 0 {
		opt.Workers = DefaultWorkers()
	}
	start := time.Now()
	dp, err := dataplane.New(dataplane.Config{
		Workers:  opt.Workers,
		Clock:    func() int64 { return int64(time.Since(start)) },
		Midnight: func() uint32 { t := time.Now().UTC(); return uint32(t.Sub(t.Truncate(24 * time.Hour)).Milliseconds()) },
	})
	if err != nil {
		return nil, err
	}
	past, err := history.Open(opt.StateDir)
	if err != nil { // the router comes first
		opt.Log.Warn("revisions are kept in memory only", "error", err)
		if past, err = history.Open(""); err != nil {
			return nil, err
		}
	}
	r := &Router{
		history: past,
		opt:     opt, log: opt.Log, started: start,
		requests: make(chan func()),
		stopped:  make(chan struct{}),
		dp:       dp,
		send:     dp.Control(),
		fwd:      newForwarding(dp),
		pieces:   reassembly.New(reassembly.Config{}),
		limits:   newErrorLimiter(),
		ports:    map[string]*portState{},
		byID:     map[dataplane.PortID]*portState{},
		reserved: map[string]dataplane.PortID{},
		events:   newEventLog(),
		dns:      newResolver(seed),
		config:   &config.Config{},
		readOnly: func(string) error { return nil },
		timer:    time.NewTimer(time.Hour),
	}
	for _, damaged := range past.Damaged() {
		r.log.Warn("a kept revision cannot be read", "error", damaged)
	}
	r.dhcp.written.bell = make(chan struct{}, 1)
	r.stateful = r.newStateful(opt.Rand.Uint64())
	r.rib = rib.New(rib.Options{PortName: r.portName})
	r.arp = arp.New(arp.Config{}, opt.Rand)
	out, err := dp.NewInjector()
	if err != nil {
		return nil, err
	}
	r.stack, err = hoststack.New(hoststack.Options{MTU: port.MaxMTU, Output: r.hostOutput(out), Log: opt.Log})
	if err != nil {
		return nil, fmt.Errorf("start the host stack: %w", err)
	}
	return r, nil
}

// errStopped is the answer to whoever asks a router that has ended.
var errStopped = errors.New("the router is stopping")

// do runs f on the control goroutine and waits until what it has changed is in force.
func (r *Router) do(f func()) error {
	done := make(chan struct{})
	select {
	case r.requests <- func() { f(); r.settle(); close(done) }:
	case <-r.stopped:
		return errStopped
	}
	select {
	case <-done:
		return nil
	case <-r.stopped:
		return errStopped
	}
}

// post runs f on the control goroutine without waiting for what comes of it; false: the router is stopping.
func (r *Router) post(f func()) bool {
	select {
	case r.requests <- f:
		return true
	case <-r.stopped:
		return false
	}
}

// maxPunts is how many punts a step takes before it looks at its other inputs.
const maxPunts = 256

// Run is the control loop. It returns when ctx ends, with every port closed.
func (r *Router) Run(ctx context.Context) error {
	defer close(r.stopped)
	defer r.shutdown()
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-r.requests:
			f()
		case <-r.dp.Bell():
			r.takePunts()
		case e := <-r.opt.Attach.Events():
			r.portEvent(e)
		case f := <-r.dp.Failures():
			r.portFailed(f)
		case <-r.dhcp.written.bell:
			r.leasesDurable()
		case <-r.timer.C:
			r.tick()
		}
		r.settle()
	}
}

// takePunts serves what waits in the punt queues.
func (r *Router) takePunts() {
	for range maxPunts {
		p, ok := r.dp.NextPunt()
		if !ok {
			return
		}
		r.punted(&p)
	}
	r.requeue()
}

// requeue comes back to the punt queues after the other inputs had their turn.
func (r *Router) requeue() { r.dp.Ring() }

// tick runs whatever is due.
func (r *Router) tick() {
	now := time.Now()
	r.neighborActions(r.arp.Step(now, arp.Tick{}))
	r.ripStep(now, rip.Tick{})
	r.expireFragments(now)
	r.expireSessions(now)
	r.announceDue(now)
	r.upnpDue(now)
	r.dnsStep(now, dns.Tick{})
	r.probesDue(now)
	r.serverDue(now)
	r.clientsDue(now)
	r.retryPorts(now)
	r.confirmDue(now)
}

// settle makes the step's changes visible and arms the timer.
func (r *Router) settle() {
	// What is published may itself change something: a packet that waited meets the next
	// unknown neighbour, a route of another source makes RIP withdraw its own.
	for range 16 {
		changes := r.rib.Changes()
		r.fwd.routesChanged(changes)
		if r.rip != nil {
			now := time.Now()
			for _, c := range changes {
				r.redistribute(now, c)
			}
		}
		if err := r.fwd.publish(); err != nil {
			r.log.Error("the FIB refused a change", "error", err)
		}
		later := r.later
		r.later = nil
		for _, f := range later {
			f()
		}
		if len(changes) == 0 && len(later) == 0 {
			break
		}
	}
	r.commitLeases()
	r.noteReadiness()
	r.arm()
}

// arm sets the one timer to the earliest deadline.
func (r *Router) arm() {
	next := time.Now().Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	earlier(r.arp.Next())
	earlier(r.pieces.Next())
	earlier(r.nextExpiry(time.Now()))
	earlier(r.stateful.held.due())
	earlier(r.portMapping.due)
	for _, at := range r.upnp.served {
		earlier(at.due)
	}
	if r.rip != nil {
		earlier(r.rip.Next())
	}
	if r.dns.machine != nil {
		earlier(r.dns.machine.Next())
	}
	earlier(r.probes.next)
	earlier(r.dhcp.retryAt)
	if r.dhcp.server != nil {
		earlier(r.dhcp.server.Next())
	}
	for _, p := range r.ports {
		earlier(p.retryAt)
		if p.client != nil {
			earlier(p.client.machine.Next())
		}
	}
	if r.confirm != nil {
		earlier(r.confirm.deadline)
	}
	if len(r.later) > 0 {
		earlier(time.Now())
	}
	r.timer.Reset(max(0, time.Until(next)))
}

// shutdown closes every port and leaves nothing behind.
func (r *Router) shutdown() {
	r.closeJournal()
	r.stopClients(time.Now())
	r.stopRIP(time.Now())
	r.stopUPnP()
	r.stopDNS()
	for _, p := range r.ports {
		r.neighborActions(r.arp.Step(time.Now(), arp.PortDown{Port: arp.PortID(p.id)}))
	}
	r.dp.Close()
	r.stack.Close() // before the devices: it writes to them, and their descriptors may soon be others'
	for _, p := range r.ports {
		if p.dev != nil {
			if err := p.dev.Close(); err != nil {
				r.log.Error("close port", "port", p.cfg.Name, "error", err)
			}
		}
	}
	r.events.close()
}

// Alive reports that the control loop turns and that no worker hangs in a packet; the
// watchdog is fed by it.
func (r *Router) Alive(ctx context.Context) bool {
	answer := make(chan bool, 1)
	ask := func() {
		token := r.dp.Domain().Retire()
		go func() { answer <- r.passed(ctx, token) }()
	}
	select {
	case r.requests <- ask:
	case <-ctx.Done():
		return false
	case <-r.stopped:
		return false
	}
	select {
	case ok := <-answer:
		return ok
	case <-ctx.Done():
		return false
	}
}

// passed waits until every worker has ended the batch that it was in.
func (r *Router) passed(ctx context.Context, t rcu.Token) bool {
	for !r.dp.Domain().Passed(t) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// WaitReady returns once every enabled port is up.
func (r *Router) WaitReady(ctx context.Context) error {
	// Subscribe first: what happens after is not missed.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, events := r.Events(ctx)
	for {
		ready := false
		if err := r.do(func() { ready = r.ready() }); err != nil || ready {
			return err
		}
		select {
		case _, ok := <-events:
			if !ok {
				return errStopped
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// OnReadOnly is called with the configuration's choice of who may read, now and at every change.
func (r *Router) OnReadOnly(f func(who string) error) {
	r.do(func() {
		r.readOnly = f
		r.tellReadOnly()
	})
}

func (r *Router) tellReadOnly() {
	if err := r.readOnly(r.config.Control.ReadOnly); err != nil {
		r.log.Error("the rights of the control socket could not be changed", "error", err)
	}
}

// ownAddresses of all ports, in the order of the configuration.
func (r *Router) ownAddresses() []netip.Prefix {
	var out []netip.Prefix
	for i := range r.config.Ports {
		if p := r.ports[r.config.Ports[i].Name]; p != nil {
			out = append(out, p.usable()...)
		}
	}
	return out
}
