package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/client"
)

// completeTimeout is all the time that a shell waits for the daemon.
const completeTimeout = 300 * time.Millisecond

// source asks the daemon for words; a tab parts a word from its description.
type source func(context.Context, *client.Client) ([]string, error)

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

func ports(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Ports(ctx)
	var words []string
	for _, p := range all {
		words = append(words, p.Name+"\t"+p.State+" "+commas(p.Addresses))
	}
	return words, err
}

func prefixes(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Routes(ctx)
	seen := map[string]bool{}
	var words []string
	for _, r := range all {
		if !seen[r.Prefix] {
			seen[r.Prefix] = true
			words = append(words, r.Prefix+"\t"+strings.TrimSpace(r.Protocol+" "+r.NextHop+" "+r.Port))
		}
	}
	return words, err
}

func staticPrefixes(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Routes(ctx)
	var words []string
	for _, r := range all {
		if r.Protocol == "static" {
			words = append(words, r.Prefix+"\t"+r.NextHop+" "+r.Port)
		}
	}
	return words, err
}

func neighbors(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Neighbors(ctx)
	var words []string
	for _, n := range all {
		words = append(words, n.Address+"\t"+n.State+" "+n.Port)
	}
	return words, err
}

func dropReasons(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Drops(ctx)
	var words []string
	for _, d := range all {
		words = append(words, d.Reason+"\t"+d.Description)
	}
	return words, err
}

// ask a source; a daemon that does not answer completes nothing.
func (a *app) ask(from source, begun string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	c, err := a.dial()
	if err != nil {
		return nil
	}
	defer c.Close()
	all, err := from(ctx, c)
	if err != nil {
		return nil
	}
	return beginning(all, begun)
}

func beginning(all []string, begun string) []string {
	var out []string
	for _, w := range all {
		if strings.HasPrefix(w, begun) {
			out = append(out, w)
		}
	}
	return out
}

// complete every argument from one source.
func (a *app) complete(from source) completion {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return a.ask(from, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFirst completes the first argument only.
func (a *app) completeFirst(from source) completion {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.ask(from, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeRoute completes the ip-like words of a route.
func (a *app) completeRoute(existing bool) completion {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		stop := cobra.ShellCompDirectiveNoFileComp
		if len(args) == 0 {
			words := beginning([]string{"default", "blackhole", "unreachable", "prohibit"}, begun)
			if existing {
				words = append(a.ask(staticPrefixes, begun), words...)
			}
			return words, stop
		}
		switch args[len(args)-1] {
		case "via":
			return a.ask(neighbors, begun), stop
		case "port", "dev":
			return a.ask(ports, begun), stop
		case "type":
			return beginning(routeTypes, begun), stop
		case "metric", "distance", "tag", "blackhole", "unreachable", "prohibit":
			return nil, stop
		}
		return beginning([]string{"via", "port", "metric", "distance", "tag", "type"}, begun), stop
	}
}

func (a *app) completeNeighbor(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	stop := cobra.ShellCompDirectiveNoFileComp
	if len(args) == 0 {
		return a.ask(neighbors, begun), stop
	}
	switch args[len(args)-1] {
	case "port", "dev":
		return a.ask(ports, begun), stop
	case "mac", "lladdr":
		return nil, stop
	}
	return beginning([]string{"mac", "port"}, begun), stop
}

func (a *app) completeInstances(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	dir := a.env("VROUTERD_RUNTIME_DIR")
	if dir == "" {
		dir = client.Directory
	}
	all, err := client.Instances(dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return beginning(all, begun), cobra.ShellCompDirectiveNoFileComp
}
