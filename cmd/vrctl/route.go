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

const routeSyntax = `A route is written as ip(8) takes it:

  PREFIX [via ADDRESS]... [port NAME] [metric N] [distance N] [tag N] [type TYPE]
  blackhole|unreachable|prohibit PREFIX [metric N] [distance N] [tag N]

PREFIX is a network, an address (a /32) or "default"; several via share the
traffic; "dev" is the same as port. TYPE is unicast, blackhole, unreachable or prohibit.`

func (a *app) routeCommand() *cobra.Command {
	route := &cobra.Command{Use: "route", Aliases: []string{"routes"}, Short: "add or delete a static route"}
	route.AddCommand(
		&cobra.Command{
			Use:   "add PREFIX [via ADDRESS]... [port NAME] [metric N] [distance N] [tag N] [type TYPE]",
			Short: "add a static route to the running router",
			Long:  "Add a static route to the running router. vrctl config save keeps it.\n\n" + routeSyntax,
			Example: "  vrctl route add 10.0.0.0/8 via 10.1.0.2\n  vrctl route add default via 10.9.0.2 port wan metric 5\n" +
				"  vrctl route add 10.2.0.0/16 via 10.0.0.2 via 10.0.0.3\n  vrctl route add blackhole 192.0.2.0/24",
			Args:              arguments(1, -1, "a route"),
			ValidArgsFunction: a.completeRoute(false),
			RunE: func(cmd *cobra.Command, args []string) error {
				r, err := parseRoute(args)
				if err != nil {
					return err
				}
				if len(r.Via) == 0 && r.Port == "" && (r.Type == "" || r.Type == "unicast") {
					return usagef("a route to %s leads nowhere: add via ADDRESS, port NAME, or a type like blackhole", r.To)
				}
				return a.with(func(c *client.Client) error { return c.AddRoute(cmd.Context(), r) })
			},
		},
		&cobra.Command{
			Use:               "del PREFIX [via ADDRESS]... [port NAME] [metric N] [distance N] [tag N] [type TYPE]",
			Aliases:           []string{"delete", "remove"},
			Short:             "delete a static route from the running router",
			Long:              "Delete a static route; what is left out is not compared.\n\n" + routeSyntax,
			Example:           "  vrctl route del 10.0.0.0/8\n  vrctl route del 10.2.0.0/16 via 10.0.0.3",
			Args:              arguments(1, -1, "a route"),
			ValidArgsFunction: a.completeRoute(true),
			RunE: func(cmd *cobra.Command, args []string) error {
				r, err := parseRoute(args)
				if err != nil {
					return err
				}
				return a.with(func(c *client.Client) error { return c.DeleteRoute(cmd.Context(), r) })
			},
		},
	)
	return route
}

var routeTypes = []string{"unicast", "blackhole", "unreachable", "prohibit"}

// parseRoute reads a route as ip(8) users write it.
func parseRoute(args []string) (r api.RouteSpec, err error) {
	if slices.Contains(routeTypes, args[0]) {
		r.Type, args = args[0], args[1:]
		if len(args) == 0 {
			return r, usagef("%s what? write a network like 10.0.0.0/8 after it", r.Type)
		}
	}
	if r.To, err = network(args[0]); err != nil {
		return r, err
	}
	for args = args[1:]; len(args) > 0; args = args[2:] {
		key := args[0]
		if slices.Contains(routeTypes, key) && r.Type == "" { // `add 10.0.0.0/8 blackhole` can only mean that
			r.Type = key
			args = append([]string{""}, args...)
			continue
		}
		if len(args) < 2 {
			return r, usagef("%s: a value is wanted after it", key)
		}
		value := args[1]
		switch key {
		case "via":
			hop, e := netip.ParseAddr(value)
			if e != nil || !hop.Is4() {
				return r, usagef("via %s: an IPv4 address like 10.1.0.2 is wanted", value)
			}
			r.Via = append(r.Via, value)
		case "port", "dev":
			r.Port = value
		case "type":
			if !slices.Contains(routeTypes, value) {
				return r, usagef("type %s: one of %s is wanted", value, commas(routeTypes))
			}
			r.Type = value
		case "metric":
			r.Metric, err = number(key, value, 0, 1<<31-1)
		case "distance":
			r.Distance, err = number(key, value, 1, 255)
		case "tag":
			r.Tag, err = number(key, value, 0, 1<<32-1)
		default:
			return r, usagef("%q is not a part of a route: via, port, metric, distance, tag and type are", key)
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// network from a prefix, an address or the word default.
func network(s string) (string, error) {
	if s == "default" {
		return "0.0.0.0/0", nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return s + "/32", nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return "", usagef("%q is not an IPv4 network: write it like 10.1.0.0/24, or default", s)
	}
	if p != p.Masked() {
		return "", usagef("%s has bits beyond its prefix length: %s is the network", s, p.Masked())
	}
	return p.String(), nil
}

func (a *app) showRoutes() *cobra.Command {
	return &cobra.Command{
		Use:     "routes [ADDRESS | PREFIX]",
		Aliases: []string{"route"},
		Short:   "routes; with an address, the route that a packet to it takes and why",
		Long: `Show the routes of all sources. A * marks those that are in use; several next
hops of one route stand below each other.

With an ADDRESS: the route that a packet to it takes, and why it won. With a
PREFIX: the routes in that network.`,
		Example:           "  vrctl show routes\n  vrctl show route 10.9.1.1\n  vrctl show routes 10.0.0.0/8",
		Args:              arguments(0, 1, "one address or network"),
		ValidArgsFunction: a.completeFirst(prefixes),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !strings.Contains(args[0], "/") && args[0] != "default" {
				if to, err := netip.ParseAddr(args[0]); err != nil || !to.Is4() {
					return usagef("%q is neither an IPv4 address nor a network: write 10.1.0.2 or 10.1.0.0/24", args[0])
				}
				return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
					r, err := c.Route(ctx, args[0])
					return view{rows: []api.RouteLookup{r}, draw: func(s screen) string { return lookupText(s, r) }}, err
				})
			}
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.Routes(ctx)
				if err == nil && len(args) == 1 {
					all, err = inside(all, args[0])
				}
				return tableView(filled(all), routesTable(all)), err
			})
		},
	}
}

