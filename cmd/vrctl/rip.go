package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

const noRIP = "RIP is not spoken: a section `rip:` with `ports:` in the configuration starts it"

func (a *app) ripCommand() *cobra.Command {
	rip := &cobra.Command{Use: "rip", Short: "forget what RIP has learned, and ask for it anew"}
	rip.AddCommand(&cobra.Command{
		Use:   "clear [neighbor ADDRESS | port NAME]",
		Short: "forget the routes of a neighbor, of a port or all, and ask for them anew",
		Long: `Forget the routes that RIP has learned, and ask for them anew: those of one
neighbor, those learned on one port, or all.`,
		Example:           "  vrctl rip clear\n  vrctl rip clear neighbor 10.0.0.2\n  vrctl rip clear port core",
		Args:              arguments(0, 2, "neighbor ADDRESS, port NAME, or nothing"),
		ValidArgsFunction: a.completeClear,
		RunE: func(cmd *cobra.Command, args []string) error {
			what, err := parseClear(args)
			if err != nil {
				return err
			}
			return a.with(func(c *client.Client) error {
				n, err := c.RIPClear(cmd.Context(), what)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON([]api.RIPCleared{{Routes: n}})
				}
				a.say("%s forgotten, and asked for anew", several(n, "route"))
				return nil
			})
		},
	})
	return rip
}

// parseClear reads [neighbor ADDRESS | port NAME].
func parseClear(args []string) (what api.RIPClear, err error) {
	switch {
	case len(args) == 0:
		return what, nil
	case !slices.Contains([]string{"neighbor", "neighbour", "port", "dev"}, args[0]):
		return what, usagef("%q: neighbor ADDRESS or port NAME is wanted", args[0])
	case len(args) == 1:
		return what, usagef("%s: a value is wanted after it", args[0])
	case args[0] == "port" || args[0] == "dev":
		what.Port = args[1]
		return what, nil
	}
	if address, err := netip.ParseAddr(args[1]); err != nil || !address.Is4() {
		return what, usagef("%q is not an IPv4 address like 10.0.0.2", args[1])
	}
	what.Neighbor = args[1]
	return what, nil
}

// ripView is a table of RIP. Why it is empty, tell its ports.
func ripView(ctx context.Context, c *client.Client, rows any, t *table, empty string) (view, error) {
	v := tableView(rows, t)
	if len(t.rows) > 0 {
		return v, nil
	}
	ports, err := c.RIPPorts(ctx)
	if v.empty = noRIP; len(ports) > 0 {
		v.empty = empty
	}
	return v, err
}

func (a *app) showRIP() *cobra.Command {
	rip := &cobra.Command{
		Use:   "rip [PREFIX]",
		Short: "what RIP knows and announces; see also show rip neighbors and show rip ports",
		Long: `Show what RIP knows and announces. A * marks what it uses; equal-cost paths of one
prefix stand below each other. What is lost is announced as unreachable, metric 16,
until it is forgotten. With a PREFIX: what lies in that network.`,
		Example:           "  vrctl show rip\n  vrctl show rip 10.0.0.0/8\n  vrctl show rip neighbors\n  vrctl show rip ports",
		Args:              arguments(0, 1, "no more than one network"),
		ValidArgsFunction: a.completeFirst(ripPrefixes),
		RunE: func(cmd *cobra.Command, args []string) error {
			within := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if len(args) == 1 {
				s, err := network(args[0])
				if err != nil {
					return err
				}
				within = netip.MustParsePrefix(s) // network has parsed it
			}
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.RIPRoutes(ctx)
				if err != nil {
					return view{}, err
				}
				all = slices.DeleteFunc(filled(all), func(r api.RIPRoute) bool {
					p, err := netip.ParsePrefix(r.Prefix)
					return len(args) == 1 && (err != nil || p.Bits() < within.Bits() || !within.Contains(p.Addr()))
				})
				return ripView(ctx, c, all, ripTable(all), "RIP knows no such route")
			})
		},
	}
	rip.AddCommand(a.showRIPNeighbors(), a.showRIPPorts())
	return rip
}

func ripTable(all []api.RIPRoute) *table {
	t := newTable(noRIP,
		column{title: " "}, column{title: "PREFIX"}, column{title: "NEXT HOP"}, column{title: "FROM"}, column{title: "PORT"}, column{title: "SOURCE"},
		column{title: "METRIC", right: true}, column{title: "TAG", right: true, optional: true}, column{title: "STATE"}, column{title: "EXPIRES", right: true})
	var before api.RIPRoute
	for i, r := range all {
		prefix, mark, rest := cell{r.Prefix, dim}, cell{" ", plain}, dim
		if r.Selected {
			prefix.style, mark, rest = bold, cell{"*", green}, plain
		}
		// Equal-cost paths are one group.
		if i > 0 && before.Prefix == r.Prefix && before.Selected == r.Selected {
			prefix = cell{}
		}
		before = r
		from, state := cell{r.From, rest}, cell{r.State, rest}
		if r.From == "" {
			from = cell{"self", dim}
		}
		switch {
		case r.State == "garbage":
			mark, prefix.style, state.style = cell{" ", plain}, dim, red
		case r.Selected:
			state.style = green
		}
		tag, expires := "", ""
		if r.Tag != 0 {
			tag = strconv.Itoa(r.Tag)
		}
		if r.ExpiresSeconds > 0 {
			expires = age(r.ExpiresSeconds)
		}
		t.add(mark, prefix, cell{r.NextHop, rest}, from, cell{r.Port, rest}, cell{r.Source, rest},
			cell{strconv.Itoa(r.Metric), rest}, cell{tag, rest}, state, cell{expires, rest})
		if r.State == "garbage" {
			t.note("unreachable, and announced so until it is forgotten")
		}
	}
	return t
}

