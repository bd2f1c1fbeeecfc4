package main

import (
	"context"
	"fmt"
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
  session ADDRESS[:PORT] [inside END] [outside END] [remote END] [protocol P] [state STATE]
                                            there is such a session; END is ADDRESS[:PORT]
  mapping ADDRESS[:PORT] [inside END] [outside END] [remote END] [protocol P] [by MAKER]
                                            NAT has such a mapping
  lease ADDRESS | mac MAC | name NAME | port NAME [state STATE] [mac MAC] [name NAME] [port NAME] [address ADDRESS]
                                            a host has such a lease, or the port its own address, by DHCP;
                                            without STATE: it is bound
  port NAME [up | down | STATE]             the port is up, is not up, or in this state
  drops REASON [above N | below N]          packets dropped for it; above 0 if nothing is said
  counter NAME [above N | below N]          the same for a counter

not or no before a condition turns it round: "no route 10.9.0.0/16".`

// test tells whether something is so, and what is the case.
type test = func(context.Context, *client.Client) (holds bool, state string, err error)

// condition is something that is so or not so, and tells what is.
type condition struct {
	words  string
	negate bool
	test   test // before negate
}

// check asks the daemon once.
func (k condition) check(ctx context.Context, c *client.Client) (bool, string, error) {
	holds, state, err := k.test(ctx, c)
	return holds != k.negate, state, err
}

var conditionNouns = []string{"ready", "route", "neighbor", "rip", "session", "mapping", "lease", "port", "drops", "counter"}

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
	case "session", "sessions":
		k.test, err = sessionCondition(rest)
	case "mapping", "mappings":
		k.test, err = mappingCondition(rest)
	case "lease", "leases":
		k.test, err = leaseCondition(rest)
	case "port", "ports":
		k.test, err = portCondition(rest)
	case "drops", "drop":
		k.test, err = numberCondition("drops", rest, dropCount)
	case "counter", "counters":
		k.test, err = numberCondition("counter", rest, counterValue)
	default:
		err = usagef("%q is no condition: %s", noun, meant(noun, conditionNouns))
	}
	return k, err
}

// word is where the value of a key goes, and what it must be.
type word struct {
	into  *string
	check func(key, value string) error // nil: anything
}

// subject takes the first word, what the condition is about, off the others.
func subject(noun string, args []string, wanted string) (string, []string, error) {
	if len(args) == 0 {
		return "", nil, usagef("%s: %s is wanted after it", noun, wanted)
	}
	return args[0], args[1:], nil
}

// pairs reads KEY VALUE KEY VALUE… into what the keys stand for.
func pairs(args []string, into map[string]word) error {
	for ; len(args) > 0; args = args[2:] {
		target, ok := into[args[0]]
		if !ok {
			return usagef("%q is not understood here: see vrctl wait --help", args[0])
		}
		if len(args) < 2 {
			return usagef("%s: a value is wanted after it", args[0])
		}
		if target.check != nil {
			if err := target.check(args[0], args[1]); err != nil {
				return err
			}
		}
		*target.into = args[1]
	}
	return nil
}

// Checks of words.

func anAddress(_, value string) error { return hostAddress(value, "") }

func fromTo(low, high int) func(key, value string) error {
	return func(key, value string) error {
		_, err := number(key, value, low, high)
		return err
	}
}

// same tells whether what there is is what was asked for; "" asks for nothing.
func same(want, have string) bool { return want == "" || want == have }

// among is the question whether one of a table's rows is as it should be.
type among[T any] struct {
	rows  rows[T]
	about func(T) bool   // it has to do with what the condition names; nil: all have
	holds func(T) bool   // and is as it should be; only asked of those
	words func(T) string // what is the case with it
	begin string         // of the sentence: "there is "
	none  string         // what is the case when nothing is about it
}

// rows of a table, until each has seen enough.
type rows[T any] func(ctx context.Context, c *client.Client, each func(T) (more bool)) error

// whole is a table that comes in one piece.
func whole[T any](list func(*client.Client, context.Context) ([]T, error)) rows[T] {
	return func(ctx context.Context, c *client.Client, each func(T) bool) error {
		all, err := list(c, ctx)
		if err == nil {
			for _, row := range all {
				if !each(row) {
					break
				}
			}
		}
		return err
	}
}

// told is how many rows an answer names that are not as they should be.
const told = 3

func (q among[T]) test(ctx context.Context, c *client.Client) (holds bool, state string, err error) {
	var have []string
	others := 0
	err = q.rows(ctx, c, func(row T) bool {
		switch {
		case q.about != nil && !q.about(row):
		case q.holds(row):
			holds, state = true, q.begin+q.words(row)
		case len(have) < told:
			have = append(have, q.words(row))
		default:
			others++
		}
		return !holds
	})
	switch {
	case err != nil || holds:
		return holds, state, err
	case len(have) == 0:
		return false, q.none, nil
	case others > 0:
		have = append(have, fmt.Sprintf("%d more", others))
	}
	return false, q.begin + strings.Join(have, " and "), nil
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

func portCondition(args []string) (test, error) {
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
func numberCondition(noun string, args []string, read func(context.Context, *client.Client, string) (uint64, error)) (test, error) {
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
