package main

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

const noDNS = "DNS is not answered: a section `dns:` with `listen:` in the configuration starts it"

func (a *app) dnsCommand() *cobra.Command {
	dns := &cobra.Command{Use: "dns", Short: "forget answers of DNS"}
	dns.AddCommand(&cobra.Command{
		Use:               "flush [NAME]",
		Short:             "forget the answers that are kept, of one name or all",
		Long:              "Forget the answers that the router keeps: those of one name, or all.",
		Example:           "  vrctl dns flush\n  vrctl dns flush www.example.net",
		Args:              arguments(0, 1, "no more than one name"),
		ValidArgsFunction: a.completeFirst(cachedNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(func(c *client.Client) error {
				n, err := c.FlushDNS(cmd.Context(), strings.Join(args, ""))
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON([]api.DNSFlushed{{Entries: n}})
				}
				a.say("%s forgotten", several(n, "answer"))
				return nil
			})
		},
	})
	return dns
}

func (a *app) showDNS() *cobra.Command {
	dns := &cobra.Command{
		Use:     "dns",
		Short:   "the DNS forwarder, its cache and its upstreams; see also show dns cache and show dns names",
		Long:    "Show the DNS forwarder: where it listens, how its cache does, and the servers that it asks.",
		Example: "  vrctl show dns\n  vrctl show dns cache\n  vrctl show dns names home.arpa",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.DNS(ctx)
				return view{rows: filled(all), empty: noDNS, draw: func(s screen) string {
					var parts []string
					for _, d := range all {
						parts = append(parts, dnsWords(s, d))
					}
					return strings.Join(parts, "\n")
				}}, err
			})
		},
	}
	dns.AddCommand(a.showDNSCache(), a.showDNSNames())
	return dns
}

func dnsWords(s screen, d api.DNS) string {
	var b block
	b.add("listens on", text(commas(d.Listen)))
	b.add("domain", text(d.Domain))
	b.add("names", text(several(d.Names, "name")+" of the router, records, leases and reservations"))
	b.add("queries", text(fmt.Sprintf("%s, %s by TCP, %s truncated", count(d.Queries), count(d.QueriesTCP), count(d.Truncated))))
	b.add("answered", text(fmt.Sprintf("%s from here, %s from the cache, %s with a failure", count(d.AnsweredLocally), count(d.CacheHits), count(d.AnsweredFailed))))
	if d.NoSuchName > 0 {
		b.add("no such name", text(count(d.NoSuchName)+" of those from here"))
	}
	b.add("cache", text(fmt.Sprintf("%d of %s, %s, %s displaced", d.CacheEntries, several(d.CacheMax, "answer"), memory(uint64(d.CacheBytes)), count(d.CacheEvicted))))
	if asked := d.CacheHits + d.CacheMisses; asked > 0 {
		b.add("hits", text(fmt.Sprintf("%.1f%% of %s", 100*float64(d.CacheHits)/float64(asked), count(asked))))
	}
	b.add("outstanding", text(fmt.Sprintf("%d of %s", d.Outstanding, several(d.OutstandingMax, "question"))))
	if d.Connections > 0 {
		b.add("connections", text(strconv.Itoa(d.Connections)))
	}
	if len(d.Upstreams) == 0 {
		b.add("upstreams", cell{"none: only names that are known here are answered", yellow})
	}
	if d.AverageSeconds > 0 {
		b.add("upstreams take", text(milliseconds(d.AverageSeconds)+" ms"))
	}
	if d.RebindProtection {
		b.add("private answers", text("refused"))
	}
	b.add("refused", text(messagesRefused(d.Refused)))
	between := ""
	if len(d.NoSuchNames) > 0 && len(d.Refusals) > 0 {
		between = "\n"
	}
	return b.draw(s) + reasonTable(s, "NO NAME", d.NoSuchNames) + between + refusals(s, d.Refusals) + "\n" + upstreamsTable(d.Upstreams).draw(s)
}

