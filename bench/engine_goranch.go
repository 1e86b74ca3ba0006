package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"time"

	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/ranch/accesslog"
	"goranch/ranch/metrics"
	"goranch/transport"
)

func init() {
	register(engine{
		name: "goranch", about: "this library with its echo protocol",
		tls: true, limit: true, start: startGoranch(echo.Protocol{}),
	})
	register(engine{
		name: "goranch-observed", about: "goranch with an access log and metrics that are scraped once a second",
		only: "churn", tls: true, limit: true, start: startObserved,
	})
	register(engine{
		name: "goranch-loop", about: "this library with a user's read loop, a 4 KiB buffer as in bare",
		tls: true, limit: true, start: startGoranch(protocol.Func(userLoop)),
	})
	register(engine{
		name: "goranch-handler", about: "this library with HandleData callbacks that send each frame back",
		tls: true, limit: true, start: startHandler,
	})
}

// startHandler selects the codec by the workload.
func startHandler(cfg serveConfig) (string, error) {
	opts := protocol.Options{Codec: protocol.Raw{}}
	switch {
	case cfg.frames:
		opts.Codec = protocol.LengthPrefix{}
	case cfg.lines:
		opts.Codec = protocol.Lines{}
	}
	return startGoranch(protocol.Handle(func() protocol.Handler { return echoHandler{} }, opts))(cfg)
}

type echoHandler struct{}

func (echoHandler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	if err := p.Send(frame); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

func startGoranch(p protocol.Protocol) func(serveConfig) (string, error) {
	return func(cfg serveConfig) (string, error) {
		var t transport.Transport = transport.TCP{}
		if cfg.tls != nil {
			t = transport.TLS{Config: cfg.tls}
		}
		limit := cfg.limit
		if limit == 0 {
			limit = ranch.Unlimited
		}
		l, err := ranch.StartListener("bench", t, ranch.Options{
			Addr:           "127.0.0.1:0",
			MaxConnections: limit,
			Logger:         slog.New(slog.DiscardHandler),
		}, p)
		if err != nil {
			return "", err
		}
		return l.Addr().String(), nil
	}
}

// startObserved writes the access log to a file that has no name any more.
func startObserved(cfg serveConfig) (string, error) {
	addr, err := startGoranch(echo.Protocol{})(cfg)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "bench-access-")
	if err != nil {
		return "", err
	}
	if err := os.Remove(f.Name()); err != nil {
		return "", err
	}
	log, err := accesslog.New(f, accesslog.Options{})
	if err != nil {
		return "", err
	}
	ranch.Default.Observe(log.Observe)
	handler := metrics.Handler(ranch.Default, metrics.Options{})
	go func() {
		for range time.Tick(time.Second) {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
		}
	}()
	return addr, nil
}

func userLoop(ctx context.Context, conn *transport.Conn) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return err
		}
	}
}
