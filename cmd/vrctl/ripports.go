package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) showRIPPorts() *cobra.Command {
	return &cobra.Command{
		Use:               "ports [NAME...]",
		Aliases:           []string{"port"},
		Short:             "the ports that RIP runs on: how, and what went in and out",
		Long:              "Show the ports that RIP runs on. With names: all about these, and every reason for\nwhich packets or routes were refused there.",
		Args:              arguments(0, -1, "names of ports"),
		ValidArgsFunction: a.complete(ripPorts),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.RIPPorts(ctx)
				if err != nil || len(args) == 0 {
					return tableView(all, ripPortsTable(all)), err
				}
				chosen := make([]api.RIPPort, 0, len(args))
				for _, name := range args {
					i := slices.IndexFunc(all, func(p api.RIPPort) bool { return p.Name == name })
					if i < 0 {
						return view{}, fmt.Errorf("RIP does not run on a port %q: vrctl show rip ports lists those it runs on", name)
					}
					chosen = append(chosen, all[i])
				}
				return view{rows: chosen, draw: func(s screen) string { return ripPortBlocks(s, chosen) }}, nil
			})
		},
	}
}

func ripPortState(p api.RIPPort) cell {
	switch p.State {
	case "up":
		return cell{p.State, green}
	case "down":
		return cell{p.State, red}
	}
	return cell{p.State, dim}
}

func ripPortsTable(all []api.RIPPort) *table {
	t := newTable(noRIP,
		column{title: "NAME"}, column{title: "STATE"}, column{title: "SEND", spare: true}, column{title: "RECEIVE", spare: true}, column{title: "SPLIT HORIZON", spare: true},
		column{title: "AUTH", spare: true}, column{title: "COST", right: true, spare: true}, column{title: "NEIGHBORS", right: true}, column{title: "ROUTES", right: true},
		column{title: "NEXT UPDATE", right: true, spare: true}, column{title: "SENT", right: true}, column{title: "TRIGGERED", right: true, spare: true}, column{title: "RECEIVED", right: true},
		column{title: "BAD PACKETS", right: true}, column{title: "BAD ROUTES", right: true, spare: true})
	for _, p := range all {
		t.add(cell{p.Name, bold}, ripPortState(p), text(p.Send), text(p.Receive), text(p.SplitHorizon), text(p.Auth), text(strconv.Itoa(p.Cost)),
			text(strconv.Itoa(p.Neighbors)), text(strconv.Itoa(p.Routes)), text(nextUpdate(p)), text(count(p.UpdatesSent)), text(count(p.TriggeredSent)),
			text(count(p.UpdatesReceived)), bad(p.BadPackets), bad(p.BadRoutes))
		switch {
		case p.State == "down":
			t.note(p.Reason)
		default:
			t.note(mostlyBad(p.Bad))
		}
	}
	return t
}

func nextUpdate(p api.RIPPort) string {
	if p.NextUpdateSeconds < 0 {
		return "none"
	}
	return "in " + age(p.NextUpdateSeconds)
}

func ripPortBlocks(s screen, chosen []api.RIPPort) string {
	var parts []string
	for _, p := range chosen {
		var b block
		b.add("port", cell{p.Name, bold})
		b.add("state", ripPortState(p))
		if p.State == "down" {
			b.add("because", text(p.Reason))
		}
		b.add("passive", text(map[bool]string{true: "yes", false: "no"}[p.Passive]))
		b.add("sends", text("version "+strings.Replace(p.Send, "v2_broadcast", "2 by broadcast", 1)))
		b.add("accepts", text(map[bool]string{true: "both versions", false: "version " + p.Receive}[p.Receive == "both"]))
		b.add("split horizon", text(p.SplitHorizon))
		b.add("auth", text(p.Auth))
		b.add("cost", text(strconv.Itoa(p.Cost)))
		b.add("neighbors", text(strconv.Itoa(p.Neighbors)))
		b.add("routes", text(fmt.Sprintf("%d learned, %d kept out by a filter", p.Routes, p.Filtered)))
		b.add("next update", text(nextUpdate(p)))
		b.add("sent", text(fmt.Sprintf("%s, %d triggered, %s, %s; %s", plural(p.UpdatesSent, "update", "updates"), p.TriggeredSent,
			plural(p.QueriesSent, "query", "queries"), plural(p.AnswersSent, "answer", "answers"), plural(p.RoutesSent, "route", "routes"))))
		b.add("received", text(fmt.Sprintf("%s, %s; %s", plural(p.UpdatesReceived, "update", "updates"),
			plural(p.QueriesReceived, "query", "queries"), plural(p.RoutesReceived, "route", "routes"))))
		b.add("refused", text(refusedWords(p.BadPackets, p.BadRoutes)))
		parts = append(parts, b.draw(s)+reasons(s, p.Bad))
	}
	return strings.Join(parts, "\n")
}

// What the shell completes of RIP.

func ripPrefixes(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.RIPRoutes(ctx)
	seen := map[string]bool{}
	var words []string
	for _, r := range all {
		if !seen[r.Prefix] {
			seen[r.Prefix] = true
			words = append(words, r.Prefix+"\t"+strings.TrimSpace(fmt.Sprintf("metric %d %s", r.Metric, r.NextHop)))
		}
	}
	return words, err
}

func ripNeighbors(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.RIPNeighbors(ctx)
	var words []string
	for _, n := range all {
		words = append(words, n.Address+"\t"+ripNeighborState(n).text+" "+n.Port)
	}
	return words, err
}

func ripPorts(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.RIPPorts(ctx)
	var words []string
	for _, p := range all {
		words = append(words, p.Name+"\t"+p.State)
	}
	return words, err
}

// completeClear completes [neighbor ADDRESS | port NAME].
func (a *app) completeClear(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	stop := cobra.ShellCompDirectiveNoFileComp
	switch {
	case len(args) == 0:
		return beginning([]string{"neighbor", "port"}, begun), stop
	case len(args) == 1 && args[0] == "neighbor":
		return a.ask(ripNeighbors, begun), stop
	case len(args) == 1 && args[0] == "port":
		return a.ask(ripPorts, begun), stop
	}
	return nil, stop
}

// completeRIP completes what may follow "rip" in a condition.
func (a *app) completeRIP(args []string, begun string) []string {
	if len(args) == 0 {
		return beginning([]string{"route", "neighbor"}, begun)
	}
	switch args[len(args)-1] {
	case "route":
		return a.ask(ripPrefixes, begun)
	case "neighbor", "via", "from":
		return a.ask(ripNeighbors, begun)
	case "port":
		return a.ask(ripPorts, begun)
	case "metric", "tag":
		return nil
	}
	if args[0] == "neighbor" {
		return beginning([]string{"port"}, begun)
	}
	return beginning([]string{"metric", "via", "from", "port", "tag"}, begun)
}
