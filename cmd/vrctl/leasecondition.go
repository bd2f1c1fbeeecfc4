package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

// held is an address that a host has of the router, or the router's own of another server.
type held struct {
	api.Lease
	own bool
	why string // the router has none
}

// leaseCondition reads ADDRESS, mac MAC, name NAME or port PORT, and then what must be so with that lease too.
func leaseCondition(args []string) (test, error) {
	first, _, err := subject("lease", args, "an address, mac MAC, name NAME or port NAME")
	if err != nil {
		return nil, err
	}
	var address, mac, name, port, state string
	into := map[string]word{
		"address": {&address, anAddress}, "mac": {&mac, anEthernet}, "name": {into: &name}, "port": {into: &port}, "dev": {into: &port},
		"state": {&state, aStateOfEither},
	}
	if _, key := into[first]; !key {
		if err := anAddress("", first); err != nil {
			return nil, usagef("lease: %q is neither an address nor one of mac, name, port and state", first)
		}
		address, args = first, args[1:]
	}
	if err := pairs(args, into); err != nil {
		return nil, err
	}
	mac, name = strings.ToLower(mac), hostLabel(name)
	q := api.LeaseQuery{Address: address, MAC: mac, Hostname: name, Limit: pageRows}
	if slices.Contains(leaseStates, state) && address+mac+name == "" {
		q.State = state // nothing else is asked of what may be many
	}
	if address+mac+name == "" {
		q.Port = port
	}
	return among[held]{
		rows: leaseRows(q, mac == "" && name == ""),
		about: func(h held) bool {
			if h.own && address == "" {
				return port == h.Port
			}
			return same(address, h.Address)
		},
		holds: func(h held) bool {
			alive := h.State == "bound"
			if h.own { // a lease that cannot be used brings no address
				alive = h.Address != ""
			}
			return (state == "" && alive || state != "" && state == h.State) && same(port, h.Port)
		},
		words: leaseWords,
		none:  "there is no lease" + wanted("of", cmp.Or(address, mac, name)) + wanted("at port", port) + wanted("that is", state),
	}.test, nil
}

// clientStates are those of a port's own client, beside the ones that leases have.
var clientStates = []string{"down", "init", "selecting", "requesting", "checking", "renewing", "rebinding", "init_reboot", "rebooting"}

// aStateOfEither is a state of a host's lease, or of a port's client.
func aStateOfEither(_, value string) error {
	all := slices.Concat(leaseStates, clientStates)
	if !slices.Contains(all, value) {
		return usagef("lease: %q is no state: %s", value, meant(value, all))
	}
	return nil
}

// wanted is a part of a sentence, where there is something to say in it.
func wanted(words, value string) string {
	if value == "" {
		return ""
	}
	return " " + words + " " + value
}

// leaseRows are the router's own leases first, then those of hosts that the query matches.
func leaseRows(q api.LeaseQuery, own bool) rows[held] {
	return func(ctx context.Context, c *client.Client, each func(held) bool) error {
		if own {
			all, err := c.DHCP(ctx)
			if err != nil {
				return err
			}
			for _, r := range all {
				if r.Role != "client" {
					continue
				}
				address, _, _ := strings.Cut(r.Address, "/")
				h := held{api.Lease{Address: address, State: r.State, Port: r.Port, Expires: r.Expires}, true, r.Reason}
				if !each(h) {
					return nil
				}
			}
		}
		for part, err := range c.Leases(ctx, q) {
			if err != nil {
				return err
			}
			for _, l := range part.Rows {
				if !each(held{Lease: l}) {
					return nil
				}
			}
		}
		return nil
	}
}

func leaseWords(h held) string {
	if h.own {
		words := "port " + h.Port + " is " + h.State
		if h.Address != "" {
			return words + " with " + h.Address
		}
		words += " and has no address"
		if h.why != "" {
			words += ": " + h.why
		}
		return words
	}
	words := h.Address + " is " + h.State
	if who := strings.TrimSpace(h.Hostname + " " + h.MAC); who != "" {
		words += " to " + who
	}
	if h.Port != "" {
		words += " at port " + h.Port
	}
	return words
}

// completeLease completes what may follow "lease" in a condition.
func (a *app) completeLease(args []string, begun string) []string {
	keys := []string{"mac", "name", "port", "state"}
	switch last(args) {
	case "":
		return append(beginning(keys, begun), a.ask(leaseAddresses, begun)...)
	case "name":
		return a.ask(leaseNames, begun)
	case "port", "dev":
		return a.ask(ports, begun)
	case "state":
		return beginning(leaseStates, begun)
	case "mac", "address":
		return nil
	}
	return beginning(append(keys, "address"), begun)
}
