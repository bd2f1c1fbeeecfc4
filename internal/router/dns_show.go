package router

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vrouterd/internal/control/api"
	"vrouterd/pkg/dns"
)

// DNS is the row of `show dns`.
func (r *Router) DNS() (rows []api.DNS) {
	r.do(func() {
		d, c := r.dns, r.config.DNS
		if d.machine == nil || c == nil {
			return
		}
		now := time.Now()
		n, cache := d.machine.Counters(), d.machine.CacheStats()
		row := api.DNS{
			Listen: slices.Clone(c.Listen), Domain: c.Domain, RebindProtection: c.RebindProtection,
			CacheEntries: cache.Entries, CacheMax: cache.MaxEntries, CacheBytes: cache.Octets,
			CacheHits: cache.Hits, CacheMisses: cache.Misses, CacheEvicted: cache.Evicted,
			Queries: n.Queries, QueriesTCP: n.QueriesTCP, AnsweredLocally: n.Local, AnsweredFailed: n.Failed, Truncated: n.Truncated,
			Outstanding: cache.Outstanding, OutstandingMax: cache.MaximumOutstanding, Connections: len(d.streams),
		}
		row.Names, _ = d.machine.NameCount()
		var sum time.Duration
		heard := 0
		for _, u := range d.machine.Upstreams(now) {
			row.Upstreams = append(row.Upstreams, r.dnsUpstreamRow(&u))
			if u.Latency > 0 {
				sum += u.Latency
				heard++
			}
		}
		if heard > 0 {
			row.AverageSeconds = (sum / time.Duration(heard)).Seconds()
		}
		row.Refusals, row.Refused = dnsRefusalRows(r.dnsDrops())
		row.NoSuchNames, row.NoSuchName = dnsRefusalRows(dnsReasons(&n, true))
		rows = append(rows, row)
	})
	return rows
}

func (r *Router) dnsUpstreamRow(u *dns.UpstreamRow) api.DNSUpstream {
	row := api.DNSUpstream{
		Address: u.Server.String(), Domain: u.Domain, Source: r.upstreamSource(u.Domain, u.Server), State: u.State.String(), LatencySeconds: u.Latency.Seconds(),
		Queries: u.Queries, Answers: u.Answers, Timeouts: u.Timeouts, Failures: u.Failures, Outstanding: u.Outstanding, LastSeenSeconds: -1,
	}
	if u.LastAnswer >= 0 {
		row.LastSeenSeconds = u.LastAnswer.Seconds()
	}
	return row
}

// dnsRefusalRows are the reasons that have happened, the most frequent first, and how often in all.
func dnsRefusalRows(all []api.Drop) (rows []api.Refusal, sum uint64) {
	for _, d := range all {
		if sum += d.Packets; d.Packets > 0 {
			rows = append(rows, api.Refusal{Reason: d.Reason, Description: d.Description, Count: d.Packets})
		}
	}
	slices.SortStableFunc(rows, func(a, b api.Refusal) int { return cmp.Compare(b.Count, a.Count) })
	return rows, sum
}

// dnsReasons are the machine's reasons: those for which a name was said not to exist, or the others.
func dnsReasons(n *dns.Counters, noSuchName bool) (rows []api.Drop) {
	for reason := dns.ReasonNone + 1; reason < dns.NumReasons; reason++ {
		if reason.NoSuchName() == noSuchName {
			rows = append(rows, api.Drop{Reason: reason.String(), Description: reason.Description(), Packets: n.Refused[reason]})
		}
	}
	return rows
}

// dnsDrops are the messages that DNS refused, or did not believe. That a name does not exist is an answer, and none of these.
func (r *Router) dnsDrops() (rows []api.Drop) {
	d := r.dns
	if d.machine == nil {
		return nil
	}
	n := d.machine.Counters()
	rows = dnsReasons(&n, false)
	for reason, words := range dnsRefusals {
		rows = append(rows, api.Drop{Reason: words.name, Description: words.sentence, Packets: d.refused[reason]})
	}
	return rows
}

// DNSCache is a page of `show dns cache`. The cursor is the name that the page before ended with.
func (r *Router) DNSCache(q api.DNSQuery) (page api.DNSCachePage, err error) {
	page.Next, err = r.dnsPage(q, func(p dns.Part) (next string) {
		page.Total = r.dns.machine.CacheStats().Entries
		rows, next := r.dns.machine.Cache(time.Now(), p)
		for _, row := range rows {
			page.Entries = append(page.Entries, api.DNSCacheEntry{
				Name: row.Name, Type: row.Type, State: row.State(), TTLSeconds: row.TTL.Seconds(), Hits: row.Hits, Answers: row.Records(maxShownRecords),
			})
		}
		return next
	}, func() int { return len(page.Entries) })
	return page, err
}

const (
	// maxShownRecords is how many records of an answer a table shows.
	maxShownRecords = 16
	// dnsTurnNames and dnsTurnRows are how many names of a long table one turn of the control loop looks at, and about how many rows it makes of them:
	// a few milliseconds.
	dnsTurnNames = 1000
	dnsTurnRows  = 250
)

