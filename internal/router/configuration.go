package router

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"vrouterd/internal/config"
	"vrouterd/internal/config/history"
	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/arp"
)

// The running configuration is a text, and the router is what the text says: every
// change, also that of a single route, is an edit of the text that is then applied as a
// whole. So `config show` is always the truth, `config save` keeps the file's comments, and
// every change can be rolled back.

// confirmation is an applied change that undoes itself unless it is confirmed.
type confirmation struct {
	deadline time.Time
	back     string // the text to go back to
}

// running is what the source of errors in the running configuration is called.
const running = "running configuration"

// usage turns an error about the user's input into one that says so on the wire.
func usage(err error) error {
	var e *api.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, errStopped) {
		return err
	}
	return &api.Error{Code: api.Usage, Message: err.Error()}
}

// failed is an error of the world, not of the request.
func failed(err error) error {
	var e *api.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, errStopped) {
		return err
	}
	return &api.Error{Code: api.Failed, Message: err.Error()}
}

// ConfigText is the running configuration.
func (r *Router) ConfigText() (text string) {
	r.do(func() { text = r.text })
	return text
}

// ConfigCheck validates a configuration for this router.
func (r *Router) ConfigCheck(source string) error {
	var name string
	stopped := r.do(func() { name = r.config.Name })
	_, err := parse(source, name) // long texts are not to hold up the loop
	return errors.Join(stopped, err)
}

// ConfigDiff compares the running configuration with another.
func (r *Router) ConfigDiff(source string) (string, error) {
	if err := r.ConfigCheck(source); err != nil {
		return "", err
	}
	return config.Diff(r.ConfigText(), source, "given"), nil
}

// ConfigApply makes source the running configuration. With confirm, the change is
// undone after that time unless ConfigConfirm is called.
func (r *Router) ConfigApply(peer api.Peer, source string, confirm time.Duration) (result api.ApplyResult, err error) {
	if confirm < 0 {
		return result, &api.Error{Code: api.Usage, Message: "the time to confirm is negative; give a duration like 60s"}
	}
	stopped := r.do(func() {
		if result, err = r.replace(peer.Name, source, confirm, false); err == nil {
			r.heal(r.inOrder()...)
		}
	})
	return result, errors.Join(stopped, err)
}

// Reload applies the text of the configuration file, as SIGHUP asks.
func (r *Router) Reload(source string) (result api.ApplyResult, err error) {
	stopped := r.do(func() {
		if result, err = r.replace("SIGHUP", source, 0, false); err == nil {
			r.saved = source
			r.heal(r.inOrder()...)
			return
		}
		first, _, _ := strings.Cut(err.Error(), "\n")
		r.note("config_refused", "configuration", "the reload was refused, the router is unchanged: "+first, nil)
	})
	return result, errors.Join(stopped, err)
}

// parse reads a configuration for the router of this name, which a text that gives none
// takes on.
func parse(source, name string) (*config.Config, error) {
	const given = "configuration"
	c, err := config.Parse(given, []byte(source))
	if err == nil && c.Name == given {
		c, err = config.Parse(name+".yaml", []byte(source))
	}
	if err != nil {
		return nil, usage(err)
	}
	if c.Name != name {
		return nil, &api.Error{Code: api.Usage, Message: fmt.Sprintf(
			"the configuration is for instance %q, this is %q; the name of a running router cannot change", c.Name, name)}
	}
	return c, nil
}

// replace runs on the control goroutine. waiting is as in [Router.apply].
func (r *Router) replace(author, source string, confirm time.Duration, waiting bool) (result api.ApplyResult, err error) {
	c, err := parse(source, r.config.Name)
	if err != nil {
		return result, err
	}
	changes := config.Changes(r.config, c)
	back := r.text
	if r.confirm != nil {
		back = r.confirm.back // the last one that somebody has confirmed
	}
	if err := r.apply(c, waiting); err != nil {
		return result, failed(err)
	}
	r.confirm = nil
	if confirm > 0 {
		r.confirm = &confirmation{deadline: time.Now().Add(confirm), back: back}
	}
	revision := r.record(author, summarize(changes), source)
	r.event("config_applied", fmt.Sprintf("revision %d", revision), "configuration applied: "+summarize(changes),
		map[string]string{"author": author})
	return api.ApplyResult{Revision: revision, Changes: changes, ConfirmSeconds: confirm.Seconds()}, nil
}

// summarize is a list of changes in a few words.
func summarize(changes []string) string {
	switch len(changes) {
	case 0:
		return "no change"
	case 1:
		return changes[0]
	}
	return fmt.Sprintf("%s, and %s", changes[0], plural(len(changes)-1, "more change"))
}

