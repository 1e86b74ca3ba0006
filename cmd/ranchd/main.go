// Command ranchd serves the protocols of this module over TCP, TLS and Unix sockets: echo, the
// shell, the topic server with its gateway for browsers, and the packet server.
//
//	ranchd                                        # all protocols, on loopback only
//	ranchd --listen tcp://0.0.0.0:7               # echo, reachable from other hosts
//	ranchd --listen a=tcp://:7001 --listen b=unix:/run/b.sock --max-connections 5000
//	ranchd --listen packet+tcp://:8082            # the packet server
//	ranchd --listen tls://:7443 --cert site.pem --key site.key
//	ranchd -c ranchd.toml                         # listeners with settings of their own
//
// It reloads certificate files when they change, and they and the configuration file at SIGHUP. The
// list of listeners is printed on stdout, the log on stderr. SIGTERM and SIGINT drain the listeners
// within --shutdown-timeout; a second signal ends the process at once. ranchd --help lists the
// flags and exit codes.
package main

import (
	"context"
	"os"

	"goranch/internal/descriptors"
)

func main() {
	descriptors.CloseOnExec() // programs of the shell get none of those that this process was given
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr, notifications()))
}
