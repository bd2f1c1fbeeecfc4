package main

import (
	"context"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/client"
)

func (a *app) showFIB() *cobra.Command {
	return &cobra.Command{
		Use:   "fib",
		Short: "what the dataplane forwards by",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.FIB(ctx)
				t := newTable("the FIB is empty", column{title: "PREFIX"}, column{title: "ACTION"}, column{title: "NEXT HOP"},
					column{title: "PORT"}, column{title: "MAC"})
				for _, e := range all {
					t.add(text(e.Prefix), cell{e.Action, fibStyle(e.Action)}, text(e.NextHop), text(e.Port), text(e.MAC))
				}
				return tableView(all, t), err
			})
		},
	}
}

func fibStyle(action string) style {
	switch action {
	case "blackhole", "unreachable", "prohibit":
		return yellow
	case "local":
		return cyan
	}
	return plain
}
