package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// noCache is what [DNS.Cache] is where nothing is kept.
const noCache = -1

// defaultPerClient is how many questions of one address are under way at most where the file does not say.
const defaultPerClient = 150

// dns checks the section and adds it to the Config. It relies on the ports, on reach and on `nat`.
func (v *validator) dns() {
	raw := &v.raw.dns
	if raw.at == nil {
		return
	}
	out := &DNS{
		Domain: raw.domain.or(""), Cache: raw.cache.or(10_000), MinTTL: raw.minTTL.or(0), MaxTTL: raw.maxTTL.or(24 * time.Hour),
		LocalTTL: raw.localTTL.or(time.Minute), MaxQueries: raw.maxQueries.or(1000), Timeout: raw.timeout.or(2 * time.Second),
		RebindProtection: raw.rebindProtection.or(false), RebindAllow: unplaced(raw.rebindAllow), PrivateReverse: raw.privateReverse.or(false),
		Pos: Pos{raw.at.Line, raw.at.Column},
	}
	if out.Cache == 0 {
		out.Cache = noCache
	}
	out.MaxPerClient = raw.maxPerClient.or(min(defaultPerClient, out.MaxQueries))
	v.dnsListen(out)
	v.dnsUpstreams(out)
	v.dnsRecords(out)
	if special := []string{"localhost", "invalid", "onion", "arpa", "in-addr.arpa"}; raw.domain.good() && slices.Contains(special, out.Domain) {
		v.fail(raw.domain.at, "domain: %q has a meaning of its own (RFC 6761): choose another, such as home.arpa", out.Domain)
	}
	if raw.minTTL.good() && !raw.maxTTL.bad && out.MinTTL > out.MaxTTL {
		v.fail(raw.minTTL.at, "min_ttl, %s, is more than max_ttl, %s: exchange them, or leave one out", durationText(out.MinTTL), durationText(out.MaxTTL))
	}
	if raw.maxPerClient.good() && !raw.maxQueries.bad && out.MaxPerClient > out.MaxQueries {
		v.fail(raw.maxPerClient.at, "max_per_client, %d, is more than max_queries, %d: give a smaller one, or leave the key out", out.MaxPerClient, out.MaxQueries)
	}
	if raw.rebindAllow.good() && !raw.rebindProtection.bad && !out.RebindProtection {
		v.fail(raw.rebindAllow.at, "rebind_allow: nothing is refused that could be allowed: add `rebind_protection: true`, or remove the key")
	}
	for i, s := range raw.rebindAllow.v {
		if slices.Contains(out.RebindAllow[:i], s.v) {
			v.fail(s.at, "rebind_allow: %s stands twice: remove one", s.v)
		}
	}
	v.config.DNS = out
}

// dnsListen checks the ports on which questions are answered.
func (v *validator) dnsListen(out *DNS) {
	for i, name := range v.raw.dns.listen.v {
		out.Listen = append(out.Listen, name.v)
		v.portExists(name)
		switch p := v.byName[name.v]; {
		case slices.Contains(out.Listen[:i], name.v):
			v.fail(name.at, "listen: %q stands twice: remove one", name.v)
		case p == nil:
		case p.address.at == nil && !p.broken:
			v.fail(name.at, "listen: port %q has no address at which hosts could ask: give it one with `address:` under `ports:`", name.v)
		case slices.ContainsFunc(v.raw.nat, func(r *rawNAT) bool { return r.out.or("") == name.v }):
			v.fail(name.at, "listen: port %q is the outside of a nat rule, and anybody there could have questions answered: name the ports of the inside", name.v)
		}
	}
}

// dnsUpstreams checks the servers elsewhere. Those for everything are one set, whatever stands between them.
func (v *validator) dnsUpstreams(out *DNS) {
	byDomain := make(map[string]*yaml.Node)
	everything := -1
	for _, u := range v.raw.dns.upstream.v {
		for _, s := range u.servers.v {
			v.upstreamServer(s)
		}
		domain := u.domain.or("")
		if u.broken {
			continue
		}
		if domain == "" && everything >= 0 {
			all := &out.Upstreams[everything]
			for _, s := range u.servers.v {
				if slices.Contains(all.Servers, s.v) {
					v.fail(s.at, "upstream: %s stands twice: remove one", s.v)
				}
				all.Servers = append(all.Servers, s.v)
				if len(all.Servers) == maxServers+1 {
					v.fail(s.at, "upstream: with this one, more than %d servers are asked for everything: remove some", maxServers)
				}
			}
			continue
		}
		if first := byDomain[domain]; first != nil {
			v.fail(u.at, "upstream: the servers for %s stand already in line %d: put all of them there", domain, first.Line)
			continue
		}
		byDomain[domain] = u.at
		if domain == "" {
			everything = len(out.Upstreams)
		}
		set := DNSUpstream{Domain: domain, Servers: unplaced(u.servers), Pos: Pos{u.at.Line, u.at.Column}}
		for i, s := range u.servers.v {
			if slices.Contains(set.Servers[:i], s.v) {
				v.fail(s.at, "upstream: %s stands twice: remove one", s.v)
			}
		}
		out.Upstreams = append(out.Upstreams, set)
	}
	out.UpstreamDHCP = everything < 0 && slices.ContainsFunc(v.config.Ports, func(p Port) bool { return p.DHCP != nil && p.DHCP.DNS })
}

