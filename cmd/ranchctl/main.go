// Command ranchctl is an operator's client for the shell of ranchd, and of every server
// that has one.
//
//	ranchctl                                    # a prompt, with history and completion
//	ranchctl status                             # one command
//	ranchctl -o json connections --sort bytes --limit 5
//	ranchctl --connect tls://host:8443 --ca site.pem --token-file ~/.ranch-token
//	ranchctl bots --clients 10000               # bots that drive a topic server
//	ranchctl token operator ann --file tokens   # a token for somebody
//	printf 'status\nstats\n' | ranchctl         # one per line
//
// Results go to stdout, all else to stderr. ranchctl --help lists the flags and the exit
// codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"goranch/internal/bots"
)

func main() {
	if len(os.Args) > 1 { // what needs no shell to talk to
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
