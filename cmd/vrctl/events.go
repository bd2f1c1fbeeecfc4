package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) showEvents() *cobra.Command {
	var last int
	var since string
	cmd := &cobra.Command{
		Use:     "events",
		Aliases: []string{"event"},
		Short:   "what happened lately",
		Example: "  vrctl show events --last 20\n  vrctl show events --since 10m",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := eventQuery(last, since)
			if err != nil {
				return err
			}
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.PastEvents(ctx, q)
				t := newTable("no events", column{title: "TIME"}, column{title: "KIND", spare: true},
					column{title: "SUBJECT", spare: true}, column{title: "MESSAGE", flexible: true, least: 56}) // which says all three
				for _, e := range all {
					t.add(text(clock(e.Time)), cell{e.Kind, eventStyle(e.Kind)}, cell{e.Subject, bold}, text(e.Message))
				}
				return tableView(all, t), err
			})
		},
	}
	selectionFlags(cmd, &last, &since)
	return cmd
}

func selectionFlags(cmd *cobra.Command, last *int, since *string) {
	cmd.Flags().IntVar(last, "last", 0, "the newest `count` of the events kept")
	cmd.Flags().StringVar(since, "since", "", "events kept that are not older than this `time`: 10m, or 2026-01-02T15:04:05Z")
}

func eventQuery(last int, since string) (q client.EventQuery, err error) {
	if last < 0 || last > 1<<20 {
		return q, usagef("--last %d: a number from 1 to %d is wanted", last, 1<<20)
	}
	q.Last = last
	if since == "" {
		return q, nil
	}
	if d, e := time.ParseDuration(since); e == nil && d >= 0 {
		q.Since = time.Now().Add(-d)
		return q, nil
	}
	if q.Since, err = time.Parse(time.RFC3339, since); err != nil {
		return q, usagef("--since %s: a span like 10m or a time like 2026-01-02T15:04:05Z is wanted", since)
	}
	return q, nil
}

func eventStyle(kind string) style {
	switch {
	case strings.HasSuffix(kind, "_up"), strings.HasSuffix(kind, "_added"):
		return green
	case strings.HasSuffix(kind, "_down"), strings.HasSuffix(kind, "_lost"), strings.HasSuffix(kind, "_failed"):
		return red
	case strings.HasSuffix(kind, "_removed"):
		return yellow
	}
	return plain
}

func (a *app) eventsCommand() *cobra.Command {
	var last int
	var since string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "follow what happens, until Ctrl-C",
		Long: `Print what happens as it happens, until Ctrl-C. With --last or --since the events
kept come first. With --json every event is an object on a line of its own.
Events that are lost because the output is read too slowly are told of in an
event of the kind events_lost.`,
		Example: "  vrctl events\n  vrctl --json events --last 10 | jq .message",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := eventQuery(last, since)
			if err != nil {
				return err
			}
			if last == 0 && since == "" {
				q.Since = time.Now()
			}
			ctx := cmd.Context()
			return a.with(func(c *client.Client) error {
				err := c.Events(ctx, q, a.printEvent)
				if ctx.Err() != nil {
					return nil // Ctrl-C is how this ends
				}
				if err == nil {
					fmt.Fprintln(a.err, "vrctl: the router has stopped")
				}
				return err
			})
		},
	}
	selectionFlags(cmd, &last, &since)
	return cmd
}

func (a *app) printEvent(e api.Event) error {
	if a.json {
		return a.printLine(e)
	}
	line := a.screen.paint(dim, clock(e.Time)) + "  " + a.screen.paint(eventStyle(e.Kind), fmt.Sprintf("%-16s", e.Kind)) + "  " + e.Message
	for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
		line += a.screen.paint(dim, "  "+k+"="+e.Fields[k])
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}