func upstreamsTable(all []api.DNSUpstream) *table {
	t := newTable("", column{title: "UPSTREAM"}, column{title: "DOMAIN", optional: true}, column{title: "FROM"}, column{title: "STATE"},
		column{title: "LATENCY", right: true}, column{title: "QUERIES", right: true}, column{title: "ANSWERS", right: true, spare: true},
		column{title: "TIMEOUTS", right: true}, column{title: "FAILURES", right: true, spare: true}, column{title: "LAST SEEN", right: true, spare: true})
	for _, u := range all {
		latency := ""
		if u.LatencySeconds > 0 {
			latency = milliseconds(u.LatencySeconds) + " ms"
		}
		state := cell{u.State, map[string]style{"up": green, "silent": yellow, "down": red}[u.State]}
		t.add(cell{u.Address, bold}, text(u.Domain), text(u.Source), state, text(latency), text(count(u.Queries)), text(count(u.Answers)),
			bad(u.Timeouts), bad(u.Failures), text(lastSeen(u.LastSeenSeconds)))
	}
	return t
}

// showNames is a long table of DNS, narrowed down to a name and those below it.
func showNames[T any](a *app, cmd *cobra.Command, call func(*client.Client, context.Context, api.DNSQuery) iter.Seq2[client.Part[T], error], t *table, add func(*table, T)) *cobra.Command {
	limit := 0
	cmd.Args = arguments(0, 1, "no more than one name")
	cmd.Flags().IntVar(&limit, "limit", shownRows, "at most so many `rows`; 0 for all, which is what --json prints if nothing is said")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return usagef("--limit %d: a number from 0 up is wanted, 0 for all rows", limit)
		}
		q := api.DNSQuery{Name: strings.Join(args, "")}
		return showLong(a, cmd, long[T]{
			pages: func(ctx context.Context, c *client.Client, limit int) iter.Seq2[client.Part[T], error] {
				q.Limit = limit
				return call(c, ctx, q)
			},
			part: len(args) > 0, like: len(args) > 0, limit: limit, table: t, add: add,
			empty: func(ctx context.Context, c *client.Client) (string, error) {
				all, err := c.DNS(ctx)
				if err != nil || len(all) > 0 {
					return "", err
				}
				return noDNS, nil
			},
		})
	}
	return cmd
}

func (a *app) showDNSCache() *cobra.Command {
	return showNames(a, &cobra.Command{
		Use:               "cache [NAME]",
		Short:             "the answers that are kept; with a name, its own and those below it",
		Long:              "Show the answers of upstream servers that are kept, and for how long still; what the router answers\nitself is in show dns names. no_name and no_data are those that said that there is nothing.",
		ValidArgsFunction: a.completeFirst(cachedNames),
	}, (*client.Client).DNSCache,
		newTable("no answers", column{title: "NAME"}, column{title: "TYPE"}, column{title: "STATE"}, column{title: "TTL", right: true}, column{title: "HITS", right: true, spare: true}, column{title: "ANSWER"}),
		func(t *table, e api.DNSCacheEntry) {
			ttl := "local"
			if e.TTLSeconds > 0 {
				ttl = age(e.TTLSeconds)
			}
			t.add(cell{e.Name, bold}, text(e.Type), cell{e.State, map[string]style{"answer": green, "failure": red}[e.State]}, text(ttl), text(count(e.Hits)), text(commas(e.Answers)))
		})
}

func (a *app) showDNSNames() *cobra.Command {
	return showNames(a, &cobra.Command{
		Use:     "names [NAME]",
		Aliases: []string{"name"},
		Short:   "the names that are answered from here; with a name, its own and those below it",
		Long:    "Show the names that the router answers itself, and who has given each.",
	}, (*client.Client).DNSNames,
		newTable("no names", column{title: "NAME"}, column{title: "TYPE"}, column{title: "VALUE"}, column{title: "SOURCE"}),
		func(t *table, n api.DNSName) {
			name := cell{n.Name, bold}
			if n.Hidden {
				name.style = dim
			}
			t.add(name, text(n.Type), text(n.Value), text(n.Source))
			if n.Hidden {
				t.note("not answered: another source has the name")
			}
		})
}

// cachedNames for the shell.
func cachedNames(ctx context.Context, c *client.Client) ([]string, error) {
	var words []string
	for part, err := range c.DNSCache(ctx, api.DNSQuery{Limit: pageRows}) {
		if err != nil {
			return words, err
		}
		for _, e := range part.Rows {
			if len(words) == 0 || words[len(words)-1] != e.Name {
				words = append(words, e.Name)
			}
		}
	}
	return words, nil
}
