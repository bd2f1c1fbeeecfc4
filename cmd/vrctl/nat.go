package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

const (
	noNAT      = "nothing is translated: a section `nat:` or `forwards:` in the configuration starts it"
	noSessions = "no sessions: packets are tracked where the configuration has a section `nat:`, `forwards:` or `firewall:`"
)

func (a *app) showNAT() *cobra.Command {
	nat := &cobra.Command{
		Use:   "nat",
		Short: "the rules of NAT and the forwards; see also show nat sessions and show nat mappings",
		Long: `Show the rules of NAT and the port forwards, with the sessions and mappings that they
have at present and the sessions that they have made since the start. The first rule that matches
counts. LINE is that of the configuration; what hosts have asked for by NAT-PMP, PCP or UPnP has none.`,
		Example: "  vrctl show nat\n  vrctl show nat sessions --address 192.168.1.5\n  vrctl show nat mappings --port 80",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.NATRules(ctx)
				return tableView(filled(all), natTable(all)), err
			})
		},
	}
	nat.AddCommand(a.showSessions(true), a.showMappings())
	return nat
}

func natTable(all []api.NATRule) *table {
	t := newTable(noNAT,
		column{title: "TYPE"}, column{title: "PORT"}, column{title: "NAME", optional: true, spare: true}, column{title: "MATCH", flexible: true, least: 24},
		column{title: "OUTSIDE"}, column{title: "TO", optional: true}, column{title: "FILTERING", optional: true, spare: true},
		column{title: "SESSIONS", right: true}, column{title: "MAPPINGS", right: true, spare: true}, column{title: "CREATED", right: true, spare: true},
		column{title: "LINE", right: true, optional: true, spare: true})
	for _, r := range all {
		kind := cell{r.Type, bold}
		if r.Kind != "rule" && r.Kind != "forward" {
			kind = cell{r.Kind, plain} // who asked for it
		}
		if r.Type == "none" {
			kind.style = dim
		}
		t.add(kind, text(r.Port), text(r.Name), text(r.Match), text(someOf(r.Outside)), text(r.To), text(r.Filtering),
			text(strconv.Itoa(r.Sessions)), text(strconv.Itoa(r.Mappings)), text(count(r.Created)), text(lineNumber(r.Line)))
	}
	return t
}

// someOf a list that may be a pool of thousands.
func someOf(list []string) string {
	if len(list) > 2 {
		return fmt.Sprintf("%s and %s more", list[0], grouped(len(list)-1))
	}
	return commas(list)
}

func lineNumber(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

const filterHelp = `--address, --port and --protocol show only those that have it at any of their ends; of a table
with more than a thousand rows the first thousand are printed, or as many as --limit says.`

// showSessions is show sessions, and show nat sessions for those that NAT has to do with.
func (a *app) showSessions(natOnly bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "sessions",
		Aliases: []string{"session"},
		Short:   "who speaks with whom through the router, as it tracks them",
		Long: `Show the sessions that the router tracks, with or without NAT. INSIDE is who is on the
inside, OUTSIDE what the remote sees of it where that is translated, and ` + "`in`" + ` a session that
was opened from outside.

` + filterHelp,
		Example: "  vrctl show sessions\n  vrctl show sessions --address 192.168.1.5 --protocol tcp\n  vrctl show sessions --port 53 --watch\n  vrctl --json show sessions --limit 100",
		Args:    arguments(0, 0, ""),
	}
	if natOnly {
		cmd.Short = "the sessions that are translated"
		cmd.Long = "Show the sessions that NAT has to do with. INSIDE is the address behind NAT, OUTSIDE what the\nremote sees of it, and `in` a session that was opened from outside.\n\n" + filterHelp
		cmd.Example = "  vrctl show nat sessions\n  vrctl show nat sessions --address 192.168.1.5\n  vrctl --json show nat sessions --port 443"
	}
	chosen := a.selectSessions(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := chosen.query()
		if err != nil {
			return err
		}
		q.NATOnly = natOnly
		return showLong(a, cmd, long[api.Session]{
			pages: pagesOf((*client.Client).Sessions, q), part: filtered(q) || natOnly, like: filtered(q), limit: chosen.limit, table: sessionsTable(), add: addSession,
			empty: func(ctx context.Context, c *client.Client) (string, error) { return whyNoSessions(ctx, c, natOnly) },
		})
	}
	return cmd
}

