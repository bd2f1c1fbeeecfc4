package controltest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"vrouterd/internal/control/api"
)

var _ api.Backend = (*Fake)(nil)

func (f *Fake) SetPort(_ api.Peer, name string, up bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.ports {
		p := &f.ports[i]
		if p.Name != name {
			continue
		}
		p.Up, p.State, p.Reason = up, "up", ""
		kind := "port_up"
		if !up {
			p.State, p.Reason, kind = "disabled", "taken down: bring it up with vrctl port up "+name, "port_down"
		}
		f.happen(kind, name, "Port "+name+" is "+p.State+".")
		return nil
	}
	return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q", name)}
}

func (f *Fake) AddRoute(_ api.Peer, r api.RouteSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.routes, func(have api.Route) bool { return have.Prefix == r.To && have.Protocol == "static" }) {
		return &api.Error{Code: api.Conflict, Message: fmt.Sprintf("there is a static route to %s already: delete it first", r.To)}
	}
	hops := r.Via
	if len(hops) == 0 {
		hops = []string{""}
	}
	kind := r.Type
	if kind == "" {
		kind = "unicast"
	}
	for _, via := range hops {
		f.routes = append(f.routes, api.Route{Prefix: r.To, NextHop: via, Port: r.Port, Protocol: "static", Type: kind, Distance: max(r.Distance, 1), Metric: r.Metric, Tag: r.Tag, Selected: true, Active: true})
	}
	f.happen("route_added", r.To, "The route to "+r.To+" was added.")
	return nil
}

func (f *Fake) DeleteRoute(_ api.Peer, r api.RouteSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.routes)
	f.routes = slices.DeleteFunc(f.routes, func(have api.Route) bool {
		return have.Prefix == r.To && have.Protocol == "static" && (len(r.Via) == 0 || slices.Contains(r.Via, have.NextHop))
	})
	if len(f.routes) == before {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no static route to %s", r.To)}
	}
	f.happen("route_removed", r.To, "The route to "+r.To+" was deleted.")
	return nil
}

func (f *Fake) AddNeighbor(_ api.Peer, n api.NeighborSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.neighbors = append(f.neighbors, api.Neighbor{Address: n.Address, Port: n.Port, MAC: n.MAC, State: "permanent"})
	return nil
}

func (f *Fake) DeleteNeighbor(_ api.Peer, n api.NeighborSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.neighbors)
	f.neighbors = slices.DeleteFunc(f.neighbors, func(have api.Neighbor) bool { return have.Address == n.Address })
	if len(f.neighbors) == before {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no neighbor %s", n.Address)}
	}
	return nil
}

func (f *Fake) FlushNeighbors(port string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.neighbors)
	f.neighbors = slices.DeleteFunc(f.neighbors, func(have api.Neighbor) bool {
		return have.State != "permanent" && (port == "" || have.Port == port)
	})
	return before - len(f.neighbors), nil
}

func (f *Fake) ConfigText() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.config
}

// ConfigCheck takes what begins as a configuration does.
func (f *Fake) ConfigCheck(source string) error {
	if !strings.HasPrefix(source, "name:") {
		return &api.Error{Code: api.Usage, Message: "configuration:1:1: the configuration begins with its name"}
	}
	return nil
}

func (f *Fake) ConfigDiff(source string) (string, error) {
	if err := f.ConfigCheck(source); err != nil {
		return "", err
	}
	if source == f.ConfigText() {
		return "", nil
	}
	return "--- running\n+++ new\n@@ -1 +1 @@\n-" + f.ConfigText() + "+" + source, nil
}

