package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

const noDHCP = "DHCP is not spoken: a section `dhcp:` gives addresses away or relays, and `address: dhcp` lets a port get its own"

func (a *app) showDHCP() *cobra.Command {
	dhcp := &cobra.Command{
		Use:   "dhcp [NAME...]",
		Short: "where addresses are given away, relayed and got; see also show dhcp leases",
		Long: `Show the networks in which the router gives addresses away, the ports whose clients it relays,
and the ports that get their own address. With names: all about these, every message and every
reason for which one was refused.`,
		Example:           "  vrctl show dhcp\n  vrctl show dhcp lan\n  vrctl show dhcp leases --state declined",
		Args:              arguments(0, -1, "names of networks and ports"),
		ValidArgsFunction: a.complete(dhcpNames),
		Annotations:       map[string]string{takesNames: "networks and ports"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.DHCP(ctx)
				if err == nil && len(all) == 0 && len(args) > 0 {
					return view{}, errors.New(noDHCP)
				}
				if err != nil || len(args) == 0 {
					return tableView(filled(all), dhcpTable(all)), err
				}
				var chosen []api.DHCP
				for _, name := range args {
					before := len(chosen)
					for _, r := range all {
						if r.Name == name || r.Port == name {
							chosen = append(chosen, r)
						}
					}
					if len(chosen) == before {
						return view{}, fmt.Errorf("DHCP has neither a network nor a port %q: vrctl show dhcp lists them", name)
					}
				}
				return view{rows: chosen, draw: func(s screen) string { return dhcpBlocks(s, chosen) }}, nil
			})
		},
	}
	dhcp.AddCommand(a.showLeases())
	return dhcp
}

func dhcpTable(all []api.DHCP) *table {
	t := newTable(noDHCP,
		column{title: "NAME"}, column{title: "ROLE"}, column{title: "STATE"}, column{title: "ADDRESS", optional: true}, column{title: "LEASED", right: true, optional: true},
		column{title: "FREE", right: true, optional: true}, column{title: "OFFERED", right: true, optional: true, spare: true}, column{title: "DECLINED", right: true, optional: true, spare: true},
		column{title: "SERVER", optional: true}, column{title: "RENEWS", optional: true, spare: true}, column{title: "EXPIRES", optional: true},
		column{title: "REFUSED", right: true, spare: true})
	for _, r := range all {
		server, renews, expires := r.Server, "", ""
		var leased, free, offered, declined string
		switch r.Role {
		case "server":
			leased, free, offered, declined = strconv.Itoa(r.Leased), strconv.Itoa(r.Free), strconv.Itoa(r.Offered), strconv.Itoa(r.Declined)
		case "relay":
			server = commas(r.Servers)
		case "client":
			if r.Address != "" {
				renews, expires = moment(r.Renews), moment(r.Expires)
			}
		}
		t.add(cell{r.Name, bold}, text(r.Role), dhcpState(r), text(r.Address), text(leased), text(free), text(offered), text(declined),
			text(server), text(renews), text(expires), bad(r.Refused))
		t.note(r.Reason)
		if r.Reason == "" {
			t.note(mostlyRefused(r.Refusals))
		}
	}
	return t
}

// moment is a time as tables have it; nil is never.
func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return clock(*t)
}

func dhcpState(r api.DHCP) cell {
	switch {
	case r.State == "up" || r.State == "bound":
		return cell{r.State, green}
	case r.State == "down" || r.Role == "client" && r.Address == "":
		return cell{r.State, red}
	}
	return cell{r.State, yellow}
}

// mostlyRefused is the most frequent reason, in words.
func mostlyRefused(all []api.Refusal) string {
	var sum uint64
	for _, r := range all {
		sum += r.Count
	}
	switch len(all) {
	case 0:
		return ""
	case 1:
		return strings.TrimSuffix(all[0].Description, ".")
	}
	return fmt.Sprintf("%s (%s of %s)", strings.TrimSuffix(all[0].Description, "."), count(all[0].Count), count(sum))
}

func dhcpBlocks(s screen, chosen []api.DHCP) string {
	var parts []string
	for _, r := range chosen {
		var b block
		b.add("name", cell{r.Name, bold})
		b.add("role", text(r.Role))
		b.add("port", text(r.Port))
		b.add("state", dhcpState(r))
		b.add("because", text(r.Reason))
		b.add("address", text(r.Address))
		b.add("network", text(r.Network))
		b.add("ranges", text(commas(r.Ranges)))
		if r.Role == "server" {
			b.add("addresses", text(fmt.Sprintf("%d in the ranges, %d free", r.Size, r.Free)))
			b.add("leases", text(fmt.Sprintf("%d bound, %d offered, %d declined", r.Leased, r.Offered, r.Declined)))
		}
		b.add("servers", text(commas(r.Servers)))
		b.add("server", text(r.Server))
		b.add("gateway", text(r.Gateway))
		b.add("dns", text(commas(r.DNS)))
		b.add("domain", text(r.Domain))
		if r.Role == "client" && r.Address != "" {
			if r.Acquired != nil {
				b.add("acquired", text(clock(*r.Acquired)))
			}
			b.add("renews", text(moment(r.Renews)))
			b.add("rebinds", text(moment(r.Rebinds)))
			b.add("expires", text(moment(r.Expires)))
		}
		if r.Role != "server" || len(r.Messages) > 0 || r.Refused > 0 { // those of a server are counted with its first network
			b.add("received", text(messageWords(r.Messages, func(m api.DHCPMessages) uint64 { return m.Received })))
			b.add("sent", text(messageWords(r.Messages, func(m api.DHCPMessages) uint64 { return m.Sent })))
			b.add("refused", text(messagesRefused(r.Refused)))
		}
		parts = append(parts, b.draw(s)+refusals(s, r.Refusals))
	}
	return strings.Join(parts, "\n")
}

func messagesRefused(n uint64) string {
	if n == 0 {
		return "nothing"
	}
	return plural(n, "message", "messages")
}

// messageWords are "40 discover, 510 request", or nothing.
func messageWords(all []api.DHCPMessages, number func(api.DHCPMessages) uint64) string {
	var words []string
	for _, m := range all {
		if n := number(m); n > 0 {
			words = append(words, count(n)+" "+m.Type)
		}
	}
	if len(words) == 0 {
		return "nothing"
	}
	return commas(words)
}

// refusals are all reasons for which messages were refused.
func refusals(s screen, all []api.Refusal) string { return reasonTable(s, "REFUSED", all) }

// reasonTable is a table of reasons, and how often each happened.
func reasonTable(s screen, title string, all []api.Refusal) string {
	t := newTable("", column{title: title, right: true}, column{title: "REASON"}, column{title: "DESCRIPTION", flexible: true})
	for _, r := range all {
		t.add(text(count(r.Count)), cell{r.Reason, bold}, text(r.Description))
	}
	return t.draw(s)
}

// What the shell completes of DHCP.

func dhcpNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.DHCP(ctx)
	var words []string
	for _, r := range all {
		words = append(words, r.Name+"\t"+strings.TrimSpace(r.Role+" "+r.State+" "+r.Address))
	}
	return words, err
}

// dhcpOf are the rows of a role.
func dhcpOf(role string) source {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		all, err := c.DHCP(ctx)
		all = slices.DeleteFunc(all, func(r api.DHCP) bool { return r.Role != role })
		var words []string
		for _, r := range all {
			words = append(words, r.Name+"\t"+strings.TrimSpace(r.State+" "+r.Address))
		}
		return words, err
	}
}
