package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

// ripCondition reads what follows "rip": a route or a neighbor.
func ripCondition(args []string) (func(context.Context, *client.Client) (bool, string, error), error) {
	if len(args) == 0 {
		return nil, usagef("rip: route PREFIX or neighbor ADDRESS is wanted after it")
	}
	switch noun, rest := args[0], args[1:]; noun {
	case "route", "routes":
		return ripRouteCondition(rest)
	case "neighbor", "neighbour", "neighbors", "neighbours":
		return ripNeighborCondition(rest)
	default:
		return nil, usagef("%q is no condition of RIP: route and neighbor are", noun)
	}
}

func ripRouteCondition(args []string) (func(context.Context, *client.Client) (bool, string, error), error) {
	if len(args) == 0 {
		return nil, usagef("rip route: a network is wanted after it, like 10.9.0.0/16")
	}
	prefix, err := network(args[0])
	if err != nil {
		return nil, err
	}
	var metric, tag, via, from, port string
	if err := pairs(args[1:], map[string]*string{"metric": &metric, "tag": &tag, "via": &via, "from": &from, "port": &port, "dev": &port}); err != nil {
		return nil, err
	}
	for _, address := range []string{via, from} {
		if address != "" {
			if err := hostAddress(address, ""); err != nil {
				return nil, err
			}
		}
	}
	for _, n := range []struct {
		what, text string
		low, high  int
	}{{"metric", metric, 1, 16}, {"tag", tag, 0, 65535}} {
		if n.text != "" {
			if _, err := number(n.what, n.text, n.low, n.high); err != nil {
				return nil, err
			}
		}
	}
	return func(ctx context.Context, c *client.Client) (bool, string, error) {
		all, err := c.RIPRoutes(ctx)
		if err != nil {
			return false, "", err
		}
		var have []string
		for _, r := range all {
			if r.Prefix != prefix {
				continue
			}
			have = append(have, ripRouteWords(r))
			// Who asks for metric 16 asks for what is lost.
			alive := r.Selected && (r.State == "valid" || metric == "16")
			if alive && (metric == "" || metric == fmt.Sprint(r.Metric)) && (tag == "" || tag == fmt.Sprint(r.Tag)) &&
				(via == "" || r.NextHop == via) && (from == "" || r.From == from) && (port == "" || r.Port == port) {
				return true, "there is " + ripRouteWords(r), nil
			}
		}
		if len(have) == 0 {
			return false, "RIP knows no route to " + prefix, nil
		}
		return false, "there is " + strings.Join(have, " and "), nil
	}, nil
}

func ripRouteWords(r api.RIPRoute) string {
	s := fmt.Sprintf("the RIP route %s metric %d", r.Prefix, r.Metric)
	switch {
	case r.From == "":
		s += " of the router itself"
	case r.NextHop != r.From:
		s += " via " + r.NextHop + " from " + r.From
	default:
		s += " via " + r.NextHop
	}
	if r.Port != "" {
		s += " port " + r.Port
	}
	if r.Tag != 0 {
		s += fmt.Sprintf(" tag %d", r.Tag)
	}
	switch {
	case r.State == "garbage":
		s += " (unreachable)"
	case !r.Selected:
		s += " (not in use)"
	}
	return s
}

func ripNeighborCondition(args []string) (func(context.Context, *client.Client) (bool, string, error), error) {
	if len(args) == 0 {
		return nil, usagef("rip neighbor: an address is wanted after it, like 10.0.0.2")
	}
	address := args[0]
	if a, err := netip.ParseAddr(address); err != nil || !a.Is4() {
		return nil, usagef("%q is not an IPv4 address like 10.0.0.2", address)
	}
	var port string
	if err := pairs(args[1:], map[string]*string{"port": &port, "dev": &port}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, c *client.Client) (bool, string, error) {
		all, err := c.RIPNeighbors(ctx)
		if err != nil {
			return false, "", err
		}
		var have []string
		for _, n := range all {
			if n.Address != address {
				continue
			}
			words := fmt.Sprintf("the RIP neighbor %s is %s at port %s, last seen %s", n.Address, ripNeighborState(n).text, n.Port, lastSeen(n.LastSeenSeconds))
			if n.LastSeenSeconds >= 0 {
				words += " ago"
			}
			if !n.Up && len(n.Bad) > 0 {
				words += ": " + mostlyBad(n.Bad)
			}
			have = append(have, words)
			if n.Up && (port == "" || n.Port == port) {
				return true, words, nil
			}
		}
		if len(have) == 0 {
			return false, "RIP has not heard " + address, nil
		}
		return false, strings.Join(have, " and "), nil
	}, nil
}
