package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// authCase is a way to authenticate, at a peer that has it, too.
type authCase struct {
	host, kind string // of rip.keys
	peer       string // frr or bird
	theirs     string // how the peer is told
}

func authCases() []authCase {
	bird := func(algorithm string) string {
		return `authentication cryptographic; password "between-us" { id 7; algorithm ` + algorithm + `; };`
	}
	chain := "key chain ours\n key 7\n  key-string between-us\n!\n"
	return []authCase{
		{"fsimple", "simple", "frr", "interface eth0\n ip rip authentication mode text\n ip rip authentication string between-us\n!\n"},
		{"fmd5", "md5", "frr", chain + "interface eth0\n ip rip authentication mode md5 auth-length rfc\n ip rip authentication key-chain ours\n!\n"},
		// The length that FRR states by default is that of old ripds.
		{"fold", "md5", "frr", chain + "interface eth0\n ip rip authentication mode md5 auth-length old-ripd\n ip rip authentication key-chain ours\n!\n"},
		{"bsimple", "simple", "bird", `authentication plaintext; password "between-us";`},
		{"bmd5", "md5", "bird", bird("keyed md5")},
		{"bsha1", "hmac-sha1", "bird", bird("hmac sha1")},
		{"bsha256", "hmac-sha256", "bird", bird("hmac sha256")},
		{"bsha384", "hmac-sha384", "bird", bird("hmac sha384")},
		{"bsha512", "hmac-sha512", "bird", bird("hmac sha512")},
	}
}

// authLab is a router with a port to each peer; every port has the key chain of its case.
func authLab(t *testing.T, cases []authCase, secret string) (*router, []ripPeer) {
	var names []string
	for _, c := range cases {
		names = append(names, c.host)
	}
	l := newLab(t, names...)
	var ports, keys, rip strings.Builder
	for i, c := range cases {
		fmt.Fprintf(&ports, "  %s: {netns: {%s}, device: eth0, address: 10.9.%d.1/24, host: {address: 10.9.%d.2/24}}\n", c.host, c.host, i, i)
		fmt.Fprintf(&keys, "    %s: {type: %s, keys: [{id: 7, secret: %q}]}\n", c.host, c.kind, secret)
		fmt.Fprintf(&rip, "    %s: {auth: %s}\n", c.host, c.host)
	}
	r := l.router("r1", "ports:\n"+ports.String()+"rip:\n  timers: {update: 1s, timeout: 20s, garbage: 3s}\n  keys:\n"+keys.String()+
		"  ports:\n"+rip.String()+"  redistribute: {static: {metric: 3}}\nroutes:\n  - {to: 198.51.100.0/24, type: blackhole}\n")
	var all []ripPeer
	for i, c := range cases {
		h := l.hosts[c.host]
		h.ip("addr", "add", fmt.Sprintf("172.20.%d.1/32", i), "dev", "lo")
		if c.peer == "frr" {
			all = append(all, h.frr(c.theirs+frrRIP))
		} else {
			all = append(all, h.bird(strings.ReplaceAll(birdRIP, "update time 2;", "update time 2; "+c.theirs)))
		}
	}
	return r, all
}

func TestRIPAuthenticatesWithEachKindThatFRRAndBIRDHave(t *testing.T) {
	t.Parallel()
	cases := authCases()
	r, all := authLab(t, cases, "between-us")
	for i, c := range cases {
		learns(t, c.host, all[i], 30*time.Second, map[string]ripRoute{"198.51.100.0/24": {via: fmt.Sprintf("10.9.%d.1", i), metric: 4}})
		r.has(30*time.Second, "routes", "prefix", fmt.Sprintf("172.20.%d.1/32", i), "protocol", "rip", "port", c.host, "selected", "true")
		n := r.has(time.Second, "rip neighbors", "port", c.host, "address", fmt.Sprintf("10.9.%d.2", i), "auth", c.kind, "up", "true")
		// FRR asks without authentication when it starts; that is not answered.
		if n.number(t, "bad_packets") > n.bad("rip_auth_missing") || c.peer == "bird" && n.number(t, "bad_packets") > 0 {
			t.Errorf("with %s: expected no update refused, got %v", c.host, n)
		}
	}
}

func TestRIPRefusesPeersWithAnotherSecretAndSaysWhy(t *testing.T) {
	t.Parallel()
	cases := authCases()
	r, all := authLab(t, cases, "somebody's")
	for i, c := range cases {
		reason := "rip_auth_digest"
		if c.kind == "simple" {
			reason = "rip_auth_password"
		}
		eventually(t, 30*time.Second, "packets of "+c.host+" refused", func() error {
			n := find(r.rows("rip", "neighbors"), "port", c.host)
			if n == nil || n.bad(reason) == 0 {
				return fmt.Errorf("none for %s: %v", reason, n)
			}
			return nil
		})
		if n := find(r.rows("rip", "neighbors"), "port", c.host); n["up"] != false || n.number(t, "routes") != 0 {
			t.Errorf("expected %s to count as no neighbour, got %v", c.host, n)
		}
		if route := find(r.rows("routes"), "prefix", fmt.Sprintf("172.20.%d.1/32", i)); route != nil {
			t.Errorf("learned from %s: %v", c.host, route)
		}
		if table := all[i].rip(); len(table) > 0 {
			t.Errorf("expected %s to refuse us as we refuse it, it has %v", c.host, table)
		}
	}
}
