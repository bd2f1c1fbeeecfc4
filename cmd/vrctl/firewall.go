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

const noFirewall = "there is no firewall: a section `firewall:` in the configuration makes one"

// takesNames marks a command with subcommands whose argument may be any word that is none of them.
const takesNames = "takes names"

func (a *app) showFirewall() *cobra.Command {
	firewall := &cobra.Command{
		Use:   "firewall [RULE]",
		Short: "the rules and policies of the firewall, and what they have matched; see also show firewall set",
		Long: `Show the access rules, the rules and the policies of the firewall in the order in which a packet
meets them, and what each has matched: packets by access rules, sessions' first packets by the
others. LINE is that of the configuration. With the name of a RULE: all about it.`,
		Example:           "  vrctl show firewall\n  vrctl show firewall ping\n  vrctl show firewall set\n  vrctl show firewall set barred",
		Args:              arguments(0, 1, "no more than the name of a rule"),
		ValidArgsFunction: a.completeFirst(ruleNames),
		Annotations:       map[string]string{takesNames: "rules"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.FirewallRules(ctx)
				if err == nil && len(all) == 0 && len(args) == 1 {
					return view{}, errors.New(noFirewall)
				}
				if err != nil || len(args) == 0 {
					return tableView(filled(all), firewallTable(all)), err
				}
				chosen := slices.DeleteFunc(slices.Clone(all), func(r api.FirewallRule) bool { return r.Name != args[0] })
				if len(chosen) == 0 {
					return view{}, noRule(args[0], all)
				}
				return view{rows: chosen, draw: func(s screen) string { return ruleBlocks(s, chosen) }}, nil
			})
		},
	}
	firewall.AddCommand(a.showSet())
	return firewall
}

func noRule(name string, all []api.FirewallRule) error {
	var names []string
	for _, r := range all {
		if r.Name != "" && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return fmt.Errorf("the firewall has no rule %q: %s", name, meant(name, names))
}

// wherever is a zone or port of a rule; "" is any.
func wherever(s string) cell {
	if s == "" {
		return cell{"any", dim}
	}
	return text(s)
}

func firewallAction(action string) cell {
	switch {
	case action == "accept":
		return cell{action, green}
	case action == "drop":
		return cell{action, red}
	}
	return cell{action, yellow}
}

func firewallTable(all []api.FirewallRule) *table {
	t := newTable(noFirewall,
		column{title: "KIND"}, column{title: "NAME", optional: true}, column{title: "FROM"}, column{title: "TO"},
		column{title: "MATCH", flexible: true, least: 32}, column{title: "ACTION"}, column{title: "LOG", optional: true, spare: true},
		column{title: "PACKETS", right: true}, column{title: "BYTES", right: true, spare: true}, column{title: "LINE", right: true, optional: true, spare: true})
	for _, r := range all {
		t.add(cell{r.Kind, dim}, cell{r.Name, bold}, wherever(r.From), wherever(r.To), text(r.Match), firewallAction(r.Action),
			text(map[bool]string{true: "log"}[r.Log]), text(count(r.Packets)), text(octets(r.Bytes)), text(lineNumber(r.Line)))
	}
	return t
}

func ruleBlocks(s screen, chosen []api.FirewallRule) string {
	var parts []string
	for _, r := range chosen {
		var b block
		b.add("rule", cell{r.Name, bold})
		b.add("kind", text(r.Kind))
		b.add("from", wherever(r.From))
		b.add("to", wherever(r.To))
		b.add("match", text(r.Match))
		b.add("action", firewallAction(r.Action))
		b.add("log", text(map[bool]string{true: "yes", false: "no"}[r.Log]))
		b.add("matched", text(fmt.Sprintf("%s, %s", plural(r.Packets, "packet", "packets"), octets(r.Bytes))))
		b.add("line", text(lineNumber(r.Line)))
		parts = append(parts, b.draw(s))
	}
	return strings.Join(parts, "\n")
}

func (a *app) showSet() *cobra.Command {
	return &cobra.Command{
		Use:               "set [NAME]",
		Aliases:           []string{"sets"},
		Short:             "the firewall's sets of addresses; with a name, what is in it",
		Long:              "Show the firewall's named sets of addresses. With a NAME: its members, those of the\nconfiguration and those that rules and users have added.",
		Example:           "  vrctl show firewall set\n  vrctl show firewall set barred",
		Args:              arguments(0, 1, "no more than the name of a set"),
		ValidArgsFunction: a.completeFirst(setNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				if len(args) == 1 {
					all, err := c.SetMembers(ctx, args[0])
					return tableView(filled(all), membersTable(args[0], all)), knownSet(ctx, c, args[0], err)
				}
				all, err := c.FirewallSets(ctx)
				if err != nil || len(all) > 0 {
					return tableView(all, setsTable(all)), err
				}
				v := tableView(filled(all), setsTable(all))
				if rules, err := c.FirewallRules(ctx); err != nil || len(rules) > 0 {
					return v, err
				}
				v.empty = noFirewall
				return v, nil
			})
		},
	}
}

