package router

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/internal/port"
	"vrouterd/internal/rib"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dhcp/client"
	"vrouterd/pkg/rip"
)

// Attacher makes ports' devices and tells what happens to them. Package port does it with
// TUN/TAP devices; tests with pairs of sockets.
type Attacher interface {
	Open(port.Spec) (Device, error)
	// Watch begins to tell of a device's changes, under the port's name; Unwatch ends it.
	Watch(name string, d Device) error
	Unwatch(name string)
	Events() <-chan port.Event
}

// Device is an open attachment; *port.Device is one.
type Device interface {
	FD() int
	VnetHdr() bool
	SetCarrier(up bool) error
	Update(port.Spec) (changed []string, err error)
	Attached() bool
	Close() error
}

// retryPort is how often a port that is missing is tried again.
const retryPort = time.Second

// portState is a port as it is, beside what the configuration wants of it.
type portState struct {
	cfg       config.Port
	id        dataplane.PortID
	dev       Device // nil while missing
	at        *dataplane.Attachment
	link      port.State
	up        bool // enabled, there and with a link
	retryAt   time.Time
	foreign   bool                   // the device was made by someone else: wait for it, never make it
	before    dataplane.PortCounters // of earlier devices
	tentative map[packet.Addr]bool   // addresses that are being probed, or are another's
	holds     bool                   // it has been up, and keeps its addresses since
	claimed   []netip.Prefix         // addresses that are in the forwarding tables and the RIB
	onLink    []netip.Prefix         // what ARP was last told
	client    *dhcpClient            // `address: dhcp`; nil: none
}

// DefaultWorkers is one for every two processors: a write to a port runs the receiving
// host's stack, and hosts, workers and control plane share the machine.
func DefaultWorkers() int { return min(max(1, runtime.NumCPU()/2), 8) }

func specOf(instance string, c *config.Port) port.Spec {
	s := port.Spec{
		Name: c.Name, Instance: instance, TUN: c.Kind == config.TUN, Netns: c.Netns, Device: c.Device,
		MTU: c.MTU, Offload: c.Offload, MAC: c.MAC,
	}
	if c.Bridge != nil {
		s.Bridge, s.Members = c.Bridge.Name, c.Bridge.Members
	}
	if c.Host != nil {
		s.Host = &port.HostSpec{Address: c.Host.Address, Gateway: c.Host.Gateway}
	}
	return s
}

