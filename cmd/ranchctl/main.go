// Command ranchctl is the operator's client for the shell of ranchd and of any other server with a
// shell.
//
//	ranchctl                                    # a prompt, with history and completion
//	ranchctl status                             # one command
//	ranchctl -o json connections --sort bytes --limit 5
//	ranchctl --connect tls://host:8443 --ca site.pem --token-file ~/.ranch-token
//	ranchctl bots --clients 10000               # a load generator for topic servers
//	ranchctl token operator ann --file tokens   # create a token
//	printf 'status\nstats\n' | ranchctl         # commands from stdin, one per line
//
// Results go to stdout, everything else to stderr. ranchctl --help lists flags and exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"goranch/internal/bots"
)

func main() {
	if len(os.Args) > 1 { // commands that need no shell
		switch os.Args[1] {
		case "bots":
			os.Exit(bots.Command(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
		case "token":
			os.Exit(token(os.Args[2:], os.Stdout, os.Stderr))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, interrupts)
	stop()
	os.Exit(code)
}
