package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// manyRoutes is a configuration of n routes, each of which but every tenth relies on
// the one before.
func manyRoutes(n int) string {
	var b strings.Builder
	b.WriteString("name: r1\nports:\n  lan: {address: 10.0.0.1/24}\nroutes:\n")
	for i := range n {
		via := fmt.Sprintf("20.%d.%d.1", (i-1)>>8, (i-1)&0xff)
		if i%10 == 0 {
			via = "10.0.0.2"
		}
		fmt.Fprintf(&b, "  - {to: 20.%d.%d.0/24, via: %s}\n", i>>8, i&0xff, via)
	}
	return b.String()
}

func TestTenThousandRoutesAreRead(t *testing.T) {
	c := mustParse(t, manyRoutes(10_000))
	if len(c.Routes) != 10_000 {
		t.Fatalf("%d routes, want 10000", len(c.Routes))
	}
}

func TestMorePortsThanARouterHasNumbersForAreRefused(t *testing.T) {
	text := "name: r1\nports:\n"
	for i := range maxPorts + 1 {
		text += fmt.Sprintf("  p%d: {}\n", i)
	}
	if c := mustParse(t, text[:strings.LastIndex(text, "  p")]); len(c.Ports) != maxPorts {
		t.Errorf("%d ports, want %d", len(c.Ports), maxPorts)
	}
	_, err := Parse("r1.yaml", []byte(text))
	if err == nil || err.Error() != "r1.yaml:4099:3: a router has at most 4096 ports, these are 4097" {
		t.Errorf("got %v", err)
	}
}

func TestAFileBeyondTheLimitIsRefused(t *testing.T) {
	_, err := Parse("big.yaml", bytes.Repeat([]byte("#"), MaxSize+1))
	if err == nil || !strings.Contains(err.Error(), "larger than the 16 MiB") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkParseTenThousandRoutes(b *testing.B) {
	source := []byte(manyRoutes(10_000))
	for b.Loop() {
		if _, err := Parse("r1.yaml", source); err != nil {
			b.Fatal(err)
		}
	}
}
