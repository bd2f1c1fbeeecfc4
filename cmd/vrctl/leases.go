package main

import (
	"context"
	"iter"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

var leaseStates = []string{"offered", "bound", "released", "expired", "declined"}

const noServer = "no addresses are given away: a section `dhcp:` with a `range:` starts it"

func (a *app) showLeases() *cobra.Command {
	var q api.LeaseQuery
	var limit int
	cmd := &cobra.Command{
		Use:     "leases",
		Aliases: []string{"lease"},
		Short:   "who has which address, and until when",
		Long: `Show the addresses that the router has given away, by address: who has each, and until when; of
those that were released or have expired, who had it last. A * marks what is reserved.

The flags show only what is like that; of a table with more than a thousand rows the first
thousand are printed, or as many as --limit says.`,
		Example: "  vrctl show dhcp leases\n  vrctl show dhcp leases --name printer\n  vrctl show dhcp leases --subnet lan --state bound\n  vrctl --json show dhcp leases --address 192.168.1.0/28",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLeases(&q); err != nil {
				return err
			}
			if limit < 0 {
				return usagef("--limit %d: a number from 0 up is wanted, 0 for all rows", limit)
			}
			like := q != api.LeaseQuery{}
			return showLong(a, cmd, long[api.Lease]{
				pages: func(ctx context.Context, c *client.Client, limit int) iter.Seq2[client.Part[api.Lease], error] {
					q.Limit = limit
					return c.Leases(ctx, q)
				},
				part: like, like: like, limit: limit, table: leasesTable(), add: addLease,
				empty: func(ctx context.Context, c *client.Client) (string, error) {
					all, err := c.DHCP(ctx)
					if slices.ContainsFunc(all, func(r api.DHCP) bool { return r.Role == "server" }) {
						return "", err
					}
					return noServer, err
				},
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Address, "address", "", "only this `address`, or those in a network like 192.168.1.0/28")
	f.StringVar(&q.MAC, "mac", "", "only of this hardware `address`")
	f.StringVar(&q.Hostname, "name", "", "only of the host with this `name`")
	f.StringVar(&q.Port, "port", "", "only at this `port` of the router")
	f.StringVar(&q.Subnet, "subnet", "", "only of this `network`, an entry under dhcp")
	f.StringVar(&q.State, "state", "", "only in this `state`: "+commas(leaseStates))
	f.IntVar(&limit, "limit", shownRows, "at most so many `rows`; 0 for all, which is what --json prints if nothing is said")
	cmd.RegisterFlagCompletionFunc("port", a.complete(ports))
	cmd.RegisterFlagCompletionFunc("subnet", a.complete(dhcpOf("server")))
	cmd.RegisterFlagCompletionFunc("state", completeStates)
	return cmd
}

func completeStates(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return beginning(leaseStates, begun), cobra.ShellCompDirectiveNoFileComp
}

// checkLeases holds what the flags have read.
func checkLeases(q *api.LeaseQuery) error {
	if strings.Contains(q.Address, "/") {
		if _, err := network(q.Address); err != nil {
			return err
		}
	} else if err := hostAddress(q.Address, ""); err != nil {
		return err
	}
	if q.MAC != "" {
		if err := anEthernet("--mac", q.MAC); err != nil {
			return err
		}
	}
	q.MAC, q.Hostname = strings.ToLower(q.MAC), hostLabel(q.Hostname)
	return aLeaseState("--state", q.State)
}

func aLeaseState(key, value string) error {
	if value != "" && !slices.Contains(leaseStates, value) {
		return usagef("%s %q is no state of a lease: %s", key, value, meant(value, leaseStates))
	}
	return nil
}

func anEthernet(key, value string) error {
	if m, err := net.ParseMAC(value); err != nil || len(m) != 6 {
		return usagef("%s %s: an Ethernet address like 02:00:5e:10:00:01 is wanted", key, value)
	}
	return nil
}

// hostLabel is the name of a host as leases have it: without its domain.
func hostLabel(name string) string {
	label, _, _ := strings.Cut(strings.ToLower(name), ".")
	return label
}

func leasesTable() *table {
	return newTable("no leases", column{title: " "},
		column{title: "ADDRESS"}, column{title: "MAC"}, column{title: "NAME", flexible: true}, column{title: "STATE"}, column{title: "EXPIRES"},
		column{title: "SUBNET", spare: true}, column{title: "PORT", spare: true}, column{title: "CLIENT ID", spare: true}, column{title: "VENDOR", spare: true})
}

func addLease(t *table, l api.Lease) {
	mark := cell{" ", plain}
	if l.Reserved {
		mark = cell{"*", green}
	}
	t.add(mark, cell{l.Address, bold}, text(l.MAC), text(l.Hostname), cell{l.State, leaseStyle(l.State)}, text(moment(l.Expires)),
		text(l.Subnet), text(l.Port), text(beginningOf(l.ClientID)), text(l.Vendor))
}

// beginningOf is as much of a client id as a table has room for; DUIDs, with which most long ones are made, are shown whole.
func beginningOf(id string) string {
	const most = 24 * 3 // octets, each with its colon
	if len(id) < most {
		return id
	}
	return id[:most-1] + "…"
}

func leaseStyle(state string) style {
	switch state {
	case "bound":
		return green
	case "offered":
		return yellow
	case "declined":
		return red
	}
	return dim
}

// leaseAddresses for the shell.
func leaseAddresses(ctx context.Context, c *client.Client) ([]string, error) {
	p, err := c.LeasePage(ctx, api.LeaseQuery{})
	var words []string
	for _, l := range p.Leases {
		words = append(words, l.Address+"\t"+strings.TrimSpace(strings.TrimSpace(l.Hostname+" "+l.MAC)+" "+l.State))
	}
	return words, err
}

// leaseNames for the shell.
func leaseNames(ctx context.Context, c *client.Client) ([]string, error) {
	p, err := c.LeasePage(ctx, api.LeaseQuery{})
	var words []string
	for _, l := range p.Leases {
		if l.Hostname != "" {
			words = append(words, l.Hostname+"\t"+l.Address)
		}
	}
	return words, err
}
