package main

import (
	"net"

	"golang.org/x/net/netutil"
)

// noLimit is the limit if the workload sets none, so that every connection still acquires the
// semaphore.
const noLimit = 10_000_000

func init() {
	register(engine{
		name: "limit", about: "bare behind netutil.LimitListener",
		tls: true, limit: true, start: startLimit,
	})
}

func startLimit(cfg serveConfig) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	limit := cfg.limit
	if limit == 0 {
		limit = noLimit
	}
	go acceptLoop(withTLS(netutil.LimitListener(ln, limit), cfg), 4<<10)
	return ln.Addr().String(), nil
}
