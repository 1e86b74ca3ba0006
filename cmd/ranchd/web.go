package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"goranch/protocol"
	"goranch/protocol/netlisten"
	"goranch/protocol/pubsub/web"
	"goranch/ranch"
	"goranch/transport"
	"goranch/transport/proxy"
)

// Limits of HTTP connections.
const (
	httpReadTimeout = 10 * time.Second // to receive a request
	httpIdleTimeout = 2 * time.Minute  // between two requests
	httpHeaderBytes = 12 << 10         // net/http adds 4 KiB
)

// gateway serves browsers at one listener.
type gateway struct {
	protocol protocol.Protocol
	close    func(context.Context) error
}

// newGateway returns a gateway of browsers to a topic server. It opens an in-memory connection to
// the topic server for each client.
func (d *daemon) newGateway(s *runningService, c webConfig) (*gateway, error) {
	if err := s.admitBrowsers(); err != nil {
		return nil, err
	}
	gw, err := web.NewGateway(web.Options{
		Origins: c.Origins, Hosts: c.Hosts, MaxBrowsers: c.MaxBrowsers,
		Dial: func(ctx context.Context) (net.Conn, error) { return dialTopics(ctx, s.browsers) },
	})
	if err != nil {
		return nil, err
	}
	srv := &http.Server{
		Handler: gw, ReadTimeout: httpReadTimeout, IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpHeaderBytes,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	stop := netlisten.StopHTTP(srv)
	nl := netlisten.New(func(ctx context.Context) {
		gw.Shutdown(ctx)
		stop(ctx)
	})
	go srv.Serve(nl) // returns after Shutdown
	return &gateway{nl, func(ctx context.Context) error {
		nl.Shutdown(ctx)
		return gw.Shutdown(ctx)
	}}, nil
}

// admitBrowsers opens the in-memory listener of a topic server, once.
func (s *runningService) admitBrowsers() error {
	if s.browsers != nil {
		return nil
	}
	mem := new(transport.Mem)
	inner, err := new(ranch.Server).StartListener("browsers", proxy.Transport{Inner: mem, Local: proxy.Require}, ranch.Options{
		Addr: "topics", MaxConnections: ranch.Unlimited, Logger: slog.New(slog.DiscardHandler),
	}, s.topics)
	if err != nil {
		return err
	}
	s.browsers = mem
	s.closers = append(s.closers, func(context.Context) error { return inner.Stop() })
	return nil
}
