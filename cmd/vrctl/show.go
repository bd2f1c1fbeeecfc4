package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/client"
)

// view is one answer: rows for --json and a drawing for people.
type view struct {
	rows  any // a slice
	draw  func(screen) string
	empty string // the sentence where draw has nothing
}

func tableView(rows any, t *table) view { return view{rows: rows, draw: t.draw, empty: t.empty} }

// fetch makes a view with one call of the client.
type fetch func(context.Context, *client.Client) (view, error)

func (a *app) showCommand() *cobra.Command {
	show := &cobra.Command{
		Use:   "show",
		Short: "show a table: status, ports, routes, fib, neighbors, rip, nat, sessions, firewall, dhcp, dns, drops, counters, events",
		Long: `Show a table of the running router.

With --watch the table is repeated, every 2s unless --watch=INTERVAL says otherwise;
on a terminal it stays in its place. Ctrl-C ends it.`,
	}
	show.PersistentFlags().String("watch", "", "repeat every `interval`")
	show.PersistentFlags().Lookup("watch").NoOptDefVal = "2s"
	show.AddCommand(a.showStatus(), a.showPorts(), a.showRoutes(), a.showFIB(), a.showNeighbors(), a.showRIP(),
		a.showNAT(), a.showSessions(false), a.showFirewall(), a.showDHCP(), a.showDNS(), a.showDrops(), a.showCounters(), a.showEvents())
	return show
}

// show prints a view once, or again and again with --watch.
func (a *app) show(cmd *cobra.Command, f fetch) error {
	every := time.Duration(0)
	if flag := cmd.Flags().Lookup("watch"); flag != nil && flag.Changed {
		var err error
		if every, err = duration("--watch", flag.Value.String(), 50*time.Millisecond); err != nil {
			return err
		}
	}
	return a.with(func(c *client.Client) error {
		if every > 0 {
			return a.watch(cmd, c, f, every)
		}
		v, err := f(cmd.Context(), c)
		if err != nil {
			return err
		}
		return a.print(v)
	})
}

// print a view; the sentence for an empty one goes to stderr, so that a script
// that counts lines counts none.
func (a *app) print(v view) error {
	if a.json {
		return a.printJSON(v.rows)
	}
	text := v.draw(a.screen)
	if text == "" {
		fmt.Fprintln(a.err, v.empty)
		return nil
	}
	_, err := io.WriteString(a.out, text)
	return err
}

// watch repeats a view until Ctrl-C, which is a good end.
func (a *app) watch(cmd *cobra.Command, c *client.Client, f fetch, every time.Duration) error {
	ctx := cmd.Context()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		v, err := f(ctx, c)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := a.repaint(cmd, v, every, turn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// repaint in place on a terminal; elsewhere one table follows the other.
func (a *app) repaint(cmd *cobra.Command, v view, every time.Duration, turn int) error {
	switch {
	case a.json:
		return a.printJSON(v.rows)
	case !a.screen.terminal:
		if turn > 0 {
			fmt.Fprintln(a.out)
		}
		text := v.draw(a.screen)
		if text == "" {
			text = v.empty + "\n"
		}
		_, err := io.WriteString(a.out, text)
		return err
	}
	text := v.draw(a.screen)
	if text == "" {
		text = v.empty + "\n"
	}
	head := fmt.Sprintf("%s, every %s, at %s", cmd.CommandPath(), every, time.Now().Format(time.TimeOnly))
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if room := a.screen.height - 3; a.screen.height > 0 && len(lines) > max(room, 1) {
		hidden := len(lines) - room + 1
		lines = append(lines[:max(room-1, 0)], a.screen.paint(dim, fmt.Sprintf("… and %s more", several(hidden, "line"))))
	}
	var b strings.Builder
	if turn == 0 {
		b.WriteString("\x1b[2J") // a clean screen once; later ones are painted over, so that nothing flickers
	}
	b.WriteString("\x1b[H" + a.screen.paint(dim, cut(head, a.screen.width)) + "\x1b[K\n\x1b[K\n")
	for _, l := range lines {
		b.WriteString(l + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(a.out, b.String())
	return err
}
