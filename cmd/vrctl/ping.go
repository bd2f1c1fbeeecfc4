package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) pingCommand() *cobra.Command {
	r := api.PingRequest{Count: 100000, Size: 56, TTL: 64}
	var interval, timeout string
	cmd := &cobra.Command{
		Use:   "ping ADDRESS",
		Short: "send ICMP echo requests from the router itself",
		Long: `Send ICMP echo requests from the router itself, until Ctrl-C or --count. The exit
code is 1 when nothing came back. With --json: an array with a row a probe, at the end.`,
		Example:           "  vrctl ping -c 3 10.1.0.2\n  vrctl ping 10.9.0.1 --size 1472 --df --source 10.1.0.1",
		Args:              arguments(1, 1, "one ADDRESS"),
		ValidArgsFunction: a.completeFirst(neighbors),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.Address = args[0]
			if err := hostAddress(r.Address, r.Source); err != nil {
				return err
			}
			if r.Interval, err = duration("--interval", interval, time.Millisecond); err != nil {
				return err
			}
			if r.Timeout, err = duration("--timeout", timeout, time.Millisecond); err != nil {
				return err
			}
			return a.with(func(c *client.Client) error { return a.ping(cmd.Context(), c, r) })
		},
	}
	f := cmd.Flags()
	f.IntVarP(&r.Count, "count", "c", r.Count, "stop after `count` probes")
	f.StringVarP(&interval, "interval", "i", "1s", "`time` between probes")
	f.StringVarP(&timeout, "timeout", "W", "1s", "`time` to wait for an answer")
	f.IntVar(&r.Size, "size", r.Size, "`octets` of data in a probe; ICMP and IPv4 headers are 28 more")
	f.IntVarP(&r.TTL, "ttl", "t", r.TTL, "`hops` that a probe may go")
	f.StringVarP(&r.Source, "source", "I", "", "an `address` of the router to send from")
	f.BoolVar(&r.DF, "df", false, "do not let routers fragment probes")
	return cmd
}

// hostAddress checks a destination and a source that may be missing.
func hostAddress(to, from string) error {
	for _, s := range []string{to, from} {
		if a, err := netip.ParseAddr(s); s != "" && (err != nil || !a.Is4()) {
			return usagef("%q is not an IPv4 address like 10.1.0.2", s)
		}
	}
	return nil
}

// pingTally counts what the summary tells.
type pingTally struct {
	sent, received, errors int
	least, most, sum, sum2 float64 // seconds
}

func (t *pingTally) add(p api.PingReply) {
	t.sent++
	switch p.Result {
	case "reply":
		t.received++
		if t.received == 1 || p.RTTSeconds < t.least {
			t.least = p.RTTSeconds
		}
		t.most = max(t.most, p.RTTSeconds)
		t.sum += p.RTTSeconds
		t.sum2 += p.RTTSeconds * p.RTTSeconds
	case "timeout":
	default:
		t.errors++
	}
}

func (t *pingTally) summary(address string, took time.Duration) string {
	s := fmt.Sprintf("\n--- %s ping statistics ---\n%d packets transmitted, %d received", address, t.sent, t.received)
	if t.errors > 0 {
		s += fmt.Sprintf(", +%d errors", t.errors)
	}
	loss := 0.0
	if t.sent > 0 {
		loss = 100 * float64(t.sent-t.received) / float64(t.sent)
	}
	s += fmt.Sprintf(", %.4g%% packet loss, time %dms\n", loss, took.Milliseconds())
	if t.received > 0 {
		n := float64(t.received)
		mean := t.sum / n
		spread := math.Sqrt(max(t.sum2/n-mean*mean, 0))
		s += fmt.Sprintf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", t.least*1000, mean*1000, t.most*1000, spread*1000)
	}
	return s
}

func (a *app) ping(ctx context.Context, c *client.Client, r api.PingRequest) error {
	// The first line waits for a request that was not refused.
	title := sync.OnceFunc(func() {
		fmt.Fprintf(a.out, "PING %s %d(%d) bytes of data.\n", r.Address, r.Size, r.Size+28)
	})
	begun := time.Now()
	var tally pingTally
	rows := []api.PingReply{}
	err := c.Ping(ctx, r, func(p api.PingReply) error {
		tally.add(p)
		if a.json {
			rows = append(rows, p)
			return nil
		}
		title()
		_, err := fmt.Fprintln(a.out, pingLine(p))
		return err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if a.json {
		if err := a.printJSON(rows); err != nil {
			return err
		}
	} else {
		title()
		fmt.Fprint(a.out, tally.summary(r.Address, time.Since(begun)))
	}
	if tally.received == 0 && tally.sent > 0 {
		return fmt.Errorf("no answer from %s: `vrctl show route %s` tells which way was tried", r.Address, r.Address)
	}
	return nil
}

func pingLine(p api.PingReply) string {
	switch p.Result {
	case "reply":
		return fmt.Sprintf("%d bytes from %s: icmp_seq=%d ttl=%d time=%s ms", p.Bytes, p.From, p.Sequence, p.TTL, milliseconds(p.RTTSeconds))
	case "timeout":
		return fmt.Sprintf("no answer yet for icmp_seq=%d", p.Sequence)
	}
	from := p.From
	if from == "" {
		from = "this router"
	}
	return fmt.Sprintf("From %s icmp_seq=%d %s", from, p.Sequence, p.Result)
}