// upstreamServer refuses a server that cannot be asked.
func (v *validator) upstreamServer(s placed[netip.AddrPort]) {
	a := placed[netip.Addr]{v: s.v.Addr(), at: s.at}
	if !a.v.IsValid() {
		return
	}
	if fault := v.specialAddress(packet.AddrFrom(a.v)); fault != "" {
		v.fail(s.at, "upstream: %s is %s: give the address of a server", a.v, fault)
	} else if own := v.reach.own[a.v]; own != nil {
		v.fail(s.at, "upstream: %s is this router's own address (port %q), which would ask itself: give that of a server elsewhere", a.v, own.name)
	} else if _, subnet := v.reach.onSubnet(a.v); subnet.IsValid() {
		v.refuseEdge("upstream", a, subnet)
	}
}

// qualified completes a name without a dot by the domain.
func qualified(name, domain string) string {
	if name == "" || domain == "" || strings.Contains(name, ".") {
		return name
	}
	return name + "." + domain
}

// dnsRecords checks the static names.
func (v *validator) dnsRecords(out *DNS) {
	byName := make(map[string]*rawRecord)
	for _, r := range v.raw.dns.records {
		if !r.broken {
			v.dnsRecord(r, out, byName)
		}
		out.Records = append(out.Records, DNSRecord{
			Name: r.name, Addresses: unplaced(r.address), CNAME: r.cname.or(""), TXT: unplaced(r.txt), TTL: r.ttl.or(0), Pos: Pos{r.at.Line, r.at.Column},
		})
	}
	v.aliasLoops(byName)
	for _, e := range v.raw.dhcp {
		for _, host := range e.reservations {
			if r := byName[qualified(host.name.v, out.Domain)]; host.name.good() && r != nil && r.cname.good() {
				v.fail(r.cname.at, "cname: %q is the name of a reservation (line %d), and an alias has nothing else: give one of them another name", host.name.v, host.at.Line)
			}
		}
	}
}

func (v *validator) dnsRecord(r *rawRecord, out *DNS, byName map[string]*rawRecord) {
	name := qualified(r.name, out.Domain)
	if first := byName[name]; first != nil {
		v.fail(r.at, "records: %q is %s, which stands already in line %d: keep one of them", r.name, name, first.at.Line)
		return
	}
	byName[name] = r
	switch {
	case r.address.at == nil && r.cname.at == nil && r.txt.at == nil:
		v.fail(r.at, "records: %q says nothing of the name: add `address:`, `cname:` or `txt:`", r.name)
	case r.cname.at != nil && (r.address.at != nil || r.txt.at != nil):
		v.fail(r.cname.at, "cname: an alias has nothing else (RFC 1034 section 3.6.2): remove this, or `address:` and `txt:`")
	}
	for i, a := range r.address.v {
		if slices.ContainsFunc(r.address.v[:i], func(b placed[netip.Addr]) bool { return b.v == a.v }) {
			v.fail(a.at, "address: %s stands twice: remove one", a.v)
		}
	}
}

// aliasLoops refuses aliases that lead to themselves, once for each loop, at its first line.
func (v *validator) aliasLoops(byName map[string]*rawRecord) {
	domain := v.raw.dns.domain.or("")
	done := make(map[*rawRecord]bool)
	for _, r := range v.raw.dns.records {
		path := make(map[*rawRecord]bool)
		for at := r; at != nil && at.cname.good() && !done[at]; at = byName[qualified(at.cname.v, domain)] {
			if path[at] {
				v.fail(r.cname.at, "cname: %q leads back to itself: let one of the aliases name a host", r.name)
				break
			}
			path[at] = true
		}
		for at := range path {
			done[at] = true
		}
	}
}
