// Command vrouterd is an IPv4 router in one process: its ports are TUN/TAP devices.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vrouterd/internal/config"
	"vrouterd/internal/daemon"
)

// version is set by the build.
var version = "dev"

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2 // of the command line or the configuration
)

func main() { os.Exit(run()) }

func run() int {
	err := command().Execute()
	if err == nil {
		return 0
	}
	var faults config.Errors
	if errors.As(err, &faults) {
		fmt.Fprintln(os.Stderr, faults) // each says file:line:column
		return exitUsage
	}
	fmt.Fprintln(os.Stderr, "vrouterd:", err)
	var u usageError
	if errors.As(err, &u) || errors.Is(err, daemon.ErrConfig) {
		return exitUsage
	}
	return exitFailed
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func command() *cobra.Command {
	opt := daemon.Options{Version: version}
	var debug bool
	root := &cobra.Command{
		Use:   "vrouterd -c FILE",
		Short: "A software router on TUN/TAP ports",
		Long: `vrouterd runs one IPv4 router in the foreground and logs to stderr.
SIGHUP reloads the configuration, all or nothing; SIGTERM and SIGINT stop it, and
nothing is left behind. Steer it with vrctl.`,
		Example: `  vrouterd check r1.yaml
  vrouterd -c r1.yaml`,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; the commands are check, schema and version, or -c FILE to run", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opt.ConfigPath == "" {
				return usageError{errors.New("no configuration given; run vrouterd -c FILE (see vrouterd --help)")}
			}
			if opt.Workers < 0 || opt.Workers > 16 {
				return usageError{fmt.Errorf("--workers %d: the range is 1 to 16, or 0 for as many as suit the machine", opt.Workers)}
			}
			level := slog.LevelInfo
			if debug {
				level = slog.LevelDebug
			}
			opt.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			return daemon.Run(cmd.Context(), opt)
		},
	}
	root.SetContext(context.Background())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		text, _, _ := strings.Cut(err.Error(), ": strconv.") // the rest speaks to programmers
		return usageError{fmt.Errorf("%s; see vrouterd --help", text)}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.Flags()
	f.StringVarP(&opt.ConfigPath, "config", "c", "", "configuration `file`")
	f.StringVar(&opt.SocketDir, "socket-dir", daemon.SocketDir, "where the control socket is made, as <name>.sock")
	f.StringVar(&opt.StateDir, "state-dir", daemon.StateDir, "where revisions of the configuration are kept")
	f.IntVar(&opt.Workers, "workers", 0, "dataplane threads, 1 to 16 (0: one for every two processors)")
	f.BoolVar(&debug, "debug", false, "log more")

	root.AddCommand(
		&cobra.Command{
			Use: "check FILE", Short: "Validate a configuration; needs no privileges",
			Args: oneFile,
			RunE: func(_ *cobra.Command, args []string) error {
				if _, err := config.Load(args[0]); err != nil {
					return fmt.Errorf("%w: %w", daemon.ErrConfig, err)
				}
				return nil
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the JSON Schema of the configuration", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := os.Stdout.Write(append(config.Schema(), '\n'))
				return err
			},
		},
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			Run: func(*cobra.Command, []string) { fmt.Println("vrouterd", version) },
		},
	)
	return root
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{errors.New("give one file: vrouterd check FILE")}
	}
	return nil
}
