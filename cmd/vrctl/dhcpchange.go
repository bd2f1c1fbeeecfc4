package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) dhcpCommand() *cobra.Command {
	dhcp := &cobra.Command{Use: "dhcp", Short: "forget or import leases; give a port's own address back, or renew it"}
	lease := &cobra.Command{Use: "lease", Aliases: []string{"leases"}, Short: "forget leases"}
	lease.AddCommand(a.leaseDel())
	dhcp.AddCommand(lease, a.dhcpImport(),
		a.onClient("release", "give a port's own address back to its server, and stay without one until it is renewed",
			"Give the address that a port has got by DHCP back to its server. The port stays without one until\nvrctl dhcp renew, or until the router starts anew.", (*client.Client).DHCPRelease),
		a.onClient("renew", "ask for a port's own address anew, at once",
			"Ask for the address of a port anew, at once: of its server where the port has one, else of any.", (*client.Client).DHCPRenew))
	return dhcp
}

func (a *app) leaseDel() *cobra.Command {
	var which api.LeaseFlush
	cmd := &cobra.Command{
		Use:     "del ADDRESS|all",
		Aliases: []string{"delete", "remove"},
		Short:   "forget the lease of an address, or all that are like that",
		Long: `Forget the lease of an address, whatever its state; a declined address is free again. The host is not told: it keeps
the address until it asks for it again, and the router asks by ARP before it gives the address to another.
With all: those of a network (--subnet), in a state (--state), or every one.`,
		Example: "  vrctl dhcp lease del 192.168.1.5\n  vrctl dhcp lease del all --state declined\n  vrctl dhcp lease del all --subnet guests",
		Args:    arguments(1, 1, "an address, or all"),
		ValidArgsFunction: a.completeFirst(func(ctx context.Context, c *client.Client) ([]string, error) {
			words, err := leaseAddresses(ctx, c)
			return append(words, "all"), err
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := aLeaseState("--state", which.State); err != nil {
				return err
			}
			if args[0] != "all" {
				if which != (api.LeaseFlush{}) {
					return usagef("%s is one lease: --state and --subnet go with all", args[0])
				}
				if err := anAddress("", args[0]); err != nil {
					return err
				}
				return a.with(func(c *client.Client) error { return c.DeleteLease(cmd.Context(), args[0]) })
			}
			return a.with(func(c *client.Client) error {
				n, err := c.FlushLeases(cmd.Context(), which)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON([]api.LeasesFlushed{{Leases: n}})
				}
				a.say("%s forgotten", several(n, "lease"))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&which.State, "state", "", "of all, those in this `state`: "+commas(leaseStates))
	cmd.Flags().StringVar(&which.Subnet, "subnet", "", "of all, those of this `network`, an entry under dhcp")
	cmd.RegisterFlagCompletionFunc("state", completeStates)
	cmd.RegisterFlagCompletionFunc("subnet", a.complete(dhcpOf("server")))
	return cmd
}

func (a *app) dhcpImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "take over the leases of dnsmasq",
		Long: `Take over the leases of a file in which dnsmasq keeps them, such as /var/lib/misc/dnsmasq.leases. A file with a
line that is none is refused whole, and nothing changes. What clashes with a lease that is bound, or fits
no network under dhcp, is passed over and told. Lines of IPv6 are skipped. A FILE of - is standard input.`,
		Example: "  vrctl dhcp import /var/lib/misc/dnsmasq.leases",
		Args:    arguments(1, 1, "one FILE, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := a.file("the file of leases", args[0])
			if err != nil {
				return err
			}
			return a.with(func(c *client.Client) error {
				done, err := c.ImportLeases(cmd.Context(), source)
				if err != nil {
					return inFile(args[0], err)
				}
				if a.json {
					return a.printJSON([]api.LeaseImport{done})
				}
				a.say("%s imported, %d refused, %s of IPv6 skipped", several(done.Imported, "lease"), done.Refused, several(done.Skipped, "line"))
				for _, r := range done.Refusals {
					fmt.Fprintf(a.err, "%s: %s\n", r.Address, r.Reason)
				}
				if left := done.Refused - len(done.Refusals); left > 0 {
					fmt.Fprintf(a.err, "… and %d more\n", left)
				}
				return nil
			})
		},
	}
}

// onClient is a command to the DHCP client of a port.
func (a *app) onClient(word, short, more string, do func(*client.Client, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:               word + " PORT",
		Short:             short,
		Long:              more,
		Example:           "  vrctl dhcp " + word + " wan",
		Args:              arguments(1, 1, "the name of a port"),
		ValidArgsFunction: a.completeFirst(dhcpOf("client")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(func(c *client.Client) error { return do(c, cmd.Context(), args[0]) })
		},
	}
}
