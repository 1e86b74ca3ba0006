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

// How long browsers may take for the head of a request, and stay between two.
const (
	headerTime  = 10 * time.Second
	browserIdle = 2 * time.Minute
)

// newWeb makes the gateway by which browsers come to the topics: a connection in memory for each of them.
func (d *daemon) newWeb() (protocol.Protocol, error) {
	if err := d.provide(topicsService); err != nil {
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
	srv := &http.Server{Handler: gw, ReadHeaderTimeout: headerTime, IdleTimeout: browserIdle, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug)}
	nl := netlisten.New(func(ctx context.Context) {
		gw.Shutdown(ctx)
		netlisten.StopHTTP(srv)(ctx)
	})
	go srv.Serve(nl) // until Shutdown
	d.services.closers = append(d.services.closers, func(ctx context.Context) error {
		return errors.Join(gw.Shutdown(ctx), srv.Shutdown(ctx), inner.Stop())
	})
	return nl, nil
}
