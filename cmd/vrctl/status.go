package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) showStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "the router as a whole",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				s, err := c.Status(ctx)
				return view{rows: []api.Status{s}, draw: statusBlock(s).draw}, err
			})
		},
	}
}

func statusBlock(s api.Status) *block {
	var b block
	b.add("router", cell{s.Name, bold})
	ready := cell{"ready: packets are forwarded", green}
	if !s.Ready {
		ready = cell{"not ready: vrctl show ports says which port is not up", red}
	}
	b.add("state", ready)
	b.add("version", text(fmt.Sprintf("%s, pid %d", s.Version, s.PID)))
	b.add("running", text(fmt.Sprintf("%s, since %s", age(s.UptimeSeconds), clock(s.Started))))
	ports := cell{fmt.Sprintf("%d of %d up", s.PortsUp, s.Ports), plain}
	if s.PortsUp < s.Ports {
		ports.style = yellow
	}
	b.add("ports", ports)
	b.add("routes", text(fmt.Sprintf("%d known, %d in the FIB (%s)", s.Routes, s.FIBRoutes, memory(uint64(s.FIBBytes)))))
	b.add("neighbors", text(fmt.Sprint(s.Neighbors)))
	b.add("packets", text(fmt.Sprintf("%s in, %s out, %s dropped", count(s.RxPackets), count(s.TxPackets), count(s.Drops))))
	b.add("workers", text(fmt.Sprint(s.Workers)))
	b.add("memory", text(memory(s.MemoryBytes)))
	config := fmt.Sprintf("revision %d", s.Revision)
	if s.ConfigFile != "" {
		config += " of " + s.ConfigFile
	}
	if s.Unsaved {
		config += ", changed since: vrctl config save keeps it"
	}
	b.add("config", text(config))
	if s.Unconfirmed {
		b.add("", cell{fmt.Sprintf("waits for vrctl config confirm: undone in %s", age(s.ConfirmSecs)), yellow})
	}
	return &b
}