func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// inside keeps the routes in a network.
func inside(all []api.Route, s string) ([]api.Route, error) {
	s, err := network(s)
	if err != nil {
		return nil, err
	}
	within := netip.MustParsePrefix(s) // network has parsed it
	return slices.DeleteFunc(all, func(r api.Route) bool {
		p, err := netip.ParsePrefix(r.Prefix)
		return err != nil || p.Bits() < within.Bits() || !within.Contains(p.Addr())
	}), nil
}

func routesTable(all []api.Route) *table {
	t := newTable("no routes",
		column{title: " "}, column{title: "PREFIX"}, column{title: "NEXT HOP"}, column{title: "PORT"}, column{title: "PROTOCOL"},
		column{title: "DISTANCE", right: true}, column{title: "METRIC", right: true}, column{title: "TAG", right: true, optional: true},
		column{title: "FROM", optional: true}, column{title: "AGE", right: true})
	var before api.Route
	for i, r := range all {
		prefix, mark := cell{r.Prefix, plain}, cell{" ", plain}
		rest := plain
		switch {
		case r.Selected:
			mark, prefix.style = cell{"*", green}, bold
		default:
			prefix.style, rest = dim, dim
		}
		// One route with several next hops is one group.
		if i > 0 && sameRoute(before, r) {
			prefix, mark = cell{}, cell{}
			if r.Selected {
				mark = cell{"*", green}
			}
		}
		before = r
		hop := cell{r.NextHop, rest}
		switch {
		case r.Type != "" && r.Type != "unicast":
			hop = cell{r.Type, yellow}
		case r.NextHop == "":
			hop = cell{"on link", rest}
		}
		tag := ""
		if r.Tag != 0 {
			tag = strconv.Itoa(r.Tag)
		}
		t.add(mark, prefix, hop, cell{r.Port, rest}, cell{r.Protocol, rest}, cell{strconv.Itoa(r.Distance), rest},
			cell{strconv.Itoa(r.Metric), rest}, cell{tag, rest}, cell{r.From, rest}, cell{age(r.AgeSeconds), rest})
		if !r.Selected {
			t.note(r.Reason)
		}
	}
	return t
}

func sameRoute(a, b api.Route) bool {
	return a.Prefix == b.Prefix && a.Protocol == b.Protocol && a.Distance == b.Distance && a.Metric == b.Metric && a.Selected == b.Selected
}

// lookupText answers the question "what becomes of a packet to this address?".
func lookupText(s screen, r api.RouteLookup) string {
	var b block
	b.add("address", cell{r.Address, bold})
	if r.Prefix == "" {
		b.add("route", cell{"none", red})
	} else {
		b.add("route", text(r.Prefix))
	}
	b.add("action", cell{actionWords(r.Action), actionStyle(r.Action)})
	for i, hop := range r.NextHops {
		label := "next hop"
		if i > 0 {
			label = "or"
		}
		if port := at(r.Ports, i); port != "" {
			hop += " through " + port
		}
		b.add(label, text(hop))
	}
	if len(r.NextHops) == 0 {
		b.add("port", text(commas(r.Ports)))
	}
	b.add("mac", text(r.MAC))
	b.add("why", text(r.Why))
	out := b.draw(s)
	if len(r.Candidates) > 0 {
		out += "\n" + s.paint(dim, "candidates") + "\n" + routesTable(r.Candidates).draw(s)
	}
	return out
}

func actionWords(action string) string {
	words := map[string]string{
		"forward":     "forward",
		"deliver":     "deliver: it is an address of the router itself",
		"resolve":     "resolve: ARP asks for the next hop first",
		"blackhole":   "blackhole: dropped without a word",
		"unreachable": "unreachable: answered with ICMP host unreachable",
		"prohibit":    "prohibit: answered with ICMP administratively prohibited",
		"none":        "none: answered with ICMP network unreachable",
	}
	if w, ok := words[action]; ok {
		return w
	}
	return fmt.Sprint(action)
}

func actionStyle(action string) style {
	switch action {
	case "forward", "deliver":
		return green
	case "resolve":
		return yellow
	}
	return red
}
