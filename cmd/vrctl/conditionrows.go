package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

// Conditions about the rows of a table: each is the words that it takes, and an among.

func routeCondition(args []string) (test, error) {
	to, args, err := subject("route", args, "a network, like 10.9.0.0/16,")
	if err != nil {
		return nil, err
	}
	prefix, err := network(to)
	if err != nil {
		return nil, err
	}
	var via, port, protocol string
	if err := pairs(args, map[string]word{"via": {&via, anAddress}, "port": {into: &port}, "dev": {into: &port}, "protocol": {into: &protocol}}); err != nil {
		return nil, err
	}
	return among[api.Route]{
		rows:  whole((*client.Client).Routes),
		about: func(r api.Route) bool { return r.Prefix == prefix },
		holds: func(r api.Route) bool {
			return r.Selected && same(via, r.NextHop) && same(port, r.Port) && same(protocol, r.Protocol)
		},
		words: routeWords,
		begin: "there is ",
		none:  "there is no route to " + prefix,
	}.test, nil
}

func routeWords(r api.Route) string {
	s := "the " + r.Protocol + " route " + r.Prefix
	if r.Type != "" && r.Type != "unicast" {
		s += " " + r.Type
	}
	if r.NextHop != "" {
		s += " via " + r.NextHop
	}
	if r.Port != "" {
		s += " port " + r.Port
	}
	if !r.Selected {
		s += " (not in use"
		if r.Reason != "" {
			s += ": " + r.Reason
		}
		s += ")"
	}
	return s
}

var neighborStates = []string{"incomplete", "reachable", "stale", "delay", "probe", "failed", "permanent"}

func neighborCondition(args []string) (test, error) {
	address, args, err := subject("neighbor", args, "an address, like 10.1.0.2,")
	if err != nil {
		return nil, err
	}
	if err := anAddress("", address); err != nil {
		return nil, err
	}
	var state, port, mac string
	if len(args) > 0 && slices.Contains(neighborStates, args[0]) {
		state, args = args[0], args[1:]
	}
	aState := func(_, value string) error {
		if !slices.Contains(neighborStates, value) {
			return usagef("%q is no state of a neighbor: %s", value, meant(value, neighborStates))
		}
		return nil
	}
	if err := pairs(args, map[string]word{"state": {&state, aState}, "port": {into: &port}, "dev": {into: &port}, "mac": {into: &mac}}); err != nil {
		return nil, err
	}
	return among[api.Neighbor]{
		rows:  whole((*client.Client).Neighbors),
		about: func(n api.Neighbor) bool { return n.Address == address },
		holds: func(n api.Neighbor) bool {
			known := state == "" && n.MAC != "" && n.State != "failed" && n.State != "incomplete"
			return (known || n.State == state) && same(port, n.Port) && (mac == "" || strings.EqualFold(n.MAC, mac))
		},
		words: func(n api.Neighbor) string {
			words := fmt.Sprintf("%s is %s at port %s", n.Address, n.State, n.Port)
			if n.MAC != "" {
				words += " with MAC " + n.MAC
			}
			return words
		},
		none: "there is no neighbor " + address,
	}.test, nil
}

// ripCondition reads what follows "rip": a route or a neighbor.
func ripCondition(args []string) (test, error) {
	noun, rest, err := subject("rip", args, "route PREFIX or neighbor ADDRESS")
	if err != nil {
		return nil, err
	}
	switch noun {
	case "route", "routes":
		return ripRouteCondition(rest)
	case "neighbor", "neighbour", "neighbors", "neighbours":
		return ripNeighborCondition(rest)
	}
	return nil, usagef("%q is no condition of RIP: %s", noun, meant(noun, []string{"route", "neighbor"}))
}

func ripRouteCondition(args []string) (test, error) {
	to, args, err := subject("rip route", args, "a network, like 10.9.0.0/16,")
	if err != nil {
		return nil, err
	}
	prefix, err := network(to)
	if err != nil {
		return nil, err
	}
	var metric, tag, via, from, port string
	if err := pairs(args, map[string]word{"metric": {&metric, fromTo(1, 16)}, "tag": {&tag, fromTo(0, 65535)},
		"via": {&via, anAddress}, "from": {&from, anAddress}, "port": {into: &port}, "dev": {into: &port}}); err != nil {
		return nil, err
	}
	return among[api.RIPRoute]{
		rows:  whole((*client.Client).RIPRoutes),
		about: func(r api.RIPRoute) bool { return r.Prefix == prefix },
		holds: func(r api.RIPRoute) bool {
			// Who asks for metric 16 asks for what is lost.
			alive := r.Selected && (r.State == "valid" || metric == "16")
			return alive && same(metric, strconv.Itoa(r.Metric)) && same(tag, strconv.Itoa(r.Tag)) &&
				same(via, r.NextHop) && same(from, r.From) && same(port, r.Port)
		},
		words: ripRouteWords,
		begin: "there is ",
		none:  "RIP knows no route to " + prefix,
	}.test, nil
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

func ripNeighborCondition(args []string) (test, error) {
	address, args, err := subject("rip neighbor", args, "an address, like 10.0.0.2,")
	if err != nil {
		return nil, err
	}
	if err := anAddress("", address); err != nil {
		return nil, err
	}
	var port string
	if err := pairs(args, map[string]word{"port": {into: &port}, "dev": {into: &port}}); err != nil {
		return nil, err
	}
	return among[api.RIPNeighbor]{
		rows:  whole((*client.Client).RIPNeighbors),
		about: func(n api.RIPNeighbor) bool { return n.Address == address },
		holds: func(n api.RIPNeighbor) bool { return n.Up && same(port, n.Port) },
		words: func(n api.RIPNeighbor) string {
			words := fmt.Sprintf("the RIP neighbor %s is %s at port %s, last seen %s", n.Address, ripNeighborState(n).text, n.Port, lastSeen(n.LastSeenSeconds))
			if n.LastSeenSeconds >= 0 {
				words += " ago"
			}
			if !n.Up && len(n.Bad) > 0 {
				words += ": " + mostlyBad(n.Bad)
			}
			return words
		},
		none: "RIP has not heard " + address,
	}.test, nil
}
