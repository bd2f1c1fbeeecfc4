package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// dns tells what is different in the section.
func (c *changes) dns(old, new *DNS) {
	switch {
	case old == nil && new == nil:
		return
	case old == nil:
		c.add("dns added, on port %s", strings.Join(new.Listen, ", "))
		return
	case new == nil:
		c.add("dns removed")
		return
	}
	c.fields("dns", dnsFields(old), dnsFields(new))
	compare(c, "dns: upstream", old.Upstreams, new.Upstreams, upstreamName, func(what string, old, new DNSUpstream) {
		c.long(what+": servers", serversText(old.Servers), serversText(new.Servers))
	})
	compare(c, "dns: record", old.Records, new.Records, func(r DNSRecord) string { return r.Name }, func(what string, old, new DNSRecord) {
		c.fields(what, recordFields(&old), recordFields(&new))
	})
}

// dnsFields writes the section key by key, without its upstreams and records; a test counts them. The order of ports means nothing.
func dnsFields(d *DNS) []keyText {
	return []keyText{
		{"listen", strings.Join(slices.Sorted(slices.Values(d.Listen)), " ")},
		{"domain", d.Domain},
		{"upstream from DHCP", strconv.FormatBool(d.UpstreamDHCP)},
		{"cache", strconv.Itoa(max(d.Cache, 0))},
		{"min_ttl", durationText(d.MinTTL)},
		{"max_ttl", durationText(d.MaxTTL)},
		{"local_ttl", durationText(d.LocalTTL)},
		{"max_queries", strconv.Itoa(d.MaxQueries)},
		{"max_per_client", strconv.Itoa(d.MaxPerClient)},
		{"timeout", durationText(d.Timeout)},
		{"rebind_protection", strconv.FormatBool(d.RebindProtection)},
		{"rebind_allow", strings.Join(slices.Sorted(slices.Values(d.RebindAllow)), " ")},
		{"private_reverse", strconv.FormatBool(d.PrivateReverse)},
	}
}

// upstreamName is what a set of servers is asked for.
func upstreamName(u DNSUpstream) string {
	if u.Domain == "" {
		return "for everything"
	}
	return "for " + u.Domain
}

// serversText writes servers without the port that all have.
func serversText(all []netip.AddrPort) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.String()
		if s.Port() == dnsPort {
			texts[i] = s.Addr().String()
		}
	}
	return strings.Join(texts, " ")
}

// recordFields writes a record key by key, without its name; a test counts them.
func recordFields(r *DNSRecord) []keyText {
	texts := make([]string, len(r.TXT))
	for i, s := range r.TXT {
		texts[i] = strconv.Quote(s)
	}
	return []keyText{
		{"address", addressesText(r.Addresses)},
		{"cname", r.CNAME},
		{"txt", strings.Join(texts, " ")},
		{"ttl", timeText(r.TTL)},
	}
}
