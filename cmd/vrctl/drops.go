package main

import (
	"context"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) showDrops() *cobra.Command {
	var zeros bool
	cmd := &cobra.Command{
		Use:     "drops",
		Aliases: []string{"drop"},
		Short:   "why packets were dropped, and how many",
		Long:    "Show why packets were dropped, and how many. Reasons that never happened are shown\nwith --all; --json has them always.",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.Drops(ctx)
				return tableView(all, dropsTable(all, zeros)), err
			})
		},
	}
	cmd.Flags().BoolVarP(&zeros, "all", "a", false, "reasons that never happened too")
	return cmd
}

func dropsTable(all []api.Drop, zeros bool) *table {
	t := newTable("no drops", column{title: "PACKETS", right: true}, column{title: "REASON"}, column{title: "DESCRIPTION", flexible: true})
	for _, d := range all {
		if d.Packets == 0 && !zeros {
			continue
		}
		t.add(text(count(d.Packets)), cell{d.Reason, bold}, text(d.Description))
	}
	return t
}

func (a *app) showCounters() *cobra.Command {
	var zeros bool
	cmd := &cobra.Command{
		Use:     "counters",
		Aliases: []string{"counter"},
		Short:   "what the router did, in numbers",
		Long:    "Show what the router did, in numbers. Counters at zero are shown with --all; --json\nhas them always.",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.Counters(ctx)
				t := newTable("all counters are at zero", column{title: "VALUE", right: true}, column{title: "COUNTER"}, column{title: "DESCRIPTION", flexible: true})
				for _, n := range all {
					if n.Value > 0 || zeros {
						t.add(text(count(n.Value)), cell{n.Name, bold}, text(n.Description))
					}
				}
				return tableView(all, t), err
			})
		},
	}
	cmd.Flags().BoolVarP(&zeros, "all", "a", false, "counters at zero too")
	return cmd
}
