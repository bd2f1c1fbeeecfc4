package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

func TestPagesHoldEverySessionOnce(t *testing.T) {
	f := controltest.New("r1")
	f.Many = 25_000
	s := start(t, f, nil)
	seen, pages := map[string]bool{}, 0
	for cursor := ""; pages == 0 || cursor != ""; pages++ {
		var p api.SessionPage
		status, _, body := request(t, httpTo(t, s.Path()), "GET", "/v1/sessions?limit=10000&cursor="+cursor, "")
		if err := json.Unmarshal([]byte(body), &p); status != 200 || err != nil {
			t.Fatalf("%d %v %.200s", status, err, body)
		}
		if lines := strings.Count(body, "\n"); lines != len(p.Sessions) || lines > maxPageRows {
			t.Errorf("page %d has %d lines for %d sessions: a row a line is wanted", pages, lines, len(p.Sessions))
		}
		if p.Total != 25_006 {
			t.Errorf("total is %d", p.Total)
		}
		for _, row := range p.Sessions {
			key := row.Protocol + row.Inside + row.Remote
			if seen[key] {
				t.Fatalf("%s came twice", key)
			}
			seen[key] = true
		}
		cursor = p.Next
	}
	if pages != 3 || len(seen) != 25_006 {
		t.Errorf("%d sessions in %d pages", len(seen), pages)
	}
}

func TestAPageHasAThousandRowsUnlessTheClientSays(t *testing.T) {
	f := controltest.New("r1")
	f.Many = 2000
	s := start(t, f, nil)
	for query, want := range map[string]int{"": 1000, "?limit=7": 7, "?limit=5000": 2006, "?protocol=6": 3, "?address=203.0.113.7": 2, "?port=53&limit=10": 10, "?protocol=TCP&address=10.1.0.2&port=22": 1} {
		var p api.SessionPage
		status, _, body := request(t, httpTo(t, s.Path()), "GET", "/v1/sessions"+query, "")
		if err := json.Unmarshal([]byte(body), &p); status != 200 || err != nil || len(p.Sessions) != want {
			t.Errorf("%q: %d %v, %d rows; want %d", query, status, err, len(p.Sessions), want)
		}
	}
}

func TestNATSessionsAreThoseThatAreTranslated(t *testing.T) {
	s := start(t, controltest.New("r1"), nil)
	for path, want := range map[string]int{"/v1/sessions": 6, "/v1/nat/sessions": 5} {
		if _, _, body := request(t, httpTo(t, s.Path()), "GET", path, ""); strings.Count(body, `"inside"`) != want {
			t.Errorf("%s: want %d rows: %s", path, want, body)
		}
	}
}

// explained is a Backend that tells what it was asked.
type explained struct {
	api.Backend
	asked *api.ExplainRequest
}

func (e explained) Explain(r api.ExplainRequest) (api.Explanation, error) {
	*e.asked = r
	return api.Explanation{}, nil
}

func TestAPacketToBeExplainedIsWholeWhenTheBackendSeesIt(t *testing.T) {
	var got api.ExplainRequest
	s := start(t, explained{controltest.New("r1"), &got}, nil)
	const ends = `"in":"lan","src":"10.1.0.2","dst":"203.0.113.7"`
	base := api.ExplainRequest{In: "lan", Src: "10.1.0.2", Dst: "203.0.113.7", Protocol: "icmp", SrcPort: 1, ICMPType: 8, TTL: 64, Length: 28}
	for more, change := range map[string]func(*api.ExplainRequest){
		"":                                 func(*api.ExplainRequest) {},
		`,"icmp_type":0,"sport":7,"ttl":1`: func(r *api.ExplainRequest) { r.ICMPType, r.SrcPort, r.TTL = 0, 7, 1 },
		`,"protocol":"6","dport":80`: func(r *api.ExplainRequest) {
			r.Protocol, r.SrcPort, r.DstPort, r.TCPFlags, r.Length = "tcp", 49152, 80, "S", 40
		},
		`,"protocol":"TCP","dport":80,"flags":"s.","length":1500,"df":true`: func(r *api.ExplainRequest) {
			r.Protocol, r.SrcPort, r.DstPort, r.TCPFlags, r.Length, r.DF = "tcp", 49152, 80, "SA", 1500, true
		},
		`,"protocol":"tcp","dport":80,"flags":"none"`: func(r *api.ExplainRequest) {
			r.Protocol, r.SrcPort, r.DstPort, r.TCPFlags, r.Length = "tcp", 49152, 80, "none", 40
		},
		`,"protocol":"udp","dport":53,"sport":5353`: func(r *api.ExplainRequest) { r.Protocol, r.SrcPort, r.DstPort = "udp", 5353, 53 },
		`,"protocol":"47"`:                          func(r *api.ExplainRequest) { r.Protocol, r.SrcPort, r.Length = "47", 0, 20 },
	} {
		want := base
		change(&want)
		status, _, body := request(t, httpTo(t, s.Path()), "POST", "/v1/explain", "{"+ends+more+"}")
		if status != http.StatusOK || got != want {
			t.Errorf("%s: %d %s, the backend was asked\n%+v, want\n%+v", more, status, body, got, want)
		}
		if !strings.Contains(body, `"steps":[]`) {
			t.Errorf("no steps are an array: %s", body)
		}
	}
}

// Who speaks with whom is not for everybody's eyes, even where the tables are.
func TestSessionsAreForOperatorsAndRulesForReaders(t *testing.T) {
	want := map[string]access{"GET /v1/nat": reads, "GET /v1/firewall": reads, "GET /v1/firewall/sets": reads, "GET /v1/firewall/sets/{name}": reads,
		"GET /v1/nat/sessions": inspects, "GET /v1/nat/mappings": inspects, "GET /v1/sessions": inspects, "POST /v1/explain": inspects,
		"GET /v1/dhcp": reads, "GET /v1/dhcp/leases": reads, "GET /v1/dns": reads, "GET /v1/dns/names": reads, "GET /v1/dns/cache": inspects}
	s := &Server{}
	for _, e := range s.endpoints() {
		name := fmt.Sprintf("%s %s", e.method, e.path)
		if a, ok := want[name]; ok && a != e.access {
			t.Errorf("%s: access %d, want %d", name, e.access, a)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not served", name)
	}
	s.openRead.Store(true)
	c := &call{Server: s, peer: &peer{Peer: api.Peer{Name: "guest"}}}
	if err := c.permit(endpoint{access: inspects}); err == nil {
		t.Error("a guest may inspect")
	}
	if err := c.permit(endpoint{access: reads}); err != nil {
		t.Errorf("a guest may read: %v", err)
	}
}