// record keeps a revision and makes its text the running one.
func (r *Router) record(author, summary, text string) int {
	r.text = text
	revision, err := r.history.Add(time.Now(), author, summary, text)
	if err != nil {
		r.log.Warn("a revision could not be written; it is kept in memory", "error", err)
	}
	return revision.Number
}

// ConfigConfirm keeps a change that would undo itself.
func (r *Router) ConfigConfirm() (err error) {
	stopped := r.do(func() {
		if r.confirm == nil {
			err = &api.Error{Code: api.Conflict, Message: "no change waits for a confirmation"}
			return
		}
		r.confirm = nil
		r.event("config_confirmed", "configuration", "the last change is confirmed", nil)
	})
	return errors.Join(stopped, err)
}

// confirmDue undoes a change that nobody confirmed in time.
func (r *Router) confirmDue(now time.Time) {
	if r.confirm == nil || r.confirm.deadline.After(now) {
		return
	}
	// The promise is to come back: a port whose namespace is gone meanwhile is waited for,
	// and what fails is tried again.
	if _, err := r.replace("unconfirmed", r.confirm.back, 0, true); err != nil {
		r.log.Error("an unconfirmed change could not be undone yet", "error", err)
		r.confirm.deadline = now.Add(retryPort)
		return
	}
	r.log.Warn("nobody confirmed the change in time: undone")
	r.event("config_undone", "configuration", "nobody confirmed the change in time: undone", nil)
}

// ConfigRollback goes back n revisions.
func (r *Router) ConfigRollback(peer api.Peer, n int) (result api.ApplyResult, err error) {
	stopped := r.do(func() {
		var back history.Revision
		if back, err = r.history.Back(n); err != nil {
			err = &api.Error{Code: api.NotFound, Message: err.Error()}
			return
		}
		result, err = r.replace(peer.Name, back.Text, 0, false)
	})
	return result, errors.Join(stopped, err)
}

// ConfigHistory lists the revisions, the newest first.
func (r *Router) ConfigHistory() (rows []api.Revision) {
	r.do(func() {
		revisions := r.history.List()
		slices.Reverse(revisions)
		for i, v := range revisions {
			rows = append(rows, api.Revision{Number: v.Number, Time: v.Time, Author: v.Author, Summary: v.Summary, Current: i == 0})
		}
	})
	return rows
}

// ConfigSave writes the running configuration to the file that the router was started with.
func (r *Router) ConfigSave() (path string, err error) {
	stopped := r.do(func() {
		path = r.opt.ConfigPath
		if path == "" {
			err = &api.Error{Code: api.Conflict, Message: "the router was started without a file; use `vrctl config show > FILE`"}
			return
		}
		if r.confirm != nil {
			err = &api.Error{Code: api.Conflict, Message: "the last change is not confirmed; run `vrctl config confirm` first"}
			return
		}
		mode := os.FileMode(0o640)
		if info, statErr := os.Stat(path); statErr == nil {
			mode = info.Mode().Perm()
		}
		if err = renameio.WriteFile(path, []byte(r.text), mode); err != nil {
			err = failed(fmt.Errorf("save %s: %w", path, err))
			return
		}
		r.saved = r.text
	})
	return path, errors.Join(stopped, err)
}

// edit changes the running configuration by an edit of its text.
func (r *Router) edit(peer api.Peer, f func(*config.Document) error) (err error) {
	stopped := r.do(func() {
		var d *config.Document
		if d, err = config.NewDocument(running, []byte(r.text)); err != nil { // it gives no name
			d, err = config.NewDocument(r.config.Name+".yaml", []byte(r.text))
		}
		if err != nil {
			err = failed(err)
			return
		}
		if err = f(d); err != nil {
			err = usage(err)
			return
		}
		keep := r.confirm
		if _, err = r.replace(peer.Name, d.Text(), 0, false); err == nil && keep != nil {
			r.confirm = keep // a small change does not confirm the one before it
		}
	})
	return errors.Join(stopped, err)
}

// SetPort enables or disables a port. One that is enabled but down is put right.
func (r *Router) SetPort(peer api.Peer, name string, up bool) error {
	err := r.edit(peer, func(d *config.Document) error {
		if r.ports[name] == nil {
			return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q; the ports are %s", name, r.portNames())}
		}
		return d.SetPortEnabled(name, up)
	})
	if err != nil || !up {
		return err
	}
	return r.do(func() {
		if p := r.ports[name]; p != nil {
			r.heal(p)
		}
	})
}