// CheckPorts says, without touching anything, whether this process may open the ports
// of a configuration.
func CheckPorts(c *config.Config) error {
	for i := range c.Ports {
		if err := port.Check(specOf(c.Name, &c.Ports[i])); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) portName(id uint32) string {
	if p := r.byID[dataplane.PortID(id)]; p != nil {
		return p.cfg.Name
	}
	return "?"
}

// freeID is the lowest port number that is not taken.
func (r *Router) freeID() dataplane.PortID {
	for id := dataplane.PortID(1); ; id++ {
		if r.byID[id] == nil && !r.isReserved(id) {
			return id
		}
	}
}

func (r *Router) isReserved(id dataplane.PortID) bool {
	for _, taken := range r.reserved {
		if taken == id {
			return true
		}
	}
	return false
}

// addPort takes a port into the router. dev is nil when its device cannot be had yet.
func (r *Router) addPort(c *config.Port, dev Device, why error) {
	p := &portState{cfg: *c, id: r.numberOf(c.Name), tentative: map[packet.Addr]bool{}}
	r.ports[c.Name] = p
	r.byID[p.id] = p
	delete(r.reserved, c.Name)
	if c.DHCP != nil {
		r.startClient(p)
	}
	if dev == nil {
		r.portMissing(p, why)
		r.showPort(p)
		return
	}
	r.plugIn(p, dev)
}

// plugIn gives a port its device.
func (r *Router) plugIn(p *portState, dev Device) {
	p.dev = dev
	p.foreign = dev.Attached()
	p.at = r.dp.NewAttachment(dev.FD(), dev.VnetHdr())
	if d, ok := dev.(interface{ USO() bool }); ok && d.USO() {
		p.at.TakesTrains()
	}
	p.link = port.State{Up: true, Word: "up"}
	p.retryAt = time.Time{}
	if !p.cfg.Enabled {
		r.carrier(p, false)
	}
	r.showPort(p)
	r.fwd.publish() // the worker must find the port before it may read
	if err := r.dp.Start(p.id, p.at); err != nil {
		r.lostDevice(p, fmt.Errorf("it cannot be read: %w", err))
		return
	}
	if err := r.opt.Attach.Watch(p.cfg.Name, dev); err != nil {
		r.log.Warn("cannot watch port; a change of its link goes unseen", "port", p.cfg.Name, "error", err)
	}
	r.reconsider(p)
}

// unplug takes the device from a port and closes it.
func (r *Router) unplug(p *portState) {
	if p.dev == nil {
		return
	}
	r.opt.Attach.Unwatch(p.cfg.Name)
	at, dev := p.at, p.dev
	p.before = r.countersOf(p)
	p.at, p.dev = nil, nil
	r.reconsider(p)
	r.showPort(p)
	r.fwd.publish()
	r.dp.Stop(at)
	if err := dev.Close(); err != nil {
		r.log.Warn("port not closed cleanly", "port", p.cfg.Name, "error", err)
	}
}

// removePort forgets a port that the configuration no longer has.
func (r *Router) removePort(p *portState) {
	r.stopClient(p)
	p.link = port.State{Word: "removed", Reason: "the configuration has it no longer"}
	r.unplug(p)
	r.forgetPermanent(p)
	r.withdrawAddresses(p)
	r.fwd.setPort(p.id, dataplane.Port{})
	delete(r.ports, p.cfg.Name)
	r.later = append(r.later, func() {
		if r.byID[p.id] == p {
			delete(r.byID, p.id)
		}
	})
	r.event("port_removed", p.cfg.Name, "port "+p.cfg.Name+" removed", nil)
}

// forgetPermanent drops the permanent neighbours of a port: its number will be another's.
func (r *Router) forgetPermanent(p *portState) {
	now := time.Now()
	for _, n := range r.arp.Neighbors(now) {
		if n.Port == arp.PortID(p.id) {
			r.neighborActions(r.arp.Step(now, arp.DeleteStatic{Port: n.Port, Addr: n.Addr}))
		}
	}
}

// reconsider compares a port's state with what it should be, and tells everyone
// whom a change concerns.
func (r *Router) reconsider(p *portState) {
	up := p.cfg.Enabled && p.dev != nil && p.link.Up
	if up == p.up {
		return
	}
	p.up = up
	r.showPort(p)
	now := time.Now()
	if up {
		r.fwd.publish() // what ARP sends now must find the port up
		r.claimAddresses(p)
		r.rib.SetPort(uint32(p.id), true)
		r.arpPortUp(p, now)
		r.ripPortUp(p, now)
		r.event("port_up", p.cfg.Name, "port "+p.cfg.Name+" is up", nil)
		r.clientStep(now, p, client.LinkUp{})
		return
	}
	if p.cfg.Kind == config.TAP {
		r.neighborActions(r.arp.Step(now, arp.PortDown{Port: arp.PortID(p.id)}))
	}
	r.clientStep(now, p, client.LinkDown{})
	r.ripStep(now, rip.PortDown{Port: rip.PortID(p.id)})
	r.rib.SetPort(uint32(p.id), false)
	word, why := p.state()
	r.event("port_down", p.cfg.Name, "port "+p.cfg.Name+" is "+word+": "+why, map[string]string{"state": word})
}

// arpPortUp tells ARP of a port's addresses.
func (r *Router) arpPortUp(p *portState, now time.Time) {
	if p.cfg.Kind != config.TAP {
		return
	}
	p.onLink = r.onLink(p)
	r.neighborActions(r.arp.Step(now, arp.PortUp{
		Port: arp.PortID(p.id), MAC: p.cfg.MAC, Addresses: p.addresses(),
		OnLink: p.onLink, ProxyARP: p.cfg.ProxyARP,
		DAD: r.config.ARP.Probe && p.client == nil, // the client has asked itself, or was told not to
	}))
	for i := range r.config.Neighbors {
		if n := &r.config.Neighbors[i]; n.Port == p.cfg.Name {
			r.neighborActions(r.arp.Step(now, arp.AddStatic{
				Port: arp.PortID(p.id), Addr: packet.AddrFrom(n.Address), MAC: n.MAC,
			}))
		}
	}
}

// onLink are the networks that static routes reach through a port without a next hop.
func (r *Router) onLink(p *portState) (out []netip.Prefix) {
	for i := range r.config.Routes {
		if c := &r.config.Routes[i]; c.Port == p.cfg.Name && len(c.Via) == 0 && c.Type == config.Unicast {
			out = append(out, c.To)
		}
	}
	if p.client != nil {
		for _, route := range p.client.routes {
			if !route.NextHops[0].Addr.IsValid() {
				out = append(out, route.Prefix)
			}
		}
	}
	return out
}

// showPort tells the dataplane of a port.
func (r *Router) showPort(p *portState) {
	c := &p.cfg
	own := p.addresses()
	d := dataplane.Port{
		Name: c.Name, Attachment: p.at, Down: !p.up, Ethernet: c.Kind == config.TAP, MAC: c.MAC, MTU: c.MTU,
		Prefixes: own, LeakGuard: c.LeakGuard, Redirects: c.Redirects, MSSClamp: c.MSSClamp, DHCPClient: p.client != nil,
	}
	if len(own) > 0 {
		d.Address = packet.AddrFrom(own[0].Addr())
	}
	switch c.ReversePath {
	case config.ReversePathStrict:
		d.ReversePath = dataplane.ReversePathStrict
	case config.ReversePathLoose:
		d.ReversePath = dataplane.ReversePathLoose
	}
	r.fwd.setPort(p.id, d)
}

// addresses are those of the port: the configured ones, and behind them the leased one.
func (p *portState) addresses() []netip.Prefix {
	if p.client == nil || !p.client.leased.IsValid() {
		return p.cfg.Address
	}
	return append(slices.Clip(p.cfg.Address), p.client.leased)
}

// usable are the port's addresses that the router may use: not those being probed.
func (p *portState) usable() (out []netip.Prefix) {
	for _, a := range p.addresses() {
		if !p.tentative[packet.AddrFrom(a.Addr())] {
			out = append(out, a)
		}
	}
	return out
}

// forgetTentative drops what was learned of addresses that the port no longer has. What
// ARP knows of the others, it does not say again.
func (p *portState) forgetTentative() {
	own := p.addresses()
	maps.DeleteFunc(p.tentative, func(a packet.Addr, _ bool) bool {
		return !slices.ContainsFunc(own, func(own netip.Prefix) bool { return own.Addr() == a.Netip() })
	})
}

// claimAddresses puts a port's addresses into the forwarding tables and the RIB.
// They stay while its link is down, as on every host: only its networks go.
func (r *Router) claimAddresses(p *portState) {
	want := p.usable()
	r.releaseAddresses(p, want)
	for _, a := range want { // all of them: what went may have shared a broadcast address
		r.claim(p, a, true)
	}
	p.claimed, p.holds = want, true
	r.stack.SetAddresses(r.ownAddresses())
	r.outsideChanged()
	r.changeUPnP()
	r.changeDNS()
	if r.dhcp.relay != nil {
		r.changeRelay()
	}
}

// releaseAddresses gives up those that are not to be kept.
func (r *Router) releaseAddresses(p *portState, keep []netip.Prefix) {
	var kept []netip.Prefix
	for _, a := range p.claimed {
		if contains(keep, a) {
			kept = append(kept, a)
		} else {
			r.claim(p, a, false)
		}
	}
	p.claimed = kept
}

func (r *Router) withdrawAddresses(p *portState) {
	r.releaseAddresses(p, nil)
	p.cfg.Address = nil
	r.stack.SetAddresses(r.ownAddresses())
}

// claim adds or removes one address with what belongs to it: the address itself,
// its subnet's broadcast addresses, and the connected route.
func (r *Router) claim(p *portState, a netip.Prefix, there bool) {
	host := netip.PrefixFrom(a.Addr(), 32)
	r.fwd.setOwn(host, adjacencyKey{kind: dataplane.Local}, there)
	subnet := a.Masked()
	if p.cfg.Kind == config.TAP && a.Bits() <= 30 {
		// Both the all-ones and the all-zeros address (RFC 1122 section 3.3.6); /31 has neither (RFC 3021).
		mask := packet.Mask(a.Bits())
		network := packet.AddrFrom(subnet.Addr())
		key := adjacencyKey{kind: dataplane.BroadcastTo, port: p.id, nextHop: network | ^mask}
		r.fwd.setOwn(hostPrefix(network|^mask), key, there)
		r.fwd.setOwn(hostPrefix(network), key, there)
	}
	if a.Bits() == 32 {
		return // nobody else is on that network
	}
	route := rib.Route{
		Prefix: subnet, Protocol: rib.Connected, Source: p.cfg.Name + " " + a.String(),
		NextHops: []rib.NextHop{{Port: uint32(p.id)}},
	}
	if !there {
		r.rib.Withdraw(route.Key())
		return
	}
	if err := r.rib.Update(time.Now(), route); err != nil {
		r.log.Error("connected route refused", "prefix", subnet, "error", err)
	}
}

func contains(list []netip.Prefix, p netip.Prefix) bool {
	for _, q := range list {
		if p == q {
			return true
		}
	}
	return false
}

// carrier pulls or plugs the cable of a port.
func (r *Router) carrier(p *portState, up bool) {
	if p.dev == nil {
		return
	}
	if err := p.dev.SetCarrier(up); err != nil {
		r.log.Warn("cannot set the carrier", "port", p.cfg.Name, "up", up, "error", err)
	}
}

// portEvent is what the watcher says of a port.
func (r *Router) portEvent(e port.Event) {
	p := r.ports[e.Port]
	if p == nil || p.dev == nil {
		return
	}
	p.link = e.State
	if e.State.Word == "missing" {
		r.lostDevice(p, errors.New(e.State.Reason))
		return
	}
	if e.State.Up && !p.up {
		// The kernel has taken the host's routes away when its end went down, and whoever
		// pulled the device out of its bridge may have put it back elsewhere.
		if _, err := p.dev.Update(specOf(r.config.Name, &p.cfg)); err != nil {
			r.log.Warn("port is back, but not as configured", "port", p.cfg.Name, "error", err)
		}
	}
	r.reconsider(p)
}

// heal puts back what someone has taken from the devices of ports that should be up,
// such as their bridge. It is for when the operator asks to have things as configured;
// what the host sets down otherwise is its own affair.
func (r *Router) heal(ports ...*portState) {
	for _, p := range ports {
		if p.dev == nil || p.link.Up || !p.cfg.Enabled {
			continue
		}
		if _, err := p.dev.Update(specOf(r.config.Name, &p.cfg)); err != nil {
			r.log.Warn("port stays down", "port", p.cfg.Name, "error", err)
		}
	}
}

// portFailed is what a worker says of a device that it could not read.
func (r *Router) portFailed(f dataplane.Failure) {
	p := r.byID[f.Port]
	if p == nil || p.at != f.Attachment {
		return
	}
	why := fmt.Errorf("device %s cannot be read: %w", p.cfg.Device, f.Err)
	if errors.Is(f.Err, unix.EBADFD) { // what TUN/TAP says once the device is deleted
		why = fmt.Errorf("device %s was deleted: it is made again as soon as that is possible", p.cfg.Device)
	}
	r.lostDevice(p, why)
}

// lostDevice closes what is left of a device, and begins to try for it again.
func (r *Router) lostDevice(p *portState, why error) {
	r.log.Warn("port lost its device", "port", p.cfg.Name, "reason", why)
	p.link = port.State{Word: "missing", Reason: why.Error()}
	r.unplug(p)
	r.portMissing(p, why)
}

func (r *Router) portMissing(p *portState, why error) {
	p.link = port.State{Word: "missing", Reason: why.Error()}
	p.retryAt = time.Now().Add(retryPort)
}

// retryPorts opens the ports whose devices are missing and due to be tried again.
func (r *Router) retryPorts(now time.Time) {
	for _, p := range r.ports {
		if p.retryAt.IsZero() || p.retryAt.After(now) {
			continue
		}
		p.retryAt = time.Time{}
		spec := specOf(r.config.Name, &p.cfg)
		spec.AttachOnly = p.foreign
		dev, err := r.opt.Attach.Open(spec)
		if err != nil {
			if why := err.Error(); why != p.link.Reason {
				r.log.Warn("port is still missing", "port", p.cfg.Name, "reason", why)
			}
			r.portMissing(p, err)
			continue
		}
		r.log.Info("port is back", "port", p.cfg.Name)
		r.plugIn(p, dev)
	}
}

// state of a port in one word, and why.
func (p *portState) state() (word, why string) {
	switch {
	case !p.cfg.Enabled:
		return "disabled", "set down by the operator; `vrctl port up " + p.cfg.Name + "` enables it"
	case p.up:
		return "up", ""
	case p.link.Word != "":
		return p.link.Word, p.link.Reason
	}
	return "down", "the device is not open"
}

// countersOf a port, over all devices that it has had.
func (r *Router) countersOf(p *portState) dataplane.PortCounters {
	c := p.before
	if p.at != nil {
		now := p.at.Counters()
		c.RxPackets += now.RxPackets
		c.RxBytes += now.RxBytes
		c.RxDrops += now.RxDrops
		c.TxPackets += now.TxPackets
		c.TxBytes += now.TxBytes
		c.TxDrops += now.TxDrops
	}
	return c
}

// noteReadiness says once when every enabled port is up.
func (r *Router) noteReadiness() {
	ready := r.ready()
	if ready != r.wasReady {
		r.wasReady = ready
		if ready {
			r.event("ready", r.config.Name, "every enabled port is up and packets forward", nil)
		}
	}
}

func (r *Router) ready() bool {
	if !r.running {
		return false
	}
	for _, p := range r.ports {
		if p.cfg.Enabled && !p.up {
			return false
		}
	}
	return true
}
