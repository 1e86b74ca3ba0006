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
	inner    *ranch.Listener // through which it connects to the topic server
	close    func(context.Context) error
}

// newGateway returns a gateway of browsers to a topic server. It opens an in-memory connection to
// the topic server for each client.
func (d *daemon) newGateway(s *runningService, l *listenerConfig) (*gateway, error) {
	mem := new(transport.Mem)
	inner, err := new(ranch.Server).StartListener("browsers", proxy.Transport{Inner: mem, Local: proxy.Require}, ranch.Options{
		Addr: "topics", MaxConnections: ranch.Unlimited, DrainSpread: l.Options.DrainSpread, Logger: slog.New(slog.DiscardHandler),
	}, s.topics)
	if err != nil {
		return nil, err
	}
	gw, err := web.NewGateway(web.Options{
		Origins: l.Web.Origins, Hosts: l.Web.Hosts, MaxBrowsers: l.Web.MaxBrowsers,
		Dial: func(ctx context.Context) (net.Conn, error) { return dialTopics(ctx, mem) },
	})
	if err != nil {
		return nil, errors.Join(err, inner.Stop())
	}
	srv := &http.Server{
		Handler: labelled(gw), ConnContext: withConn, ReadTimeout: httpReadTimeout, IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpHeaderBytes,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	stop := netlisten.StopHTTP(srv)
	nl := netlisten.New(netlisten.Options{
		Stop: func(ctx context.Context) {
			if inner.Options().DrainSpread > 0 {
				inner.Drain(ctx) // which ends WebSockets and event streams one by one
			}
			gw.Shutdown(ctx)
			stop(ctx)
		},
		Refuse: netlisten.RefuseHTTP,
	})
	go srv.Serve(nl) // returns after Shutdown
	return &gateway{nl, inner, func(ctx context.Context) error {
		nl.Shutdown(ctx)
		err := inner.Stop()
		if errors.Is(err, ranch.ErrStopped) { // by the function above
			err = nil
		}
		return errors.Join(gw.Shutdown(ctx), err)
	}}, nil
}

type connKey struct{}

func withConn(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, transport.Of(nc))
}

// labelled sets the label protocol of connections that become a WebSocket or an event stream.
func labelled(h http.Handler) http.Handler {
	labels := map[string]string{"/ws": "websocket", "/events": "events"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connKey{}).(*transport.Conn); ok && conn != nil {
			conn.SetLabel("protocol", labels[r.URL.Path]) // "" removes that of an earlier request
		}
		h.ServeHTTP(w, r)
	})
}
