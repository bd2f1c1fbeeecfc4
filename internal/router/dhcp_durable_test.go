package router

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/leases"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/server"
)

func TestWhatOneTurnOfTheLoopStoresIsOneBatchOfTheJournal(t *testing.T) {
	d := &slowDisk{}
	l := onDisk(t, d, served)
	w := stationsOn(t, l, "lan")
	var all []*station
	var requests []server.Receive
	for n := range 20 {
		s := w.station(n + 1)
		s.send(s.message(dhcp.Discover), 0, 0)
		offer := s.next(dhcp.Offer)
		requests = append(requests, server.Receive{
			Link: s.mac, Dst: ip4("255.255.255.255"), SrcPort: dhcp.ClientPort, Payload: s.selects(offer).Append(nil),
		})
		all = append(all, s)
	}
	l.do(func() {
		for _, e := range requests {
			e.Port = server.PortID(l.ports["lan"].id)
			l.serverStep(time.Now(), e)
		}
	})
	d.asked(t, 1)
	d.mu.Lock()
	if len(d.groups) != 1 || len(d.groups[0]) != len(all) {
		t.Errorf("%d batches, the first of %d leases", len(d.groups), len(d.groups[0]))
	}
	d.mu.Unlock()
	d.answer(nil)
	for _, s := range all {
		s.next(dhcp.ACK)
	}
	if held := l.counter("dhcp_answers_held"); held != uint64(len(all)) {
		t.Errorf("%d answers were held", held)
	}
}

// fullDisk takes nothing, as a journal that is too far behind.
type fullDisk struct{ slowDisk }

func (*fullDisk) Append([]server.Lease, func(error)) error { return leases.ErrFull }

func TestAJournalThatIsBehindAcknowledgesNothing(t *testing.T) {
	l := newLab(t, homeHosts(), Options{StateDir: t.TempDir(), openJournal: func(string, *Router) (leaseJournal, []server.Lease, error) { return &fullDisk{}, nil, nil }})
	l.begin(served)
	s := stationsOn(t, l, "lan").station(1)
	s.send(s.message(dhcp.Discover), 0, 0)
	s.send(s.selects(s.next(dhcp.Offer)), 0, 0)
	l.happens("dhcp_journal_failed")
	s.silent("refused by the journal")
	if n := l.counter("dhcp_answers_withheld"); n != 1 {
		t.Errorf("%d answers were withheld", n)
	}
}

func TestASavedLeaseThatIsDamagedIsPassedOver(t *testing.T) {
	for what, text := range map[string]string{
		"no JSON":    "lease",
		"no address": `{"server": "203.0.113.9"}`,
		"gateways":   `{"address": "203.0.113.50/24", "server": "203.0.113.9", "gateways": ["", "2001:db8::1"], "expires": "2001-01-01T00:00:00Z"}`,
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "dhcp-client-wan.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l, s := homeServed(t, uplink, Options{StateDir: dir})
			s.lends("203.0.113.51/24", "203.0.113.9", 3600)
			l.hasAddress("wan", "203.0.113.51/24")
			eventually(t, "the file is the new lease's", func() bool {
				text, err := os.ReadFile(filepath.Join(dir, "dhcp-client-wan.json"))
				return err == nil && strings.Contains(string(text), "203.0.113.51/24")
			})
		})
	}
}
