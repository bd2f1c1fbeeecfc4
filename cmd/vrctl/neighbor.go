package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) neighborCommand() *cobra.Command {
	neighbor := &cobra.Command{Use: "neighbor", Aliases: []string{"neighbors", "neighbour", "neighbours", "arp"}, Short: "add, delete or flush neighbors"}
	neighbor.AddCommand(
		&cobra.Command{
			Use:               "add ADDRESS mac MAC port NAME",
			Short:             "add a permanent neighbor",
			Long:              "Add a permanent neighbor. As in ip(8), lladdr is the same as mac and dev as port.",
			Example:           "  vrctl neighbor add 10.1.0.9 mac 02:00:00:00:00:09 port lan",
			Args:              arguments(5, 5, "ADDRESS mac MAC port NAME"),
			ValidArgsFunction: a.completeNeighbor,
			RunE: func(cmd *cobra.Command, args []string) error {
				n, err := parseNeighbor(args)
				if err != nil {
					return err
				}
				if n.MAC == "" || n.Port == "" {
					return usagef("a neighbor to be added has a MAC and a port: write ADDRESS mac MAC port NAME")
				}
				return a.with(func(c *client.Client) error { return c.AddNeighbor(cmd.Context(), n) })
			},
		},
		&cobra.Command{
			Use:               "del ADDRESS [mac MAC] [port NAME]",
			Aliases:           []string{"delete", "remove"},
			Short:             "delete a neighbor, permanent or learnt",
			Example:           "  vrctl neighbor del 10.1.0.9",
			Args:              arguments(1, 5, "ADDRESS [mac MAC] [port NAME]"),
			ValidArgsFunction: a.completeNeighbor,
			RunE: func(cmd *cobra.Command, args []string) error {
				n, err := parseNeighbor(args)
				if err != nil {
					return err
				}
				return a.with(func(c *client.Client) error { return c.DeleteNeighbor(cmd.Context(), n) })
			},
		},
		&cobra.Command{
			Use:               "flush [PORT]",
			Short:             "forget the neighbors that ARP has learnt, of one port or of all",
			Example:           "  vrctl neighbor flush lan",
			Args:              arguments(0, 2, "no more than the name of a port"),
			ValidArgsFunction: a.completeFirst(ports),
			RunE: func(cmd *cobra.Command, args []string) error {
				if len(args) == 2 && (args[0] == "port" || args[0] == "dev") {
					args = args[1:]
				}
				if len(args) == 2 {
					return usagef("flush takes one port, and %q and %q are two", args[0], args[1])
				}
				return a.with(func(c *client.Client) error {
					n, err := c.FlushNeighbors(cmd.Context(), at(args, 0))
					if err == nil && a.json {
						return a.printJSON([]api.Flushed{{Neighbors: n}})
					}
					if err == nil {
						a.say("%s forgotten", several(n, "neighbor"))
					}
					return err
				})
			},
		},
	)
	return neighbor
}

// parseNeighbor reads ADDRESS [mac MAC] [port NAME].
func parseNeighbor(args []string) (n api.NeighborSpec, err error) {
	address, err := netip.ParseAddr(args[0])
	if err != nil || !address.Is4() {
		return n, usagef("%q is not an IPv4 address like 10.1.0.9", args[0])
	}
	n.Address = args[0]
	for args = args[1:]; len(args) > 0; args = args[2:] {
		if len(args) < 2 {
			return n, usagef("%s: a value is wanted after it", args[0])
		}
		switch args[0] {
		case "mac", "lladdr":
			mac, err := net.ParseMAC(args[1])
			if err != nil || len(mac) != 6 {
				return n, usagef("mac %s: an Ethernet address like 02:00:5e:10:00:01 is wanted", args[1])
			}
			n.MAC = mac.String()
		case "port", "dev":
			n.Port = args[1]
		default:
			return n, usagef("%q is not a part of a neighbor: mac and port are", args[0])
		}
	}
	return n, nil
}

func (a *app) showNeighbors() *cobra.Command {
	return &cobra.Command{
		Use:               "neighbors [PORT]",
		Aliases:           []string{"neighbor", "neighbours", "neighbour", "arp"},
		Short:             "who is on the link, as ARP knows them",
		Args:              arguments(0, 1, "no more than the name of a port"),
		ValidArgsFunction: a.completeFirst(ports),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.Neighbors(ctx)
				if err == nil && len(args) == 1 {
					kept := []api.Neighbor{}
					for _, n := range all {
						if n.Port == args[0] {
							kept = append(kept, n)
						}
					}
					all = kept
					if len(kept) == 0 {
						there, err := c.Ports(ctx)
						if err == nil && !slices.ContainsFunc(there, func(p api.Port) bool { return p.Name == args[0] }) {
							return view{}, &api.Error{Code: api.NotFound, Message: noPort(args[0], there)}
						}
					}
				}
				return tableView(all, neighborsTable(all)), err
			})
		},
	}
}

func neighborsTable(all []api.Neighbor) *table {
	t := newTable("no neighbors", column{title: "ADDRESS"}, column{title: "PORT"}, column{title: "MAC"}, column{title: "STATE"},
		column{title: "AGE", right: true}, column{title: "WAITING", right: true, optional: true})
	for _, n := range all {
		state := cell{n.State, plain}
		switch n.State {
		case "reachable", "permanent":
			state.style = green
		case "incomplete", "probe", "delay":
			state.style = yellow
		case "failed":
			state.style = red
		}
		waiting := ""
		if n.Waiting > 0 {
			waiting = strconv.Itoa(n.Waiting)
		}
		t.add(text(n.Address), text(n.Port), text(n.MAC), state, text(age(n.AgeSeconds)), text(waiting))
	}
	return t
}