// portNames lists the ports, for messages.
func (r *Router) portNames() string {
	var names []string
	for i := range r.config.Ports {
		names = append(names, r.config.Ports[i].Name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// AddRoute adds a static route.
func (r *Router) AddRoute(peer api.Peer, s api.RouteSpec) error {
	route, err := routeOf(s)
	if err != nil {
		return usage(err)
	}
	return r.edit(peer, func(d *config.Document) error { return d.AddRoute(route) })
}

// DeleteRoute deletes the static routes that s describes: what it leaves out matches anything.
func (r *Router) DeleteRoute(peer api.Peer, s api.RouteSpec) error {
	route, err := routeOf(s)
	if err != nil {
		return usage(err)
	}
	return r.edit(peer, func(d *config.Document) error {
		err := d.DeleteRoute(route)
		if errors.Is(err, config.ErrNoRoute) {
			return &api.Error{Code: api.NotFound, Message: err.Error()}
		}
		return err
	})
}

// routeOf reads a route specification.
func routeOf(s api.RouteSpec) (c config.Route, err error) {
	to := s.To
	if to == "default" {
		to = "0.0.0.0/0"
	}
	if c.To, err = netip.ParsePrefix(to); err != nil {
		a, addrErr := netip.ParseAddr(to)
		if addrErr != nil {
			return c, fmt.Errorf("%q is not an IPv4 prefix; write it like 10.0.0.0/8, or default", s.To)
		}
		c.To = netip.PrefixFrom(a, a.BitLen())
	}
	for _, v := range s.Via {
		a, err := parseAddress(v)
		if err != nil {
			return c, err
		}
		c.Via = append(c.Via, a)
	}
	c.Port, c.Type = s.Port, config.RouteType(s.Type)
	c.Distance, c.Metric, c.Tag = s.Distance, s.Metric, s.Tag
	return c, nil
}

// AddNeighbor adds a permanent neighbour.
func (r *Router) AddNeighbor(peer api.Peer, s api.NeighborSpec) error {
	n, err := neighborOf(s)
	if err != nil {
		return usage(err)
	}
	if n.MAC, err = packet.ParseMAC(s.MAC); err != nil {
		return &api.Error{Code: api.Usage, Message: fmt.Sprintf("%q is not a MAC address; write it like 02:00:00:00:00:09", s.MAC)}
	}
	return r.edit(peer, func(d *config.Document) error { return d.AddNeighbor(n) })
}

// DeleteNeighbor deletes a permanent neighbour, or forgets a learned one.
func (r *Router) DeleteNeighbor(peer api.Peer, s api.NeighborSpec) error {
	n, err := neighborOf(s)
	if err != nil {
		return usage(err)
	}
	err = r.edit(peer, func(d *config.Document) error {
		if r.isPermanent(n) {
			return d.DeleteNeighbor(n)
		}
		if !r.forget(n) {
			return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no neighbour %v; `vrctl show neighbors` lists them", n.Address)}
		}
		return errForgotten
	})
	if errors.Is(err, errForgotten) {
		return nil
	}
	return err
}

// errForgotten ends an edit that had nothing to edit.
var errForgotten = &api.Error{Code: api.Internal, Message: "learned neighbour forgotten"}

// isPermanent reports whether the configuration holds the neighbour.
func (r *Router) isPermanent(n config.Neighbor) bool {
	for i := range r.config.Neighbors {
		if c := &r.config.Neighbors[i]; c.Address == n.Address && (n.Port == "" || c.Port == n.Port) {
			return true
		}
	}
	return false
}

// forget drops a learned neighbour; false when there is none.
func (r *Router) forget(n config.Neighbor) bool {
	addr, found := packet.AddrFrom(n.Address), false
	for _, row := range r.arp.Neighbors(time.Now()) {
		if row.Addr == addr && (n.Port == "" || r.portName(uint32(row.Port)) == n.Port) {
			r.neighborActions(r.arp.Step(time.Now(), arp.Flush{Port: row.Port, Addr: addr}))
			found = true
		}
	}
	return found
}

func neighborOf(s api.NeighborSpec) (n config.Neighbor, err error) {
	n.Port = s.Port
	n.Address, err = parseAddress(s.Address)
	return n, err
}

// FlushNeighbors forgets the learned neighbours of a port, or of all ports.
func (r *Router) FlushNeighbors(name string) (n int, err error) {
	stopped := r.do(func() {
		now := time.Now()
		flush := arp.Flush{All: name == ""}
		if name != "" {
			p := r.ports[name]
			if p == nil {
				err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q; the ports are %s", name, r.portNames())}
				return
			}
			flush.Port = arp.PortID(p.id)
		}
		before := len(r.arp.Neighbors(now))
		r.neighborActions(r.arp.Step(now, flush))
		n = before - len(r.arp.Neighbors(now))
	})
	return n, errors.Join(stopped, err)
}
