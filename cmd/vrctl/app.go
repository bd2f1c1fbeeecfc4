package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
)

// Exit codes, as docs/vrctl.md promises them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // or a wrong configuration
	exitNoDaemon    = 3
	exitFalse       = 4 // a condition is false, or did not come true in time
	exitInterrupted = 130
)

// app is one run of vrctl.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	screen   screen

	instance, socket string
	json             bool
}

// screen is what is known of the terminal that the output goes to.
type screen struct {
	terminal      bool
	color         bool
	width, height int // 0: no limit
}

func newApp(in io.Reader, out, err *os.File, env func(string) string) *app {
	a := &app{in: in, out: out, err: err, env: env}
	if term.IsTerminal(int(out.Fd())) {
		a.screen.terminal = true
		a.screen.color = env("NO_COLOR") == "" && env("TERM") != "dumb"
		a.screen.width, a.screen.height, _ = term.GetSize(int(out.Fd()))
	}
	return a
}

// run a command line and tell its exit code; an error goes to stderr as a sentence.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	args, err := expand(root, args)
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return exitDone
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exitInterrupted
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	if errors.Is(err, syscall.EPIPE) {
		return exitFailed // the reader of our output has had enough
	}
	var wrong *faults
	if errors.As(err, &wrong) {
		fmt.Fprintln(a.err, wrong) // FILE:LINE:COLUMN first, as editors read it
		return exitUsage
	}
	fmt.Fprintln(a.err, "vrctl: "+strings.TrimSpace(err.Error()))
	return codeOf(err)
}

func codeOf(err error) int {
	var refused *api.Error
	var wrong *usageError
	var unmet *falseError
	var several *client.SeveralError
	switch {
	case errors.As(err, &wrong), errors.As(err, &several):
		return exitUsage
	case errors.As(err, &unmet):
		return exitFalse
	case errors.Is(err, client.ErrNoDaemon):
		return exitNoDaemon
	case errors.As(err, &refused) && refused.Code == api.Usage:
		return exitUsage
	}
	return exitFailed
}

// exitCode ends the run with a code and no message: everything has been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that cannot be meant.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...)}
}

// faults of a configuration, one a line.
type faults struct{ lines []string }

func (e *faults) Error() string { return strings.Join(e.lines, "\n") }

// falseError says that a condition does not hold, and what is the case instead.
type falseError struct{ message string }

func (e *falseError) Error() string { return e.message }

// dial the daemon that the flags mean.
func (a *app) dial() (*client.Client, error) {
	if a.instance != "" && a.socket != "" {
		return nil, usagef("-n and -s are both given: one names the router")
	}
	instance := a.instance
	if instance == "" && a.socket == "" {
		instance = a.env("VRCTL_INSTANCE")
	}
	return client.Dial(client.Options{Instance: instance, Socket: a.socket, Directory: a.env("VROUTERD_RUNTIME_DIR")})
}

// with runs one call of a client.
func (a *app) with(call func(*client.Client) error) error {
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return call(c)
}

// printJSON prints rows, a slice, as a JSON array with a row a line.
func (a *app) printJSON(rows any) error {
	w := bufio.NewWriter(a.out)
	v := reflect.ValueOf(rows)
	w.WriteString("[")
	for i := range v.Len() {
		if i > 0 {
			w.WriteString(",\n ")
		}
		row, err := jsonLine(v.Index(i).Interface())
		if err != nil {
			return err
		}
		w.Write(bytes.TrimSuffix(row, []byte("\n")))
	}
	w.WriteString("]\n")
	return w.Flush()
}

// jsonLine is v as JSON and a line's end; < and > stay what they are.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// printLine prints v as one line of JSON.
func (a *app) printLine(v any) error {
	line, err := jsonLine(v)
	if err != nil {
		return err
	}
	_, err = a.out.Write(line)
	return err
}

// say prints a sentence about what was done; with --json silence is the sentence.
func (a *app) say(format string, v ...any) {
	if !a.json {
		fmt.Fprintf(a.out, format+"\n", v...)
	}
}

// command is the whole tree.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "vrctl",
		Short: "show and steer a running vrouterd",
		Long: `vrctl shows and steers a running vrouterd.

Nouns may be shortened to any unique beginning: "vrctl sh ro" is "vrctl show routes".
Exit codes: 0 done; 1 failed; 2 usage or configuration; 3 no daemon;
4 a condition is false or did not come true in time, or explain met another verdict.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.instance, "instance", "n", "", "the router's `name`; needed where several run")
	f.StringVarP(&a.socket, "socket", "s", "", "the `path` of the router's control socket")
	f.BoolVar(&a.json, "json", false, "print a JSON array with one object a row")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		text, _, _ := strings.Cut(err.Error(), ": strconv.") // the rest speaks to programmers
		return usagef("%s: see %s --help", text, c.CommandPath())
	})
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(
		a.showCommand(), a.portCommand(), a.routeCommand(), a.neighborCommand(), a.ripCommand(), a.natCommand(), a.firewallCommand(),
		a.dhcpCommand(), a.dnsCommand(), a.configCommand(),
		a.pingCommand(), a.tracerouteCommand(), a.explainCommand(), a.waitCommand(), a.assertCommand(),
		a.eventsCommand(), a.captureCommand(), a.versionCommand(),
	)
	root.RegisterFlagCompletionFunc("instance", a.completeInstances)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("any")
	return root
}

// arguments makes a check of the number of arguments whose error says what is wanted.
func arguments(least, most int, wanted string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		if most == 0 && c.Flags().Lookup(args[0]) != nil {
			return usagef("%s takes flags: write --%s", c.CommandPath(), strings.Join(args, " "))
		}
		if most == 0 {
			return usagef("%s takes no arguments, and %q is one", c.CommandPath(), args[0])
		}
		return usagef("%s takes %s: see %s --help", c.CommandPath(), wanted, c.CommandPath())
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "the version of vrctl",
		Args:  arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON([]map[string]string{{"version": version}})
			}
			_, err := fmt.Fprintln(a.out, "vrctl "+version)
			return err
		},
	}
}
