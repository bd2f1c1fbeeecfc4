package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

const (
	shownRows = 1000   // of a table that has more, unless --limit says otherwise
	pageRows  = 10_000 // that the daemon is asked for at once
)

// selection is what a table of sessions or mappings is narrowed down to.
type selection struct {
	address, protocol string
	port, limit       int
}

func (a *app) selectSessions(cmd *cobra.Command) *selection {
	s := &selection{}
	a.filterFlags(cmd, &s.address, &s.port, &s.protocol)
	cmd.Flags().IntVar(&s.limit, "limit", shownRows, "at most so many `rows`; 0 for all, which is what --json prints if nothing is said")
	return s
}

// filterFlags say which sessions are meant: every one that has what is given at any of its ends.
func (a *app) filterFlags(cmd *cobra.Command, address *string, port *int, protocol *string) {
	f := cmd.Flags()
	f.StringVar(address, "address", "", "only with this `address` at any end")
	f.IntVar(port, "port", 0, "only with this TCP or UDP `port`, or ICMP identifier, at any end")
	f.StringVar(protocol, "protocol", "", "only of this `protocol`: tcp, udp, icmp or a number")
	cmd.RegisterFlagCompletionFunc("protocol", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return beginning(protocols, begun), cobra.ShellCompDirectiveNoFileComp
	})
}

// checkFilter holds what filterFlags have read.
func checkFilter(address string, port int, protocol string) error {
	if err := hostAddress(address, ""); err != nil {
		return err
	}
	if port < 0 || port > 1<<16-1 {
		return usagef("--port %d: a number from 1 to 65535 is wanted", port)
	}
	return protocolWord("--protocol", protocol)
}

func (s *selection) query() (q api.SessionQuery, err error) {
	if err := checkFilter(s.address, s.port, s.protocol); err != nil {
		return q, err
	}
	if s.limit < 0 {
		return q, usagef("--limit %d: a number from 0 up is wanted, 0 for all rows", s.limit)
	}
	return api.SessionQuery{Address: s.address, Port: s.port, Protocol: s.protocol}, nil
}

// filtered tells whether the user has narrowed the table down.
func filtered(q api.SessionQuery) bool { return q.Address != "" || q.Port != 0 || q.Protocol != "" }

// pagesOf makes what a long table asks for of a call of the client and its query.
func pagesOf[T any](call func(*client.Client, context.Context, api.SessionQuery) iter.Seq2[client.Part[T], error], q api.SessionQuery) pages[T] {
	return func(ctx context.Context, c *client.Client, limit int) iter.Seq2[client.Part[T], error] {
		q.Limit = limit
		return call(c, ctx, q)
	}
}

// pages of at most limit rows.
type pages[T any] func(ctx context.Context, c *client.Client, limit int) iter.Seq2[client.Part[T], error]

// long is a table that comes in pages and is printed as they come: the first rows stand there at once,
// and a million are never in memory.
type long[T any] struct {
	pages pages[T]
	part  bool   // of the rows that the daemon counts as all, some are left out
	like  bool   // the user has said which rows are wanted
	limit int    // 0: none
	table *table // without optional columns: what a later page says must have its place
	add   func(*table, T)
	empty func(context.Context, *client.Client) (string, error) // why there are no rows
}

// showLong prints a long table, or repeats what of it fits the limit.
func showLong[T any](a *app, cmd *cobra.Command, l long[T]) error {
	if a.json && !cmd.Flags().Changed("limit") {
		l.limit = 0 // who asks a script's question wants the whole answer
	}
	if flag := cmd.Flags().Lookup("watch"); flag != nil && flag.Changed {
		return a.show(cmd, l.view)
	}
	return a.with(func(c *client.Client) error { return l.print(cmd.Context(), a, c) })
}

// parts are the rows within the limit, a page at a time; note is the line below the last one,
// where there are more.
func (l long[T]) parts(ctx context.Context, c *client.Client, note *string) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		shown, page := 0, pageRows
		if l.limit > 0 {
			page = min(l.limit, pageRows)
		}
		for part, err := range l.pages(ctx, c, page) {
			if err != nil {
				yield(nil, err)
				return
			}
			rows, more := part.Rows, part.More
			if room := l.limit - shown; l.limit > 0 && len(rows) > room {
				rows, more = rows[:room], true
			}
			shown += len(rows)
			full := l.limit > 0 && shown >= l.limit
			if full && more {
				*note = l.note(part.Total - shown)
			}
			if !yield(rows, nil) || full {
				return
			}
		}
	}
}

func (l long[T]) note(left int) string {
	if left <= 0 || l.part { // the daemon counts all, not what matches
		return "… there may be more: --limit 0 shows all"
	}
	return "… " + grouped(left) + " more: --limit 0 shows all"
}

// print the rows as they come.
func (l long[T]) print(ctx context.Context, a *app, c *client.Client) error {
	out := bufio.NewWriterSize(a.out, 64<<10)
	note, shown := "", 0
	t := l.table
	for rows, err := range l.parts(ctx, c, &note) {
		if err != nil {
			out.Flush()
			return err
		}
		if a.json {
			if err := jsonRows(out, rows, shown == 0); err != nil {
				return err
			}
		} else {
			for _, r := range rows {
				l.add(t, r)
			}
			out.WriteString(t.draw(a.screen))
			t = t.follow(a.screen)
		}
		shown += len(rows)
		if err := out.Flush(); err != nil {
			return err
		}
	}
	switch {
	case a.json:
		if shown == 0 {
			out.WriteString("[")
		}
		out.WriteString("]\n")
	case shown == 0:
		why, err := l.why(ctx, c)
		if err != nil {
			return err
		}
		note = why
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if note != "" {
		fmt.Fprintln(a.err, note) // a script that counts lines of stdout counts rows
	}
	return nil
}

func (l long[T]) why(ctx context.Context, c *client.Client) (string, error) {
	why, err := l.empty(ctx, c)
	if why == "" {
		why = l.table.empty
		if l.like {
			why += " like that"
		}
	}
	return why, err
}

// jsonRows writes rows of an array whose end is still to come.
func jsonRows[T any](w *bufio.Writer, rows []T, first bool) error {
	for i := range rows {
		row, err := jsonLine(&rows[i])
		if err != nil {
			return err
		}
		w.WriteString(map[bool]string{true: "[", false: ",\n "}[first])
		first = false
		w.Write(bytes.TrimSuffix(row, []byte("\n")))
	}
	return nil
}

// view of the rows within the limit, for --watch.
func (l long[T]) view(ctx context.Context, c *client.Client) (view, error) {
	note, all := "", []T{}
	for rows, err := range l.parts(ctx, c, &note) {
		if err != nil {
			return view{}, err
		}
		all = append(all, rows...)
	}
	t := &table{columns: l.table.columns, empty: l.table.empty}
	for _, r := range all {
		l.add(t, r)
	}
	v := tableView(all, t)
	if note != "" {
		v.draw = func(s screen) string { return t.draw(s) + s.paint(dim, note) + "\n" }
	}
	var err error
	if len(all) == 0 {
		v.empty, err = l.why(ctx, c)
	}
	return v, err
}

// grouped is a number with commas between thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}
