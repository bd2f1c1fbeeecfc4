package igd

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// Options of a server, for its life.
type Options struct {
	Gateway Gateway
	Seed    []byte    // what identifies this router, the same after a restart: an address of its hardware, its name
	Name    string    // for people; "": vrouterd
	Version string    // of the program; "": 1
	Boot    time.Time // when the router was started: clients notice restarts by it
}

// Config of a server, which may change while it runs.
type Config struct {
	Port     uint16        // of the HTTP side, on every address that announces it
	MaxLease time.Duration // what mappings get at most, and where no end is asked for; 1 s and more; 0: 24 h
	// Permitted tells who may ask at all; nil: nobody. It is called from many goroutines.
	Permitted func(netip.Addr) bool
}

func (c *Config) permits(a netip.Addr) bool { return c.Permitted != nil && c.Permitted(a) }

// Stats counts what has come.
type Stats struct {
	Searches     uint64 // answered
	NoSearches   uint64 // datagrams that are something else, as other devices' announcements are, or broken
	OtherTargets uint64 // searches for what this is not
	Limited      uint64 // searches beyond what is answered within a second
	Strangers    uint64 // datagrams and connections of those who may not ask, or can be nobody
	Crowded      uint64 // connections beyond what one host, or all, may have
	Documents    uint64 // given
	Actions      uint64 // done
	Faults       uint64 // actions refused with an error
	WrongHost    uint64 // requests for another name than the address that they came to
	BadRequests  uint64 // other requests that make no sense, subscriptions among them
}

type counters struct {
	searches, noSearches, otherTargets, limited, strangers, crowded,
	documents, actions, faults, wrongHost, badRequests atomic.Uint64
}

// Server answers. All its methods may be called from any goroutine.
type Server struct {
	gateway       Gateway
	seed          []byte
	name, version string
	boot          uint32

	config     atomic.Pointer[Config]
	root       *device
	services   map[string]*service
	files      map[string][]byte
	searchable []target
	budget     budget
	count      counters
}

// New makes a server.
func New(o Options, c Config) (*Server, error) {
	if o.Gateway == nil {
		return nil, errors.New("igd: a gateway is needed")
	}
	if o.Name == "" {
		o.Name = "vrouterd"
	}
	if o.Version == "" {
		o.Version = "1"
	}
	s := &Server{
		gateway: o.Gateway, seed: append([]byte(nil), o.Seed...), name: o.Name, version: strings.Join(strings.Fields(o.Version), "-"),
		boot: uint32(max(0, o.Boot.Unix())) & 0x7fffffff, root: gatewayTree(), services: map[string]*service{},
	}
	var walk func(d *device)
	walk = func(d *device) {
		for _, v := range d.services {
			s.services[v.name] = v
		}
		for _, part := range d.devices {
			walk(part)
		}
	}
	walk(s.root)
	s.files = s.documents()
	s.searchable = s.targets()
	return s, s.Configure(c)
}

// Configure replaces the configuration. Mappings keep the ends that they have.
func (s *Server) Configure(c Config) error {
	if c.MaxLease == 0 {
		c.MaxLease = 24 * time.Hour
	}
	if c.MaxLease < time.Second {
		return fmt.Errorf("igd: the longest lease of %v is not within 1s and more", c.MaxLease)
	}
	if c.Port == 0 {
		return errors.New("igd: a port for the HTTP side is needed, 1 to 65535")
	}
	s.config.Store(&c)
	return nil
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Searches: s.count.searches.Load(), NoSearches: s.count.noSearches.Load(), OtherTargets: s.count.otherTargets.Load(),
		Limited: s.count.limited.Load(), Strangers: s.count.strangers.Load(), Crowded: s.count.crowded.Load(),
		Documents: s.count.documents.Load(), Actions: s.count.actions.Load(), Faults: s.count.faults.Load(),
		WrongHost: s.count.wrongHost.Load(), BadRequests: s.count.badRequests.Load(),
	}
}