// knownSet says of a set that there is not which was meant.
func knownSet(ctx context.Context, c *client.Client, name string, err error) error {
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != api.NotFound {
		return err
	}
	all, e := c.FirewallSets(ctx)
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Name
	}
	if e != nil || slices.Contains(names, name) {
		return err // something else was not found
	}
	return fmt.Errorf("the firewall has no set %q: %s", name, meant(name, names))
}

func setsTable(all []api.FirewallSet) *table {
	t := newTable("the firewall has no sets", column{title: "NAME"}, column{title: "MEMBERS", right: true}, column{title: "ADDED", right: true},
		column{title: "MAX", right: true}, column{title: "TIMEOUT", right: true}, column{title: "LINE", right: true, optional: true, spare: true})
	for _, s := range all {
		timeout := cell{"never", dim}
		if s.TimeoutSeconds > 0 {
			timeout = text(age(s.TimeoutSeconds))
		}
		full := plain
		if s.Added >= s.Max && s.Max > 0 {
			full = yellow
		}
		t.add(cell{s.Name, bold}, text(strconv.Itoa(s.Members)), cell{strconv.Itoa(s.Added), full}, text(strconv.Itoa(s.Max)), timeout, text(lineNumber(s.Line)))
	}
	return t
}

func membersTable(name string, all []api.SetMember) *table {
	t := newTable("the set "+name+" is empty", column{title: "ADDRESS"}, column{title: "FROM"}, column{title: "EXPIRES", right: true})
	for _, m := range all {
		from, expires := "configuration", cell{"never", dim}
		if m.Dynamic {
			from = "added"
		}
		if m.ExpiresSeconds > 0 {
			expires = text(age(m.ExpiresSeconds))
		}
		t.add(cell{m.Address, bold}, text(from), expires)
	}
	return t
}

func (a *app) firewallCommand() *cobra.Command {
	firewall := &cobra.Command{Use: "firewall", Short: "add an address to a set of the firewall, or take it out"}
	set := &cobra.Command{Use: "set", Aliases: []string{"sets"}, Short: "add an address to a set of the firewall, or take it out"}
	set.AddCommand(
		&cobra.Command{
			Use:   "add SET ADDRESS [for TIME]",
			Short: "add an address to a set",
			Long: `Add an address to a set of the firewall, for a time like 1h or 90s; without one, for the timeout of
the set. What is added is kept neither by a restart nor by vrctl config save.`,
			Example:           "  vrctl firewall set add barred 203.0.113.9\n  vrctl firewall set add barred 203.0.113.9 for 1h",
			Args:              arguments(2, 4, "SET ADDRESS [for TIME]"),
			ValidArgsFunction: a.completeMember(false),
			RunE: func(cmd *cobra.Command, args []string) error {
				m, err := parseMember(args)
				if err != nil {
					return err
				}
				return a.with(func(c *client.Client) error {
					return knownSet(cmd.Context(), c, m.Set, c.AddMember(cmd.Context(), m))
				})
			},
		},
		&cobra.Command{
			Use:               "del SET ADDRESS",
			Aliases:           []string{"delete", "remove"},
			Short:             "take an address that was added out of a set",
			Example:           "  vrctl firewall set del barred 203.0.113.9",
			Args:              arguments(2, 2, "SET ADDRESS"),
			ValidArgsFunction: a.completeMember(true),
			RunE: func(cmd *cobra.Command, args []string) error {
				m, err := parseMember(args)
				if err != nil {
					return err
				}
				return a.with(func(c *client.Client) error {
					return knownSet(cmd.Context(), c, m.Set, c.DeleteMember(cmd.Context(), m.Set, m.Address))
				})
			},
		},
	)
	firewall.AddCommand(set)
	return firewall
}

// parseMember reads SET ADDRESS [for TIME].
func parseMember(args []string) (m api.SetChange, err error) {
	m.Set, m.Address = args[0], args[1]
	if err := hostAddress(m.Address, ""); err != nil {
		return m, err
	}
	span := ""
	if err := words(args[2:], "a member of a set", map[string]*string{"for": &span}); err != nil || span == "" {
		return m, err
	}
	m.For, err = duration("for", span, time.Second)
	return m, err
}

// What the shell completes of the firewall.

func ruleNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.FirewallRules(ctx)
	var found []string
	for _, r := range all {
		if r.Name != "" {
			found = append(found, r.Name+"\t"+r.Action+" "+r.Match)
		}
	}
	return found, err
}

func setNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.FirewallSets(ctx)
	var found []string
	for _, s := range all {
		found = append(found, s.Name+"\t"+several(s.Members, "member"))
	}
	return found, err
}

// addedTo a set are the members that can be taken out.
func addedTo(set string) source {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		all, err := c.SetMembers(ctx, set)
		var found []string
		for _, m := range all {
			if m.Dynamic {
				found = append(found, m.Address)
			}
		}
		return found, err
	}
}

func (a *app) completeMember(existing bool) completion {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		stop := cobra.ShellCompDirectiveNoFileComp
		switch {
		case len(args) == 0:
			return a.ask(setNames, begun), stop
		case len(args) == 1 && existing:
			return a.ask(addedTo(args[0]), begun), stop
		case len(args) == 2 && !existing:
			return beginning([]string{"for"}, begun), stop
		}
		return nil, stop
	}
}
