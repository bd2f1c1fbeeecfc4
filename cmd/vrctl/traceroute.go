package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) tracerouteCommand() *cobra.Command {
	r := api.TracerouteRequest{}
	var timeout string
	cmd := &cobra.Command{
		Use:   "traceroute ADDRESS",
		Short: "find the routers on the way to an address, from the router itself",
		Long: `Find the routers on the way to an address, from the router itself. * is a probe
without an answer; !N !H !P !X !F say that a network, host or protocol is unreachable,
that passing is prohibited, or that the packet does not fit. The exit code is 1 when
the destination was not reached. With --json: an array with a row a hop, at the end.`,
		Args:              arguments(1, 1, "one ADDRESS"),
		ValidArgsFunction: a.completeFirst(neighbors),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.Address = args[0]
			if err := hostAddress(r.Address, r.Source); err != nil {
				return err
			}
			if r.Timeout, err = duration("--timeout", timeout, time.Millisecond); err != nil {
				return err
			}
			return a.with(func(c *client.Client) error { return a.traceroute(cmd.Context(), c, r) })
		},
	}
	f := cmd.Flags()
	f.IntVarP(&r.MaxHops, "max-hops", "m", 30, "go no further than `hops`")
	f.IntVarP(&r.Probes, "probes", "q", 3, "`count` of probes for each hop")
	f.StringVarP(&timeout, "timeout", "w", "1s", "`time` to wait for an answer")
	f.BoolVarP(&r.ICMP, "icmp", "I", false, "probe with ICMP echo requests instead of UDP")
	f.StringVar(&r.Source, "source", "", "an `address` of the router to send from")
	return cmd
}

func (a *app) traceroute(ctx context.Context, c *client.Client, r api.TracerouteRequest) error {
	// The first line waits for a request that was not refused.
	title := sync.OnceFunc(func() { fmt.Fprintf(a.out, "traceroute to %s, %d hops max\n", r.Address, r.MaxHops) })
	reached := false
	rows := []api.TracerouteHop{}
	err := c.Traceroute(ctx, r, func(h api.TracerouteHop) error {
		for _, p := range h.Probes {
			reached = reached || p.From == r.Address && !strings.HasPrefix(p.Note, "!")
		}
		if a.json {
			rows = append(rows, h)
			return nil
		}
		title()
		_, err := fmt.Fprintln(a.out, hopLine(h))
		return err
	})
	if ctx.Err() == nil && err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(rows); err != nil {
			return err
		}
	}
	if ctx.Err() == nil && !reached {
		return fmt.Errorf("%s was not reached: `vrctl show route %s` tells which way was tried", r.Address, r.Address)
	}
	return nil
}

// hopLine names a router once for as many probes in a row as it answered.
func hopLine(h api.TracerouteHop) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%2d", h.TTL)
	last := ""
	for _, p := range h.Probes {
		if p.From == "" {
			b.WriteString("  *")
			continue
		}
		if p.From != last {
			b.WriteString("  " + p.From)
			last = p.From
		}
		fmt.Fprintf(&b, "  %s ms", milliseconds(p.RTTSeconds))
		if p.Note != "" {
			b.WriteString(" " + p.Note)
		}
	}
	return b.String()
}
