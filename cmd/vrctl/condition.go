package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

const conditionSyntax = `Conditions:

  ready                                     every enabled port is up and packets forward
  route PREFIX [via ADDRESS] [port NAME] [protocol WORD]
                                            such a route is in use
  neighbor ADDRESS [STATE] [port NAME] [mac MAC]
                                            ARP knows it, in this state; without STATE: with its MAC
  rip route PREFIX [metric N] [via ADDRESS] [from ADDRESS] [port NAME] [tag N]
                                            RIP uses such a path; with metric 16: it is lost
  rip neighbor ADDRESS [port NAME]          RIP heard it within the timeout
  port NAME [up | down | STATE]             the port is up, is not up, or in this state
  drops REASON [above N | below N]          packets dropped for it; above 0 if nothing is said
  counter NAME [above N | below N]          the same for a counter

not or no before a condition turns it round: "no route 10.9.0.0/16".`

// condition is something that is so or not so, and tells what is.
type condition struct {
	words  string
	negate bool
	// test tells whether it holds (before negate) and what is the case.
	test func(context.Context, *client.Client) (holds bool, state string, err error)
}

// check asks the daemon once.
func (k condition) check(ctx context.Context, c *client.Client) (bool, string, error) {
	holds, state, err := k.test(ctx, c)
	return holds != k.negate, state, err
}

// parseCondition reads the words of a command line.
func parseCondition(args []string) (condition, error) {
	k := condition{words: strings.Join(args, " ")}
	for len(args) > 0 && (args[0] == "not" || args[0] == "no") {
		k.negate, args = !k.negate, args[1:]
	}
	if len(args) == 0 {
		return k, usagef("a condition is wanted, like ready or route 10.9.0.0/16: see vrctl wait --help")
	}
	var err error
	switch noun, rest := args[0], args[1:]; noun {
	case "ready":
		if len(rest) > 0 {
			return k, usagef("ready takes nothing more, and %q is", rest[0])
		}
		k.test = isReady
	case "route", "routes":
		k.test, err = routeCondition(rest)
	case "neighbor", "neighbour", "neighbors", "neighbours", "arp":
		k.test, err = neighborCondition(rest)
	case "rip":
		k.test, err = ripCondition(rest)
	case "port", "ports":
		k.test, err = portCondition(rest)
	case "drops", "drop":
		k.test, err = numberCondition("drops", rest, dropCount)
	case "counter", "counters":
		k.test, err = numberCondition("counter", rest, counterValue)
	default:
		err = usagef("%q is no condition: ready, route, neighbor, rip, port, drops and counter are", noun)
	}
	return k, err
}

func isReady(ctx context.Context, c *client.Client) (bool, string, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return false, "", err
	}
	if s.Ready {
		return true, s.Name + " is ready", nil
	}
	return false, fmt.Sprintf("%s is not ready: %d of %d ports are up", s.Name, s.PortsUp, s.Ports), nil
}

// pairs reads KEY VALUE KEY VALUE… into what the keys stand for.
func pairs(args []string, into map[string]*string) error {
	for ; len(args) > 0; args = args[2:] {
		target, ok := into[args[0]]
		if !ok {
			return usagef("%q is not understood here: see vrctl wait --help", args[0])
		}
		if len(args) < 2 {
			return usagef("%s: a value is wanted after it", args[0])
		}
		*target = args[1]
	}
	return nil
}

