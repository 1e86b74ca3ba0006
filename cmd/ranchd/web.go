package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"goranch/protocol"
	"goranch/protocol/netlisten"
	"goranch/protocol/pubsub/web"
	"goranch/ranch"
	"goranch/transport"
)

// Timeouts of HTTP connections.
const (
	httpHeaderTimeout = 10 * time.Second
	httpIdleTimeout   = 2 * time.Minute
)

// newWeb returns the gateway of browsers to the topic server. It opens an in-memory connection to
// the topic server for each client.
func (d *daemon) newWeb() (protocol.Protocol, error) {
	if err := d.createService(topicsService); err != nil {
		return nil, err
	}
	mem := new(transport.Mem)
	inner, err := new(ranch.Server).StartListener("browsers", mem, ranch.Options{
		Addr: "topics", MaxConnections: ranch.Unlimited, Logger: slog.New(slog.DiscardHandler),
	}, d.topics)
	if err != nil {
		return nil, err
	}
	gw, err := web.NewGateway(web.Options{Dial: func(ctx context.Context) (net.Conn, error) { return mem.Dial(ctx, "topics") }})
	if err != nil {
		return nil, errors.Join(err, inner.Stop())
	}
	srv := &http.Server{
		Handler: gw, ReadHeaderTimeout: httpHeaderTimeout, IdleTimeout: httpIdleTimeout,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	stop := netlisten.StopHTTP(srv)
	nl := netlisten.New(func(ctx context.Context) {
		gw.Shutdown(ctx)
		stop(ctx)
	})
	go srv.Serve(nl) // returns after Shutdown
	d.services.closers = append(d.services.closers, func(ctx context.Context) error {
		nl.Shutdown(ctx)
		return errors.Join(gw.Shutdown(ctx), inner.Stop())
	})
	return nl, nil
}