func (a *app) showRIPNeighbors() *cobra.Command {
	return &cobra.Command{
		Use:               "neighbors [ADDRESS]",
		Aliases:           []string{"neighbor", "neighbours", "neighbour"},
		Short:             "the routers that RIP has heard, and what was wrong with their packets",
		Long:              "Show the routers that RIP has heard. With an ADDRESS: all that is known of it, and every\nreason for which its packets or routes were refused.",
		Args:              arguments(0, 1, "no more than one address"),
		ValidArgsFunction: a.completeFirst(ripNeighbors),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.RIPNeighbors(ctx)
				if err != nil {
					return view{}, err
				}
				if len(args) == 0 {
					return ripView(ctx, c, all, ripNeighborsTable(all), "RIP has heard no neighbor")
				}
				chosen := slices.DeleteFunc(slices.Clone(all), func(n api.RIPNeighbor) bool { return n.Address != args[0] })
				if len(chosen) == 0 {
					return view{}, fmt.Errorf("RIP has not heard %s: vrctl show rip neighbors lists whom it has", args[0])
				}
				return view{rows: chosen, draw: func(s screen) string { return ripNeighborBlocks(s, chosen) }}, nil
			})
		},
	}
}

// ripNeighborState in a word: refused is who was heard, and never with a packet that was good.
func ripNeighborState(n api.RIPNeighbor) cell {
	switch {
	case n.Up:
		return cell{"up", green}
	case n.LastSeenSeconds < 0:
		return cell{"refused", red}
	}
	return cell{"silent", yellow}
}

func ripNeighborsTable(all []api.RIPNeighbor) *table {
	t := newTable("RIP has heard no neighbor",
		column{title: "ADDRESS"}, column{title: "PORT"}, column{title: "STATE"}, column{title: "VERSION", right: true, spare: true}, column{title: "LAST SEEN", right: true},
		column{title: "ROUTES", right: true}, column{title: "UPDATES", right: true, spare: true}, column{title: "QUERIES", right: true, spare: true}, column{title: "AUTH", spare: true},
		column{title: "BAD PACKETS", right: true}, column{title: "BAD ROUTES", right: true})
	for _, n := range all {
		t.add(cell{n.Address, bold}, text(n.Port), ripNeighborState(n), text(ripVersion(n.Version)), text(lastSeen(n.LastSeenSeconds)), text(strconv.Itoa(n.Routes)),
			text(count(n.Updates)), text(count(n.Queries)), text(n.Auth), bad(n.BadPackets), bad(n.BadRoutes))
		t.note(mostlyBad(n.Bad))
	}
	return t
}

// bad is a count that should be zero.
func bad(n uint64) cell {
	if n > 0 {
		return cell{count(n), yellow}
	}
	return text("0")
}

// mostlyBad says why packets or routes were refused: the most frequent reason, in words.
func mostlyBad(all []api.RIPBad) string {
	var sum uint64
	for _, b := range all {
		sum += b.Count
	}
	switch len(all) {
	case 0:
		return ""
	case 1:
		return strings.TrimSuffix(all[0].Description, ".")
	}
	return fmt.Sprintf("%s (%s of %s)", strings.TrimSuffix(all[0].Description, "."), count(all[0].Count), count(sum))
}

func ripVersion(v int) string {
	if v == 0 {
		return "?"
	}
	return strconv.Itoa(v)
}

func lastSeen(seconds float64) string {
	if seconds < 0 {
		return "never"
	}
	return age(seconds)
}

func ripNeighborBlocks(s screen, chosen []api.RIPNeighbor) string {
	var parts []string
	for _, n := range chosen {
		var b block
		b.add("neighbor", cell{n.Address, bold})
		b.add("port", text(n.Port))
		b.add("state", ripNeighborState(n))
		b.add("version", text(ripVersion(n.Version)))
		b.add("last seen", text(lastSeen(n.LastSeenSeconds)))
		b.add("routes", text(fmt.Sprintf("%d learned, %d kept out by a filter", n.Routes, n.Filtered)))
		b.add("received", text(fmt.Sprintf("%s, %s", plural(n.Updates, "update", "updates"), plural(n.Queries, "query", "queries"))))
		b.add("auth", text(authWords(n)))
		b.add("refused", text(refusedWords(n.BadPackets, n.BadRoutes)))
		parts = append(parts, b.draw(s)+reasons(s, n.Bad))
	}
	return strings.Join(parts, "\n")
}

func authWords(n api.RIPNeighbor) string {
	if n.AuthSequence == 0 {
		return n.Auth
	}
	return fmt.Sprintf("%s, sequence number %d", n.Auth, n.AuthSequence)
}

func refusedWords(packets, routes uint64) string {
	if packets == 0 && routes == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s, %s", plural(packets, "packet", "packets"), plural(routes, "route", "routes"))
}

func plural(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatUint(n, 10) + " " + more
}

// reasons are why packets and routes were refused, all of them.
func reasons(s screen, all []api.RIPBad) string {
	t := newTable("", column{title: "REFUSED", right: true}, column{title: "REASON"}, column{title: "DESCRIPTION", flexible: true})
	for _, b := range all {
		t.add(text(plural(b.Count, map[bool]string{true: "route", false: "packet"}[b.Routes], map[bool]string{true: "routes", false: "packets"}[b.Routes])),
			cell{b.Reason, bold}, text(b.Description))
	}
	return t.draw(s)
}
