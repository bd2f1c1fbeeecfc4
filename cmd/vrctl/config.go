package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

func (a *app) configCommand() *cobra.Command {
	config := &cobra.Command{
		Use:   "config",
		Short: "show, check, apply and undo configurations",
		Long: `Show, check, apply and undo configurations. A change is made whole or not at all.

A change applied with --confirm undoes itself after that time unless
"vrctl config confirm" comes first: who has cut off the own way in, only waits.
A FILE of - is standard input.`,
	}
	config.AddCommand(a.configShow(), a.configCheck(), a.configDiff(), a.configApply(),
		a.configConfirm(), a.configRollback(), a.configHistory(), a.configSave())
	return config
}

func (a *app) configShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "the running configuration, as YAML",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(c *client.Client) error {
				source, err := c.ConfigText(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON([]map[string]string{{"config": source}})
				}
				_, err = io.WriteString(a.out, source)
				return err
			})
		},
	}
}

// source of a configuration: a file, or standard input for -.
func (a *app) source(path string) (string, error) { return a.file("the configuration", path) }

// file reads a file, or standard input for -; what says in errors what it is.
func (a *app) file(what, path string) (string, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(a.in)
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", usagef("%s cannot be read: %v", what, err)
	}
	return string(data), nil
}

func (a *app) configCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "ask the running daemon whether it would take this configuration",
		Long: `Ask the running daemon whether it would take this configuration; nothing is changed.
Without a daemon, "vrouterd check FILE" does the same.`,
		Args: arguments(1, 1, "one FILE, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := a.source(args[0])
			if err != nil {
				return err
			}
			return a.with(func(c *client.Client) error {
				return inFile(args[0], c.ConfigCheck(cmd.Context(), source))
			})
		},
	}
}

// inFile puts the file's name before every line of what is wrong in it.
func inFile(path string, err error) error {
	var wrong *api.Error
	if !errors.As(err, &wrong) || wrong.Code != api.Usage {
		return err
	}
	lines := strings.Split(strings.TrimRight(wrong.Message, "\n"), "\n")
	for i, l := range lines {
		// The daemon knows no file, and says "configuration:LINE:COLUMN: what is wrong".
		l = strings.TrimPrefix(l, "configuration:")
		if l != "" && '0' <= l[0] && l[0] <= '9' {
			lines[i] = path + ":" + l
		} else if !strings.HasPrefix(l, path+":") {
			lines[i] = path + ": " + l
		}
	}
	return &faults{lines}
}

func (a *app) configDiff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE",
		Short: "what a configuration would change, as a unified diff",
		Args:  arguments(1, 1, "one FILE, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := a.source(args[0])
			if err != nil {
				return err
			}
			return a.with(func(c *client.Client) error {
				diff, err := c.ConfigDiff(cmd.Context(), source)
				if err != nil {
					return inFile(args[0], err)
				}
				if a.json {
					return a.printJSON([]map[string]string{{"diff": diff}})
				}
				if diff == "" {
					fmt.Fprintln(a.err, "no difference")
				}
				_, err = io.WriteString(a.out, a.colorDiff(diff))
				return err
			})
		},
	}
}

func (a *app) colorDiff(diff string) string {
	var b strings.Builder
	for line := range strings.Lines(diff) {
		st := plain
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
			st = bold
		case strings.HasPrefix(line, "+"):
			st = green
		case strings.HasPrefix(line, "-"):
			st = red
		case strings.HasPrefix(line, "@@"):
			st = cyan
		}
		bare := strings.TrimSuffix(line, "\n")
		b.WriteString(a.screen.paint(st, bare) + line[len(bare):])
	}
	return b.String()
}

func (a *app) configApply() *cobra.Command {
	var confirm string
	cmd := &cobra.Command{
		Use:     "apply FILE",
		Short:   "make this the running configuration",
		Example: "  vrctl config apply r1.yaml --confirm 60s\n  vrctl config confirm",
		Args:    arguments(1, 1, "one FILE, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var wait time.Duration
			if cmd.Flags().Changed("confirm") {
				var err error
				if wait, err = duration("--confirm", confirm, time.Second); err != nil {
					return err
				}
			}
			source, err := a.source(args[0])
			if err != nil {
				return err
			}
			return a.with(func(c *client.Client) error {
				r, err := c.ConfigApply(cmd.Context(), source, wait)
				if err != nil {
					return inFile(args[0], err)
				}
				return a.printResult(r)
			})
		},
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "undo it after this `time` unless it is confirmed, like 60s")
	return cmd
}

func (a *app) printResult(r api.ApplyResult) error {
	if a.json {
		return a.printJSON([]api.ApplyResult{r})
	}
	for _, change := range r.Changes {
		a.say("%s", change)
	}
	switch {
	case r.ConfirmSeconds > 0:
		a.say("revision %d is running: write vrctl config confirm within %s, or it is undone", r.Revision, age(r.ConfirmSeconds))
	case len(r.Changes) == 0:
		a.say("revision %d is running: nothing had to change", r.Revision)
	default:
		a.say("revision %d is running", r.Revision)
	}
	return nil
}

func (a *app) configConfirm() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "keep the change that waits for it",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(c *client.Client) error { return c.ConfigConfirm(cmd.Context()) })
		},
	}
}

func (a *app) configRollback() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback [N]",
		Short: "go back to the configuration before, or N back",
		Args:  arguments(0, 1, "how many revisions to go back"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := 1
			if len(args) == 1 {
				var err error
				if n, err = number("rollback", args[0], 1, 1<<20); err != nil {
					return err
				}
			}
			return a.with(func(c *client.Client) error {
				r, err := c.ConfigRollback(cmd.Context(), n)
				if err != nil {
					return err
				}
				return a.printResult(r)
			})
		},
	}
}

func (a *app) configHistory() *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "the revisions kept: when, by whom, what",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, c *client.Client) (view, error) {
				all, err := c.ConfigHistory(ctx)
				t := newTable("no revisions", column{title: " "}, column{title: "REVISION", right: true}, column{title: "TIME"},
					column{title: "AUTHOR"}, column{title: "SUMMARY", flexible: true})
				for _, r := range all {
					mark := cell{" ", plain}
					if r.Current {
						mark = cell{"*", green}
					}
					t.add(mark, text(strconv.Itoa(r.Number)), text(clock(r.Time)), text(r.Author), text(r.Summary))
				}
				return tableView(all, t), err
			})
		},
	}
}

func (a *app) configSave() *cobra.Command {
	return &cobra.Command{
		Use:   "save",
		Short: "write the running configuration to the daemon's file",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(c *client.Client) error {
				path, err := c.ConfigSave(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON([]api.Saved{{Path: path}})
				}
				a.say("saved to %s", path)
				return nil
			})
		},
	}
}
