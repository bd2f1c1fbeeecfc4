package dns

import (
	"net/netip"
	"slices"
	"time"
)

const (
	silentLimit  = 3                // tries without an answer after which a server is down
	firstRetry   = time.Second      // until a silent server is tried again, doubled with each further silence
	lastRetry    = 30 * time.Second // but no longer than that
	measureAgain = 5 * time.Minute  // so long after its last question a server that others are faster than is measured again
	plainTime    = time.Hour        // for which a server that knows no EDNS is asked without
	refusalLimit = 5                // refusals in a row after which a server comes after those that do not refuse
)

// server is an upstream server; several groups may have it.
type server struct {
	addr      netip.AddrPort
	silent    int // tries in a row without an answer
	refusals  int // in a row
	down      bool
	retryAt   time.Duration // of a silent one
	probing   bool          // a question is on its way in the background
	latency   time.Duration // smoothed; 0: it has never answered
	asked     time.Duration // when, last
	everAsked bool
	heard     time.Duration // when, last
	everHeard bool
	plain     time.Duration // until then it is asked without EDNS

	open                                 int
	queries, answers, timeouts, failures uint64
}

// group is the servers for a domain.
type group struct {
	domain  string // as messages have it
	servers []*server
}

// addServers adds servers to a group. What is known of one from another group, or from before a change of the configuration, stays known.
func (m *Machine) addServers(g *group, all []netip.AddrPort) {
	for _, a := range all {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		s := m.servers[a]
		if s == nil {
			s = &server{addr: a}
			m.servers[a] = s
		}
		if !slices.Contains(g.servers, s) {
			g.servers = append(g.servers, s)
		}
	}
}

// forgetServers forgets those that no group has any longer.
func (m *Machine) forgetServers() {
	used := map[*server]bool{}
	for _, p := range m.places {
		if p.group != nil {
			for _, s := range p.group.servers {
				used[s] = true
			}
		}
	}
	for a, s := range m.servers {
		if !used[s] {
			delete(m.servers, a)
		}
	}
}

// better reports whether a server is to be asked before another, which stands before it in the configuration: it is the less silent, does not
// refuse, or is clearly the faster.
func (s *server) better(than *server) bool {
	if s.silent != than.silent {
		return s.silent < than.silent
	}
	if r, o := s.refusals >= refusalLimit, than.refusals >= refusalLimit; r != o {
		return o
	}
	if s.latency == 0 || than.latency == 0 {
		return s.latency != 0 && than.everAsked
	}
	return s.latency+s.latency/4+2*time.Millisecond < than.latency
}

// wantsProbe reports whether a server that is passed over is to be asked in the background, to know how it does.
func (s *server) wantsProbe(now time.Duration) bool {
	if s.probing {
		return false
	}
	if s.silent > 0 {
		return now >= s.retryAt
	}
	return !s.everAsked || now-s.asked >= measureAgain
}

// answered notes that a server lives.
func (m *Machine) answered(a *ask) {
	s := a.server
	s.answers++
	s.heard, s.everHeard, s.silent = m.now, true, 0
	took := m.now - a.sent
	if s.latency == 0 {
		s.latency = max(took, time.Microsecond)
	} else {
		s.latency += (took - s.latency) / 8
		s.latency = max(s.latency, time.Microsecond)
	}
	if s.down {
		m.turn(s, false)
	}
}

// wasSilent notes that a server did not answer, or could not be reached. One that has answered something else meanwhile is not silent: a packet was lost.
func (m *Machine) wasSilent(a *ask) {
	s := a.server
	if s.everHeard && s.heard > a.sent {
		return
	}
	s.silent++
	s.retryAt = m.now + min(firstRetry<<min(s.silent-1, 10), lastRetry)
	if s.silent >= silentLimit && !s.down {
		m.turn(s, true)
	}
}

// turn makes a server down or up, and tells it unless it is configured no longer.
func (m *Machine) turn(s *server, down bool) {
	s.down = down
	if m.servers[s.addr] == s {
		m.act(UpstreamEvent{s.addr, !down})
	}
}
