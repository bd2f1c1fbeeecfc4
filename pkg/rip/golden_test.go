package rip

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGoldenDialogues plays the files of testdata: each line that is not indented is something that
// happens to a router, the indented ones below it are what it does. With UPDATE_GOLDEN=1 the
// files are written anew.
//
//	up PORT ADDRESS/LEN...    down PORT          after DURATION     clear      shutdown
//	hears PORT FROM: PREFIX METRIC [tag N] [via ADDRESS]; ...       asks PORT FROM
//	redistribute PROTOCOL PREFIX [METRIC]        gone PREFIX        rows       # a remark
func TestGoldenDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d dialogues found: %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Fatalf("the dialogue is now:\n%s", got)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	cfg := both()
	cfg.Redistribute = map[Protocol]RedistributeRule{ProtocolStatic: {}, ProtocolConnected: {}}
	s := &station{t: t, m: newMachine(cfg), now: start}
	ports := map[string]PortID{"core": core, "lan": lan}
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue
		}
		out.WriteString(line + "\n")
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		var did []string
		switch f[0] {
		case "up":
			e := PortUp{Port: ports[f[1]]}
			for _, a := range f[2:] {
				e.Addresses = append(e.Addresses, pfx(a))
			}
			did = s.step(e)
		case "down":
			did = s.step(PortDown{ports[f[1]]})
		case "after":
			d, err := time.ParseDuration(f[1])
			if err != nil {
				t.Fatal(err)
			}
			did = s.after(d)
		case "hears":
			_, list, _ := strings.Cut(line, ": ")
			did = s.hears(ports[f[1]], strings.TrimSuffix(f[2], ":"), update(strings.Split(list, "; ")...))
		case "asks":
			did = s.step(with(from520(query()), func(r *Receive) { r.Port, r.Src = ports[f[1]], addr(f[2]) }))
		case "redistribute":
			e := Redistribute{Prefix: pfx(f[2]), Protocol: ProtocolStatic}
			if f[1] == "connected" {
				e.Protocol = ProtocolConnected
			}
			if len(f) > 3 {
				fmt.Sscan(f[3], &e.Metric)
			}
			did = s.step(e)
		case "gone":
			did = s.step(Redistribute{Prefix: pfx(f[1]), Gone: true})
		case "clear":
			did = s.step(Clear{All: true})
		case "shutdown":
			did = s.step(Shutdown{})
		case "rows":
			for _, r := range s.m.Routes(s.now) {
				from := "itself"
				if r.From != 0 {
					from = netip.Addr.String(r.From.Netip())
				}
				mark := " "
				if r.Selected {
					mark = "*"
				}
				did = append(did, fmt.Sprintf("%s %v by %s, metric %d, %v, %s, expires in %v", mark, r.Prefix, from, r.Metric, r.State, r.Source, r.Expires.Round(time.Second)))
			}
		default:
			t.Fatalf("unknown line %q", line)
		}
		for _, l := range did {
			out.WriteString("    " + l + "\n")
		}
	}
	return out.String()
}
