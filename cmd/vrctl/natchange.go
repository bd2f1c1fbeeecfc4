package main

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) natCommand() *cobra.Command {
	nat := &cobra.Command{Use: "nat", Short: "end sessions; add or delete a port forward"}
	forward := &cobra.Command{Use: "forward", Aliases: []string{"forwards"}, Short: "add or delete a port forward"}
	forward.AddCommand(a.forwardAdd(), a.forwardDel())
	nat.AddCommand(a.natFlush(), forward)
	return nat
}

func (a *app) natFlush() *cobra.Command {
	var f api.NATFlush
	cmd := &cobra.Command{
		Use:   "flush [address ADDRESS] [port N] [protocol P]",
		Short: "end the sessions that match, or all",
		Long: `End the sessions that have this address, port or protocol at any of their ends; without
any, all sessions. What goes on opens new ones, by the present configuration. Each word
may be written as a flag too.`,
		Example:           "  vrctl nat flush\n  vrctl nat flush address 192.168.1.5\n  vrctl nat flush --protocol udp --port 53",
		Args:              arguments(0, -1, ""),
		ValidArgsFunction: a.completeFlush,
		RunE: func(cmd *cobra.Command, args []string) error {
			port := ""
			if err := words(args, "what is flushed", map[string]*string{"address": &f.Address, "port": &port, "protocol": &f.Protocol, "proto": &f.Protocol}); err != nil {
				return err
			}
			if port != "" {
				n, err := number("port", port, 1, 1<<16-1)
				if err != nil {
					return err
				}
				f.Port = n
			}
			if err := checkFilter(f.Address, f.Port, f.Protocol); err != nil {
				return err
			}
			return a.with(func(c *client.Client) error {
				n, err := c.FlushSessions(cmd.Context(), f)
				if err == nil && a.json {
					return a.printJSON([]api.SessionsFlushed{{Sessions: n}})
				}
				if err == nil {
					a.say("%s ended", several(n, "session"))
				}
				return err
			})
		},
	}
	a.filterFlags(cmd, &f.Address, &f.Port, &f.Protocol)
	return cmd
}

// words reads KEY VALUE KEY VALUE… of a command that changes something.
func words(args []string, of string, into map[string]*string) error {
	for ; len(args) > 0; args = args[2:] {
		key := args[0]
		target, ok := into[key]
		if !ok {
			keys := make([]string, 0, len(into))
			for k := range into {
				if k != "proto" && k != "dev" { // the same as another
					keys = append(keys, k)
				}
			}
			slices.Sort(keys)
			return usagef("%q is not a part of %s: %s", key, of, meant(key, keys))
		}
		if len(args) < 2 {
			return usagef("%s: a value is wanted after it", key)
		}
		if *target != "" && *target != args[1] {
			return usagef("%s is given twice: %s and %s", key, *target, args[1])
		}
		*target = args[1]
	}
	return nil
}

const forwardSyntax = `A forward is written as routes are, or with flags of the same names:

  in PORT protocol tcp|udp port N[-M] to ADDRESS[:N] [name NAME]

What arrives at the router's addresses on PORT for these ports is sent to the inside ADDRESS, to
the same port unless one is given; of a range the others follow.`

func (a *app) forwardAdd() *cobra.Command {
	var f api.ForwardSpec
	cmd := &cobra.Command{
		Use:   "add in PORT protocol tcp|udp port N[-M] to ADDRESS[:N] [name NAME]",
		Short: "add a port forward to the running router",
		Long:  "Add a port forward to the running router. vrctl config save keeps it.\n\n" + forwardSyntax,
		Example: "  vrctl nat forward add in wan protocol tcp port 80 to 192.168.1.5\n  vrctl nat forward add in wan protocol tcp port 2222 to 192.168.1.5:22 name ssh\n" +
			"  vrctl nat forward add --in wan --protocol udp --port 8000-8010 --to 192.168.1.9",
		Args:              arguments(0, -1, ""),
		ValidArgsFunction: a.completeForward(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := parseForward(args, &f); err != nil {
				return err
			}
			if f.To == "" {
				return usagef("a forward leads to an inside address: add to ADDRESS or to ADDRESS:PORT")
			}
			return a.with(func(c *client.Client) error { return c.AddForward(cmd.Context(), f) })
		},
	}
	a.forwardFlags(cmd, &f)
	return cmd
}

func (a *app) forwardDel() *cobra.Command {
	var f api.ForwardSpec
	cmd := &cobra.Command{
		Use:               "del in PORT protocol tcp|udp port N[-M] [to ADDRESS[:N]] [name NAME]",
		Aliases:           []string{"delete", "remove"},
		Short:             "delete a port forward from the running router",
		Long:              "Delete a port forward; to and name are not compared where they are left out.\n\n" + forwardSyntax,
		Example:           "  vrctl nat forward del in wan protocol tcp port 80",
		Args:              arguments(0, -1, ""),
		ValidArgsFunction: a.completeForward(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := parseForward(args, &f); err != nil {
				return err
			}
			return a.with(func(c *client.Client) error { return c.DeleteForward(cmd.Context(), f) })
		},
	}
	a.forwardFlags(cmd, &f)
	return cmd
}

