package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) portCommand() *cobra.Command {
	port := &cobra.Command{Use: "port", Aliases: []string{"ports"}, Short: "take a port up or down"}
	for _, to := range []struct {
		name  string
		up    bool
		short string
	}{
		{"up", true, "bring a port up"},
		{"down", false, "take a port down: nothing enters or leaves through it until it is up again"},
	} {
		port.AddCommand(&cobra.Command{
			Use:               to.name + " NAME",
			Short:             to.short,
			Args:              arguments(1, 1, "the name of a port"),
			ValidArgsFunction: a.completeFirst(ports),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.with(func(c *client.Client) error { return c.SetPort(cmd.Context(), args[0], to.up) })
			},
		})
	}
	return port
}

func (a *app) showPorts() *cobra.Command {
	return &cobra.Command{
		Use:               "ports [NAME...]",
		Aliases:           []string{"port", "interfaces", "links"},
		Short:             "ports, their state and traffic; with names, everything about these",
		Example:           "  vrctl show ports\n  vrctl show port lan",
		ValidArgsFunction: a.complete(ports),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.Ports(ctx)
				if err != nil || len(args) == 0 {
					return tableView(all, portsTable(all)), err
				}
				var chosen []api.Port
				for _, name := range args {
					i := slices.IndexFunc(all, func(p api.Port) bool { return p.Name == name })
					if i < 0 {
						return view{}, &api.Error{Code: api.NotFound, Message: noPort(name, all)}
					}
					chosen = append(chosen, all[i])
				}
				return view{rows: chosen, draw: func(s screen) string { return portBlocks(s, chosen) }}, nil
			})
		},
	}
}

func noPort(name string, all []api.Port) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return fmt.Sprintf("there is no port %q: there are %s", name, commas(names))
}

func portsTable(all []api.Port) *table {
	t := newTable("no ports",
		column{title: "NAME"}, column{title: "STATE"}, column{title: "KIND", spare: true}, column{title: "ADDRESS"},
		column{title: "MTU", right: true}, column{title: "KERNEL END", flexible: true},
		column{title: "RX", right: true}, column{title: "RX BYTES", right: true, spare: true},
		column{title: "TX", right: true}, column{title: "TX BYTES", right: true, spare: true}, column{title: "DROPS", right: true})
	for _, p := range all {
		drops := cell{count(p.RxDrops + p.TxDrops), plain}
		if p.RxDrops+p.TxDrops > 0 {
			drops.style = yellow
		}
		t.add(cell{p.Name, bold}, portState(p), text(p.Kind), text(at(p.Addresses, 0)), text(strconv.Itoa(p.MTU)), text(kernelEnd(p)),
			text(count(p.RxPackets)), text(octets(p.RxBytes)), text(count(p.TxPackets)), text(octets(p.TxBytes)), drops)
		// Further addresses stand below the first.
		for _, more := range p.Addresses[min(1, len(p.Addresses)):] {
			t.add(text(""), text(""), text(""), text(more), text(""), text(""), text(""), text(""), text(""), text(""), text(""))
		}
		if !p.Up {
			t.note(p.Reason)
		}
	}
	return t
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

func portState(p api.Port) cell {
	word := p.State
	if word == "" {
		word = map[bool]string{true: "up", false: "down"}[p.Up]
	}
	switch {
	case p.Up:
		return cell{word, green}
	case word == "disabled":
		return cell{word, dim}
	}
	return cell{word, red}
}

// kernelEnd is where the other end is: namespace/device, and the bridge it is in.
func kernelEnd(p api.Port) string {
	end := p.Device
	if p.Netns != "" {
		end = p.Netns + "/" + end
	}
	if p.Bridge != "" {
		end += " in " + p.Bridge
	}
	return end
}

func portBlocks(s screen, chosen []api.Port) string {
	var parts []string
	for _, p := range chosen {
		var b block
		b.add("port", cell{p.Name, bold})
		b.add("state", portState(p))
		if !p.Up {
			b.add("because", text(p.Reason))
		}
		b.add("kind", text(p.Kind))
		b.add("kernel end", text(kernelEnd(p)))
		b.add("address", text(commas(p.Addresses)))
		b.add("mac", text(p.MAC))
		b.add("mtu", text(strconv.Itoa(p.MTU)))
		b.add("offload", text(map[bool]string{true: "on", false: "off"}[p.Offload]))
		b.add("queues", text(strconv.Itoa(p.Queues)))
		b.add("received", text(traffic(p.RxPackets, p.RxBytes, p.RxDrops)))
		b.add("sent", text(traffic(p.TxPackets, p.TxBytes, p.TxDrops)))
		parts = append(parts, b.draw(s))
	}
	return strings.Join(parts, "\n")
}

func traffic(packets, bytes, drops uint64) string {
	return fmt.Sprintf("%d packets, %s, %d dropped", packets, octets(bytes), drops)
}