func (f *Fake) ConfigApply(p api.Peer, source string, confirm time.Duration) (api.ApplyResult, error) {
	if err := f.ConfigCheck(source); err != nil {
		return api.ApplyResult{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.Unconfirmed {
		return api.ApplyResult{}, &api.Error{Code: api.Conflict, Message: "a change waits for its confirmation: vrctl config confirm or rollback first"}
	}
	f.config = source
	f.status.Unconfirmed, f.status.ConfirmSecs = confirm > 0, confirm.Seconds()
	return f.revise(p.Name, "applied", confirm), nil
}

func (f *Fake) revise(author, summary string, confirm time.Duration) api.ApplyResult {
	for i := range f.revisions {
		f.revisions[i].Current = false
	}
	n := f.revisions[len(f.revisions)-1].Number + 1
	f.revisions = append(f.revisions, api.Revision{Number: n, Time: started.Add(time.Duration(n) * time.Hour), Author: author, Summary: summary, Current: true})
	f.status.Revision = n
	return api.ApplyResult{Revision: n, Changes: []string{"route 10.7.0.0/16 via 10.0.0.2 added"}, ConfirmSeconds: confirm.Seconds()}
}

func (f *Fake) ConfigConfirm() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.status.Unconfirmed {
		return &api.Error{Code: api.Conflict, Message: "no change waits for a confirmation"}
	}
	f.status.Unconfirmed = false
	return nil
}

func (f *Fake) ConfigRollback(_ api.Peer, n int) (api.ApplyResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n >= len(f.revisions) {
		return api.ApplyResult{}, &api.Error{Code: api.NotFound, Message: fmt.Sprintf("only %d revisions are kept", len(f.revisions))}
	}
	f.status.Unconfirmed = false
	return f.revise("rollback", fmt.Sprintf("back by %d", n), 0), nil
}

func (f *Fake) ConfigHistory() []api.Revision { return table(f, f.revisions) }

func (f *Fake) ConfigSave() (string, error) { return "/etc/vrouterd/r1.yaml", nil }

// Ping answers every probe after a millisecond; 10.255.0.0/16 cannot be reached.
func (f *Fake) Ping(ctx context.Context, r api.PingRequest, reply func(api.PingReply)) error {
	if strings.HasPrefix(r.Address, "10.255.") {
		return &api.Error{Code: api.Failed, Message: "no route to " + r.Address}
	}
	for seq := 1; seq <= r.Count; seq++ {
		p := api.PingReply{Sequence: seq, From: r.Address, Bytes: r.Size + 8, TTL: 63, RTTSeconds: float64(seq) / 1000, Result: "reply"}
		if f.NoReply {
			p = api.PingReply{Sequence: seq, Result: "timeout"}
		}
		reply(p)
		if seq == r.Count {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(r.Interval, 5*time.Millisecond)):
		}
	}
	return ctx.Err()
}

// Traceroute finds two routers before the destination; the second keeps silent once.
func (f *Fake) Traceroute(_ context.Context, r api.TracerouteRequest, hop func(api.TracerouteHop)) error {
	hop(api.TracerouteHop{TTL: 1, Probes: []api.TracerouteProbe{{From: "10.0.0.2", RTTSeconds: 0.0005}, {From: "10.0.0.2", RTTSeconds: 0.00025}, {From: "10.0.0.2", RTTSeconds: 0.001}}})
	if r.MaxHops == 1 {
		return nil // all asked for was done
	}
	hop(api.TracerouteHop{TTL: 2, Probes: []api.TracerouteProbe{{From: "10.7.0.1", RTTSeconds: 0.002}, {}, {From: "10.7.0.5", RTTSeconds: 0.002, Note: "!H"}}})
	if r.MaxHops == 2 {
		return &api.Error{Code: api.Failed, Message: "the last hop was not reached"}
	}
	hop(api.TracerouteHop{TTL: 3, Done: true, Probes: []api.TracerouteProbe{{From: r.Address, RTTSeconds: 0.003}}})
	return nil
}

// Capture streams Packets, and then waits unless a Count was asked for.
func (f *Fake) Capture(ctx context.Context, r api.CaptureRequest, w api.FlushWriter) error {
	if r.Filter == "bad" {
		return &api.Error{Code: api.Usage, Message: "the filter cannot be read: it begins with bad"}
	}
	if _, err := w.Write(f.Packets); err != nil {
		return err
	}
	w.Flush()
	switch r.Count {
	case 0:
		<-ctx.Done()
	case 13: // a test's wish
		return &api.Error{Code: api.Failed, Message: "the port went away"}
	}
	return nil
}

func (f *Fake) Metrics() string {
	return "# TYPE vrouterd_drops_total counter\nvrouterd_drops_total{reason=\"no_route\"} 45\n"
}
