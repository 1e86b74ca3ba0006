// Command ranchd serves protocols over TCP, TLS and Unix sockets, on as many listeners
// as wanted: echo, where whatever a client sends comes back, and the packet server, JSON-RPC
// 2.0 in frames with a length of 4 bytes, with rooms to talk in.
//
//	ranchd                                              # loopback, TCP and TLS, with a certificate for trying out
//	ranchd --listen tcp://0.0.0.0:7                     # where other machines reach it
//	ranchd --listen a=tcp://:7001 --listen b=unix:/run/b.sock --max-connections 5000
//	ranchd --listen packet+tcp://:8082                  # the packet server
//	ranchd --listen tls://:7443 --cert site.pem --key site.key
//
// Certificate files are read anew when they change, and at SIGHUP.
// What it serves, and how to try it, goes to stdout; logs go to stderr. SIGTERM and
// SIGINT drain, with a limit; a second one ends the program at once. ranchd --help lists
// the flags and the exit codes.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr, notifications()))
}
