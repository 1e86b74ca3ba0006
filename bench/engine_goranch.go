package main

import (
	"context"
	"log/slog"

	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

func init() {
	register(engine{
		name: "goranch", about: "this library with its echo protocol",
		tls: true, limit: true, start: startGoranch(echo.Protocol{}),
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
