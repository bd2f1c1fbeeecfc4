package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/client"
)

// A wait asks often at first, because most things that scripts wait for come soon.
const (
	waitFirst  = 10 * time.Millisecond
	waitLonger = 250 * time.Millisecond
)

func (a *app) waitCommand() *cobra.Command {
	var timeout string
	cmd := &cobra.Command{
		Use:   "wait CONDITION",
		Short: "wait until a condition holds; exit code 4 when it does not in time",
		Long: "Wait until a condition holds. A router that is not running yet is waited for too.\nThe exit code is 4 when the condition did not come true in time, and 3 when no\nrouter ran at the end.\n\n" +
			conditionSyntax,
		Example:           "  vrctl wait ready --timeout 5s\n  vrctl wait route 10.9.0.0/16 via 10.0.0.2\n  vrctl wait not port wan up",
		Args:              arguments(1, -1, "a condition"),
		ValidArgsFunction: a.completeCondition,
		RunE: func(cmd *cobra.Command, args []string) error {
			limit, err := duration("--timeout", timeout, time.Millisecond)
			if err != nil {
				return err
			}
			k, err := parseCondition(args)
			if err != nil {
				return err
			}
			return a.wait(cmd.Context(), k, limit)
		},
	}
	cmd.Flags().StringVar(&timeout, "timeout", "10s", "give up after this `time`")
	return cmd
}

func (a *app) wait(parent context.Context, k condition, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	state, pause := "nothing was heard of it", waitFirst
	var nobody error
	for {
		holds, now, err := a.ask1(ctx, k)
		switch {
		case err == nil && holds:
			return nil
		case err == nil:
			state, nobody = now, nil
		case errors.Is(err, client.ErrNoDaemon):
			nobody = err
		case ctx.Err() == nil:
			return err
		}
		select {
		case <-ctx.Done():
			if parent.Err() != nil {
				return parent.Err()
			}
			if nobody != nil {
				return fmt.Errorf("waited %s for %s: %w", limit, k.words, nobody)
			}
			return &falseError{fmt.Sprintf("waited %s for %s: %s", limit, k.words, state)}
		case <-time.After(pause):
			pause = min(pause*3/2, waitLonger)
		}
	}
}

// ask1 dials anew each time: the daemon may be starting, or starting again.
func (a *app) ask1(ctx context.Context, k condition) (holds bool, state string, err error) {
	err = a.with(func(c *client.Client) (err error) {
		holds, state, err = k.check(ctx, c)
		return err
	})
	return holds, state, err
}

func (a *app) assertCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "assert CONDITION",
		Short:             "exit code 0 if a condition holds now, 4 if not",
		Long:              "Tell whether a condition holds now: the exit code is 0 if it does and 4 if not.\n\n" + conditionSyntax,
		Example:           "  vrctl assert no route 10.9.0.0/16\n  vrctl assert drops no_route below 10",
		Args:              arguments(1, -1, "a condition"),
		ValidArgsFunction: a.completeCondition,
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := parseCondition(args)
			if err != nil {
				return err
			}
			holds, state, err := a.ask1(cmd.Context(), k)
			if err != nil {
				return err
			}
			if !holds {
				return &falseError{fmt.Sprintf("%s is false: %s", k.words, state)}
			}
			return nil
		},
	}
}

func (a *app) completeCondition(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	stop := cobra.ShellCompDirectiveNoFileComp
	for len(args) > 0 && (args[0] == "not" || args[0] == "no") {
		args = args[1:]
	}
	if len(args) == 0 {
		return beginning(append([]string{"not"}, conditionNouns...), begun), stop
	}
	if args[0] == "rip" {
		return a.completeRIP(args[1:], begun), stop
	}
	if args[0] == "session" || args[0] == "mapping" {
		return a.completeEnds(args[0], args[1:], begun), stop
	}
	if args[0] == "lease" {
		return a.completeLease(args[1:], begun), stop
	}
	switch args[len(args)-1] {
	case "route":
		return a.ask(prefixes, begun), stop
	case "neighbor", "via":
		return a.ask(neighbors, begun), stop
	case "port":
		return a.ask(ports, begun), stop
	case "drops":
		return a.ask(dropReasons, begun), stop
	}
	switch args[0] {
	case "route":
		return beginning([]string{"via", "port", "protocol"}, begun), stop
	case "neighbor":
		return beginning(append([]string{"port", "mac"}, neighborStates...), begun), stop
	case "port":
		return beginning([]string{"up", "down"}, begun), stop
	case "drops", "counter":
		return beginning([]string{"above", "below"}, begun), stop
	}
	return nil, stop
}