func (a *app) forwardFlags(cmd *cobra.Command, f *api.ForwardSpec) {
	flags := cmd.Flags()
	flags.StringVar(&f.In, "in", "", "the outside `port` of the router")
	flags.StringVar(&f.Protocol, "protocol", "", "`tcp or udp`")
	flags.StringVar(&f.Port, "port", "", "the outside TCP or UDP `port` or range")
	flags.StringVar(&f.To, "to", "", "the inside `address`, with :PORT where the port changes")
	flags.StringVar(&f.Name, "name", "", "the `name` of the forward")
	cmd.RegisterFlagCompletionFunc("in", a.complete(ports))
	cmd.RegisterFlagCompletionFunc("protocol", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return beginning(protocols[:2], begun), cobra.ShellCompDirectiveNoFileComp
	})
}

// parseForward reads the words of a forward into what the flags have left open.
func parseForward(args []string, f *api.ForwardSpec) error {
	if err := words(args, "a forward", map[string]*string{"in": &f.In, "dev": &f.In, "protocol": &f.Protocol, "proto": &f.Protocol,
		"port": &f.Port, "to": &f.To, "name": &f.Name}); err != nil {
		return err
	}
	switch {
	case f.In == "":
		return usagef("a forward is of an outside port: write in PORT, like in wan")
	case f.Protocol == "":
		return usagef("a forward is of one protocol: write protocol tcp or protocol udp")
	case !slices.Contains(protocols[:2], strings.ToLower(f.Protocol)):
		return usagef("%q is no protocol with ports: %s", f.Protocol, meant(f.Protocol, protocols[:2]))
	case f.Port == "":
		return usagef("a forward is of a port or a range: write port 80 or port 8000-8010")
	}
	f.Protocol = strings.ToLower(f.Protocol)
	if err := portWords(f.Port); err != nil {
		return err
	}
	if f.To == "" {
		return nil
	}
	if to, err := netip.ParseAddr(f.To); err == nil && to.Is4() {
		return nil
	}
	if to, err := netip.ParseAddrPort(f.To); err != nil || !to.Addr().Is4() || to.Port() == 0 {
		return usagef("to %s: an inside address like 192.168.1.5 or 192.168.1.5:8080 is wanted", f.To)
	}
	return nil
}

// portWords checks 80 or 8000-8010.
func portWords(s string) error {
	low, high, ranges := strings.Cut(s, "-")
	from, err := strconv.Atoi(low)
	to := from
	if ranges && err == nil {
		to, err = strconv.Atoi(high)
	}
	if err != nil || from < 1 || to < 1 || from > 1<<16-1 || to > 1<<16-1 {
		return usagef("port %s: a port from 1 to 65535 or a range like 8000-8010 is wanted", s)
	}
	if to < from {
		return usagef("port %s runs backwards: write %d-%d", s, to, from)
	}
	return nil
}

// What the shell completes of NAT.

func (a *app) completeFlush(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	stop := cobra.ShellCompDirectiveNoFileComp
	switch last(args) {
	case "address", "port":
		return nil, stop
	case "protocol":
		return beginning(protocols, begun), stop
	}
	return beginning([]string{"address", "port", "protocol"}, begun), stop
}

func last(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[len(args)-1]
}

// forwards that could be deleted: one completes the words of another, so that each is asked for what it has.
func forwardWords(word string) source {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		all, err := c.NATRules(ctx)
		var found []string
		for _, r := range all {
			if r.Kind != "forward" {
				continue
			}
			value := map[string]string{"to": r.To, "name": r.Name}[word]
			if value != "" {
				found = append(found, value+"\t"+strings.TrimSpace(r.Match+" of "+r.Port))
			}
		}
		return found, err
	}
}

func (a *app) completeForward(existing bool) completion {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		stop := cobra.ShellCompDirectiveNoFileComp
		switch word := last(args); word {
		case "in", "dev":
			return a.ask(ports, begun), stop
		case "protocol", "proto":
			return beginning(protocols[:2], begun), stop
		case "to", "name":
			if existing {
				return a.ask(forwardWords(word), begun), stop
			}
			return nil, stop
		case "port":
			return nil, stop
		}
		return beginning([]string{"in", "protocol", "port", "to", "name"}, begun), stop
	}
}

// completeEnds completes what may follow "session" or "mapping" in a condition.
func (a *app) completeEnds(noun string, args []string, begun string) []string {
	switch last(args) {
	case "protocol":
		return beginning(protocols, begun)
	case "state":
		return beginning([]string{"established", "replied", "unreplied", "syn_sent", "syn_received", "time_wait"}, begun)
	case "by":
		return beginning([]string{"traffic", "nat_pmp", "pcp", "upnp", "helper"}, begun)
	case "", "inside", "outside", "remote":
		return nil
	}
	return beginning([]string{"inside", "outside", "remote", "protocol", map[string]string{"session": "state", "mapping": "by"}[noun]}, begun)
}