// whyNoSessions is "" where there could be some.
func whyNoSessions(ctx context.Context, c *client.Client, natOnly bool) (string, error) {
	rules, err := c.NATRules(ctx)
	switch {
	case err != nil || len(rules) > 0:
		return "", err
	case natOnly:
		return noNAT, nil
	}
	if rules, err := c.FirewallRules(ctx); err != nil || len(rules) > 0 {
		return "", err
	}
	return noSessions, nil
}

func sessionsTable() *table {
	return newTable("no sessions",
		column{title: "PROTO"}, column{title: "INSIDE"}, column{title: "OUTSIDE", spare: true}, column{title: "REMOTE"}, column{title: "DIR"},
		column{title: "STATE"}, column{title: "IDLE", right: true, spare: true}, column{title: "EXPIRES", right: true},
		column{title: "OUT", right: true, spare: true}, column{title: "BYTES OUT", right: true, spare: true},
		column{title: "IN", right: true, spare: true}, column{title: "BYTES IN", right: true, spare: true},
		column{title: "NAT", spare: true}, column{title: "RULE", spare: true})
}

func addSession(t *table, s api.Session) {
	outside := s.Outside
	if outside == s.Inside {
		outside = ""
	}
	t.add(text(s.Protocol), cell{s.Inside, bold}, text(outside), text(s.Remote), text(s.Direction), cell{s.State, sessionStyle(s.State)},
		text(age(s.IdleSeconds)), text(age(s.ExpiresSeconds)), text(count(s.PacketsOut)), text(octets(s.BytesOut)),
		text(count(s.PacketsIn)), text(octets(s.BytesIn)), text(s.NAT), text(s.Rule))
}

func sessionStyle(state string) style {
	switch {
	case state == "established" || state == "replied":
		return green
	case state == "unreplied" || strings.HasPrefix(state, "syn"):
		return yellow
	}
	return dim
}

func (a *app) showMappings() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "mappings",
		Aliases: []string{"mapping"},
		Short:   "which outside port is whose, and who asked for it",
		Long: `Show the mappings of inside addresses and ports to those outside. BY is who has made one:
traffic, nat_pmp, pcp, upnp or helper. Those of traffic live as long as a session uses them,
the others until they expire. REMOTE is the only one who may use it.

` + filterHelp,
		Example: "  vrctl show nat mappings\n  vrctl show nat mappings --address 192.168.1.5",
		Args:    arguments(0, 0, ""),
	}
	chosen := a.selectSessions(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := chosen.query()
		if err != nil {
			return err
		}
		return showLong(a, cmd, long[api.NATMapping]{
			pages: pagesOf((*client.Client).Mappings, q), part: filtered(q), like: filtered(q), limit: chosen.limit, table: mappingsTable(), add: addMapping,
			empty: func(ctx context.Context, c *client.Client) (string, error) {
				rules, err := c.NATRules(ctx)
				if err != nil || len(rules) > 0 {
					return "", err
				}
				return noNAT, nil
			},
		})
	}
	return cmd
}

func mappingsTable() *table {
	return newTable("no mappings",
		column{title: "PROTO"}, column{title: "INSIDE"}, column{title: "OUTSIDE"}, column{title: "REMOTE", spare: true},
		column{title: "BY"}, column{title: "OWNER", spare: true}, column{title: "SESSIONS", right: true},
		column{title: "EXPIRES", right: true, spare: true}, column{title: "FILTERING", spare: true}, column{title: "RULE", spare: true})
}

func addMapping(t *table, m api.NATMapping) {
	expires := ""
	if m.ExpiresSeconds > 0 {
		expires = age(m.ExpiresSeconds)
	}
	by := cell{m.By, plain}
	if m.By == "traffic" {
		by.style = dim
	}
	t.add(text(m.Protocol), cell{m.Inside, bold}, text(m.Outside), text(m.Remote), by, text(m.Owner), text(strconv.Itoa(m.Sessions)),
		text(expires), text(m.Filtering), text(m.Rule))
}