// dnsPage fills a page, part by part, each in a turn of its own: a million answers hold nobody up.
func (r *Router) dnsPage(q api.DNSQuery, part func(dns.Part) (next string), rows func() int) (next string, err error) {
	next = q.Cursor
	for {
		p := dns.Part{Below: q.Name, Behind: next, Names: dnsTurnNames, Rows: min(dnsTurnRows, q.Limit-rows())}
		next = ""
		err := r.do(func() {
			if r.dns.machine != nil {
				next = part(p)
			}
		})
		if err != nil || next == "" || rows() >= q.Limit {
			return next, err
		}
	}
}

// DNSNames is a page of `show dns names`. The cursor is the name that the page before ended with.
func (r *Router) DNSNames(q api.DNSQuery) (page api.DNSNamePage, err error) {
	page.Next, err = r.dnsPage(q, func(p dns.Part) (next string) {
		answered, hidden := r.dns.machine.NameCount()
		page.Total = answered + hidden
		rows, next := r.dns.machine.Names(p)
		for _, row := range rows {
			page.Names = append(page.Names, api.DNSName{Name: row.Name, Type: row.Type, Value: row.Value, Source: row.Source, Hidden: row.Hidden})
		}
		return next
	}, func() int { return len(page.Names) })
	return page, err
}

// FlushDNS forgets the answers of a name, or all, and tells how many.
func (r *Router) FlushDNS(_ api.Peer, name string) (n int, err error) {
	stopped := r.do(func() {
		if r.dns.machine == nil {
			err = &api.Error{Code: api.Conflict, Message: "DNS is not configured: a section `dns:` starts it"}
			return
		}
		r.dns.flushed = 0
		r.dnsStep(time.Now(), dns.Flush{Name: name})
		n = r.dns.flushed
		what := "all answers"
		if name != "" {
			what = "the answers of " + name
		}
		r.event("dns_flushed", name, what+" forgotten: "+plural(n, "answer"), map[string]string{"name": name, "answers": strconv.Itoa(n)})
	})
	if stopped != nil {
		return 0, stopped
	}
	return n, err
}

// dnsCounters are what else DNS counts.
func (r *Router) dnsCounters(add func(name, description string, v uint64)) {
	if r.dns.machine == nil {
		return
	}
	n, cache := r.dns.machine.Counters(), r.dns.machine.CacheStats()
	add("dns_queries", "DNS messages from clients", n.Queries)
	add("dns_queries_tcp", "of them by TCP", n.QueriesTCP)
	add("dns_answers_local", "DNS answers from names that are known here", n.Local)
	add("dns_answers_cached", "DNS answers from the cache", n.Cached)
	add("dns_answers_forwarded", "DNS answers from upstream servers", n.Forwarded)
	add("dns_answers_failed", "DNS answers that tell of a failure (SERVFAIL)", n.Failed)
	add("dns_answers_truncated", "DNS answers that were too long for UDP", n.Truncated)
	add("dns_asked", "DNS questions that went to upstream servers", n.Asked)
	add("dns_asked_tcp", "DNS messages to upstream servers by TCP", n.AskedTCP)
	add("dns_joined", "DNS queries that waited for a question that was on its way already", n.Joined)
	for _, one := range dnsReasons(&n, true) {
		add(one.Reason, one.Description, one.Packets)
	}
	add("dns_cache_evicted", "DNS answers that left the cache before their time", cache.Evicted)
}

// collectDNS sends the gauges of DNS; what counts up is among the counters and drops.
func (c collector) collectDNS(gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, uint64, ...string)) {
	for _, row := range c.r.DNS() {
		gauge(dnsCacheEntries, float64(row.CacheEntries))
		gauge(dnsCacheBytes, float64(row.CacheBytes))
		gauge(dnsOutstanding, float64(row.Outstanding))
		gauge(dnsConnections, float64(row.Connections))
		gauge(dnsNames, float64(row.Names))
		for i := range row.Upstreams {
			u := &row.Upstreams[i]
			up := 0.0
			if u.State == dns.UpstreamUp.String() {
				up = 1
			}
			gauge(dnsUpstreamUp, up, u.Address, u.Domain)
			gauge(dnsUpstreamLatency, u.LatencySeconds, u.Address, u.Domain)
			counter(dnsUpstreamQueries, u.Queries, u.Address, u.Domain)
			counter(dnsUpstreamTimeouts, u.Timeouts, u.Address, u.Domain)
		}
	}
}

var (
	dnsCacheEntries     = desc("dns_cache_entries", "DNS answers that are kept.")
	dnsCacheBytes       = desc("dns_cache_bytes", "Memory of the DNS answers that are kept, octets.")
	dnsOutstanding      = desc("dns_outstanding", "DNS questions that are on their way upstream.")
	dnsConnections      = desc("dns_connections", "Connections of DNS clients by TCP.")
	dnsNames            = desc("dns_names", "Names that are answered from here.")
	dnsUpstreamUp       = desc("dns_upstream_up", "1 while an upstream server answers.", "server", "domain")
	dnsUpstreamLatency  = desc("dns_upstream_latency_seconds", "Smoothed time that an upstream server takes to answer.", "server", "domain")
	dnsUpstreamQueries  = desc("dns_upstream_queries_total", "Questions to an upstream server.", "server", "domain")
	dnsUpstreamTimeouts = desc("dns_upstream_timeouts_total", "Questions that an upstream server did not answer in time.", "server", "domain")
)
