package main

import (
	"strings"
	"testing"

	"vrouterd/internal/control/api"
)

func TestDNSWithoutUpstreamsSaysThatNothingElseIsAnswered(t *testing.T) {
	const words = "upstreams    none: only names that are known here are answered\n"
	d := api.DNS{Listen: []string{"lan"}}
	if got := dnsWords(screen{}, d); !strings.Contains(got, words) || strings.Contains(got, "UPSTREAM") {
		t.Errorf("got\n%s", got)
	}
	d.Upstreams = []api.DNSUpstream{{Address: "9.9.9.9:53", State: "up"}}
	if got := dnsWords(screen{}, d); strings.Contains(got, words) {
		t.Errorf("with an upstream:\n%s", got)
	}
}
