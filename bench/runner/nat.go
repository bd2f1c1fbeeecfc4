package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The contenders of `bench/run -nat`: host A is inside, host B outside. The rules of the larger rule sets match
// nothing that is sent, so that each new session meets all of them.

// natHome is NAT with the firewall of a home.
const natHome = `nat:
  - {out: b, type: masquerade}
firewall: home
`

// natRules is NAT and a firewall with n rules.
func natRules(n int) string {
	var b strings.Builder
	b.WriteString(`nat:
  - {out: b, type: masquerade}
firewall:
  zones: {inside: {ports: [a]}, outside: {ports: [b]}}
  policy:
    - {from: inside, to: outside, action: accept}
    - {from: outside, to: inside, action: drop}
    - {from: outside, to: router, action: drop}
  rules:
`)
	for i := range n {
		protocol := [...]string{"tcp", "udp"}[i%2]
		fmt.Fprintf(&b, "    - {from: inside, to: outside, source: 10.%d.%d.0/26, destination: 172.%d.0.0/16, protocol: %s, port: %d, action: drop}\n",
			16+i/250, i%250, 16+i%16, protocol, 10_000+i)
	}
	return b.String()
}

// kernelNFT is the kernel with masquerade and a stateful filter.
type kernelNFT struct{ kernel }

const nftRules = `table ip nat {
  chain postrouting { type nat hook postrouting priority 100;
    oifname "port-b" masquerade
  }
}
table ip filter {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "port-a" oifname "port-b" accept
  }
}
`

func (k kernelNFT) start(s *site, n int) error {
	if err := k.kernel.start(s, n); err != nil {
		return err
	}
	cmd := exec.CommandContext(s.ctx, "ip", "netns", "exec", s.r, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(nftRules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// newSessions is which benchmark of pkg/dataplane makes sessions with a contender's policy.
func newSessions(contender string) string {
	return map[string]string{"vrouterd-nat": "rules=0", "vrouterd-rules10": "rules=10", "vrouterd-rules1000": "rules=1000"}[contender]
}

// takeNew makes new sessions in memory, without devices: the router's own time for one.
func takeNew(s *site, name string, o options) (turn, error) {
	binary := filepath.Join(s.dir, "dataplane.test")
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		cmd := exec.CommandContext(s.ctx, "go", "test", "-c", "-o", binary, "./pkg/dataplane")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go test -c ./pkg/dataplane: %w\n%s", err, text)
		}
	}
	out, err := s.output(o.limit(), binary, "-test.run", "^$", "-test.bench", "^BenchmarkNewSessionUnderRules$/^"+newSessions(name)+"$", "-test.benchtime", o.turn.String())
	if err != nil {
		return nil, err
	}
	ns, err := parseBenchmark(out)
	if err != nil {
		return nil, err
	}
	return turn{"new": ns}, nil
}

// parseBenchmark reads the nanoseconds of the only benchmark in a report of `go test`.
func parseBenchmark(text []byte) (float64, error) {
	found := regexp.MustCompile(`(?m)^Benchmark\S+\s+\d+\s+([0-9.]+) ns/op`).FindAllSubmatch(text, -1)
	if len(found) != 1 {
		return 0, fmt.Errorf("expected one benchmark, found %d in: %s", len(found), text)
	}
	return strconv.ParseFloat(string(found[0][1]), 64)
}
