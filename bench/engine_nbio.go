package main

import (
	"net"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
)

func init() {
	register(engine{
		name: "nbio", about: "lesismal/nbio, one poller, plain TCP only",
		start: startNbio,
	})
}

func startNbio(serveConfig) (string, error) {
	logging.SetLevel(logging.LevelError)
	var bound net.Addr
	e := nbio.NewEngine(nbio.Config{
		Network: "tcp", Addrs: []string{"127.0.0.1:0"}, NPoller: 1,
		Listen: func(network, addr string) (net.Listener, error) {
			ln, err := net.Listen(network, addr)
			if err == nil {
				bound = ln.Addr()
			}
			return ln, err
		},
	})
	e.OnData(func(c *nbio.Conn, data []byte) {
		c.Write(data) // after an error the connection is closed
	})
	if err := e.Start(); err != nil {
		return "", err
	}
	return bound.String(), nil
}