func routeCondition(args []string) (func(context.Context, *client.Client) (bool, string, error), error) {
	if len(args) == 0 {
		return nil, usagef("route: a network is wanted after it, like 10.9.0.0/16")
	}
	prefix, err := network(args[0])
	if err != nil {
		return nil, err
	}
	var via, port, protocol string
	if err := pairs(args[1:], map[string]*string{"via": &via, "port": &port, "dev": &port, "protocol": &protocol}); err != nil {
		return nil, err
	}
	if via != "" {
		if err := hostAddress(via, ""); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, c *client.Client) (bool, string, error) {
		all, err := c.Routes(ctx)
		if err != nil {
			return false, "", err
		}
		var have []string
		for _, r := range all {
			if r.Prefix != prefix {
				continue
			}
			have = append(have, routeWords(r))
			if r.Selected && (via == "" || r.NextHop == via) && (port == "" || r.Port == port) && (protocol == "" || r.Protocol == protocol) {
				return true, "there is " + routeWords(r), nil
			}
		}
		if len(have) == 0 {
			return false, "there is no route to " + prefix, nil
		}
		return false, "there is " + strings.Join(have, " and "), nil
	}, nil
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

func neighborCondition(args []string) (func(context.Context, *client.Client) (bool, string, error), error) {
	if len(args) == 0 {
		return nil, usagef("neighbor: an address is wanted after it, like 10.1.0.2")
	}
	address := args[0]
	if a, err := netip.ParseAddr(address); err != nil || !a.Is4() {
		return nil, usagef("%q is not an IPv4 address like 10.1.0.2", address)
	}
	args = args[1:]
	var state, port, mac string
	if len(args) > 0 && slices.Contains(neighborStates, args[0]) {
		state, args = args[0], args[1:]
	}
	if err := pairs(args, map[string]*string{"state": &state, "port": &port, "dev": &port, "mac": &mac}); err != nil {
		return nil, err
	}
	if state != "" && !slices.Contains(neighborStates, state) {
		return nil, usagef("%q is no state of a neighbor: %s are", state, commas(neighborStates))
	}
	return func(ctx context.Context, c *client.Client) (bool, string, error) {
		all, err := c.Neighbors(ctx)
		if err != nil {
			return false, "", err
		}
		var have []string
		for _, n := range all {
			if n.Address != address {
				continue
			}
			words := fmt.Sprintf("%s is %s at port %s", n.Address, n.State, n.Port)
			if n.MAC != "" {
				words += " with MAC " + n.MAC
			}
			have = append(have, words)
			inState := n.State == state || state == "" && n.MAC != "" && n.State != "failed" && n.State != "incomplete"
			if inState && (port == "" || n.Port == port) && (mac == "" || strings.EqualFold(n.MAC, mac)) {
				return true, words, nil
			}
		}
		if len(have) == 0 {
			return false, "there is no neighbor " + address, nil
		}
		return false, strings.Join(have, " and "), nil
	}, nil
}

func portCondition(args []string) (func(context.Context, *client.Client) (bool, string, error), error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, usagef("port: a name and perhaps up or down are wanted after it")
	}
	name, want := args[0], "up"
	if len(args) == 2 {
		want = args[1]
	}
	return func(ctx context.Context, c *client.Client) (bool, string, error) {
		all, err := c.Ports(ctx)
		if err != nil {
			return false, "", err
		}
		i := slices.IndexFunc(all, func(p api.Port) bool { return p.Name == name })
		if i < 0 {
			return false, noPort(name, all), nil
		}
		p := all[i]
		words := fmt.Sprintf("port %s is %s", p.Name, portState(p).text)
		if p.Reason != "" {
			words += ": " + p.Reason
		}
		switch want {
		case "up":
			return p.Up, words, nil
		case "down":
			return !p.Up, words, nil
		}
		return p.State == want, words, nil
	}, nil
}

// numberCondition compares a number that has a name.
func numberCondition(noun string, args []string, read func(context.Context, *client.Client, string) (uint64, error)) (func(context.Context, *client.Client) (bool, string, error), error) {
	if len(args) != 1 && len(args) != 3 {
		return nil, usagef("%s: a name and then above N or below N are wanted after it", noun)
	}
	name, above, limit := args[0], true, uint64(0)
	if len(args) == 3 {
		if args[1] != "above" && args[1] != "below" {
			return nil, usagef("%q: above or below is wanted", args[1])
		}
		above = args[1] == "above"
		var err error
		if limit, err = strconv.ParseUint(args[2], 10, 64); err != nil {
			return nil, usagef("%q is not a number from 0 up", args[2])
		}
	}
	return func(ctx context.Context, c *client.Client) (bool, string, error) {
		n, err := read(ctx, c, name)
		return err == nil && (above && n > limit || !above && n < limit), fmt.Sprintf("%s %s is at %d", noun, name, n), err
	}, nil
}

func dropCount(ctx context.Context, c *client.Client, reason string) (uint64, error) {
	all, err := c.Drops(ctx)
	for _, d := range all {
		if d.Reason == reason {
			return d.Packets, nil
		}
	}
	return 0, orUnknown(err, "drop reason", reason, "vrctl show drops --all")
}

func counterValue(ctx context.Context, c *client.Client, name string) (uint64, error) {
	all, err := c.Counters(ctx)
	for _, n := range all {
		if n.Name == name {
			return n.Value, nil
		}
	}
	return 0, orUnknown(err, "counter", name, "vrctl show counters --all")
}

func orUnknown(err error, noun, name, where string) error {
	if err != nil {
		return err
	}
	return usagef("there is no %s %q: %s lists them", noun, name, where)
}
