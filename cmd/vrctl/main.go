// Command vrctl shows and steers a running vrouterd over its control socket.
//
// One file is one noun of the command line, and one command is one call of the
// client. The rest is in: app.go (running, errors and exit codes), expand.go
// (shortened nouns), table.go and format.go (what people read), complete.go (what
// the shell completes).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version of the build; the Makefile sets it.
var version = "devel"

func main() { os.Exit(vrctl()) }

// vrctl runs the process's command line and returns its exit code.
func vrctl() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return newApp(os.Stdin, os.Stdout, os.Stderr, os.Getenv).run(ctx, os.Args[1:])
}
