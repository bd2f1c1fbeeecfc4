package router

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp/client"
)

// A port's lease survives a restart in a file beside the revisions, so that the router confirms its address
// instead of asking for any (INIT-REBOOT, RFC 2131 section 3.2).

// savedLease is the file's form.
type savedLease struct {
	Address  netip.Prefix     `json:"address"`
	Server   netip.Addr       `json:"server"`
	Gateways []netip.Addr     `json:"gateways,omitempty"`
	Routes   []savedRoute     `json:"routes,omitempty"`
	DNS      []netip.Addr     `json:"dns,omitempty"`
	Domain   string           `json:"domain,omitempty"`
	Search   []string         `json:"search,omitempty"`
	NTP      []netip.Addr     `json:"ntp,omitempty"`
	MTU      int              `json:"mtu,omitempty"`
	Options  map[uint8][]byte `json:"options,omitempty"`
	Acquired time.Time        `json:"acquired"`
	T1       time.Time        `json:"t1"`
	T2       time.Time        `json:"t2"`
	Expires  time.Time        `json:"expires"` // zero: never
}

type savedRoute struct {
	To      netip.Prefix `json:"to"`
	Gateway netip.Addr   `json:"gateway"`
}

// leasePath is a port's file; "" without a directory.
func (r *Router) leasePath(port string) string {
	if r.opt.StateDir == "" {
		return ""
	}
	return filepath.Join(r.opt.StateDir, "dhcp-client-"+port+".json")
}

func netipAddrs(list []packet.Addr) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, a.Netip())
	}
	return out
}

// savedAddrs are the addresses of a file that somebody may have edited.
func savedAddrs(list []netip.Addr) (out []packet.Addr) {
	for _, a := range list {
		if a.Is4() {
			out = append(out, packet.AddrFrom(a))
		}
	}
	return out
}

// leaseFiles writes the files of leases on a goroutine of its own, which lives as long as there is something to write: the disk may be
// slow, and the control loop does not wait for it. The last of what a port is to have counts.
type leaseFiles struct {
	mu      sync.Mutex
	wanted  map[string]*client.Lease // nil: none
	writing bool
	done    sync.WaitGroup
}

// saveLease makes a lease that of a port's file; nil removes the file.
func (r *Router) saveLease(port string, l *client.Lease) {
	if r.opt.StateDir == "" {
		return
	}
	f := &r.leaseFiles
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wanted == nil {
		f.wanted = map[string]*client.Lease{}
	}
	f.wanted[port] = l
	if !f.writing {
		f.writing = true
		f.done.Add(1)
		go r.writeLeases()
	}
}

// writeLeases writes what is wanted until nothing is.
func (r *Router) writeLeases() {
	f := &r.leaseFiles
	defer f.done.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.wanted) > 0 {
		for port, l := range f.wanted {
			f.mu.Unlock()
			if l == nil {
				r.removeLease(port)
			} else {
				r.writeLease(port, l)
			}
			f.mu.Lock()
			if f.wanted[port] == l {
				delete(f.wanted, port)
			}
			break // what is wanted may be something else now
		}
	}
	f.writing = false
}

func (r *Router) writeLease(port string, l *client.Lease) {
	path := r.leasePath(port)
	out := savedLease{
		Address: l.Addr, Server: l.Server.Netip(), Gateways: netipAddrs(l.Gateways), DNS: netipAddrs(l.DNS), NTP: netipAddrs(l.NTP),
		Domain: l.Domain, Search: l.Search, MTU: l.MTU, Options: l.Options,
		Acquired: l.Acquired, T1: l.T1, T2: l.T2, Expires: l.Expires,
	}
	for _, route := range l.Routes {
		out.Routes = append(out.Routes, savedRoute{route.To, route.Gateway.Netip()})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		r.log.Warn("a lease could not be saved; after a restart the port asks for an address anew", "port", port, "error", err)
	}
}

// loadLease is what the port had before a restart; nil: nothing.
func (r *Router) loadLease(port string) *client.Lease {
	path := r.leasePath(port)
	if path == "" {
		return nil
	}
	f := &r.leaseFiles
	f.mu.Lock()
	wanted, unwritten := f.wanted[port]
	f.mu.Unlock()
	if unwritten {
		return wanted
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var in savedLease
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err == nil && !(in.Address.IsValid() && in.Address.Addr().Is4() && in.Server.Is4()) {
		err = errors.New("address or server is missing")
	}
	if err != nil {
		r.log.Warn("a saved lease cannot be read; the port asks for an address anew", "port", port, "file", path, "error", err)
		return nil
	}
	l := &client.Lease{
		Addr: in.Address, Server: packet.AddrFrom(in.Server), Gateways: savedAddrs(in.Gateways), DNS: savedAddrs(in.DNS), NTP: savedAddrs(in.NTP),
		Domain: in.Domain, Search: in.Search, MTU: in.MTU, Options: in.Options,
		Acquired: in.Acquired, T1: in.T1, T2: in.T2, Expires: in.Expires,
	}
	for _, route := range in.Routes {
		if route.To.IsValid() && route.Gateway.Is4() {
			l.Routes = append(l.Routes, client.Route{To: route.To, Gateway: packet.AddrFrom(route.Gateway)})
		}
	}
	return l
}

// removeLease removes the file of a port that has no lease any longer.
func (r *Router) removeLease(port string) {
	if err := os.Remove(r.leasePath(port)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("a saved lease could not be removed", "port", port, "error", err)
	}
}
