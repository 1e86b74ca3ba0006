package protocol

import (
	"context"

	"goranch/internal/engine"
	"goranch/internal/idle"
	"goranch/transport"
)

// Handle returns a protocol that serves each connection with a handler made by newHandler. It
// panics if the options are invalid by [Options.Validate].
//
// An idle connection holds no buffer. It has one goroutine, or none if its listener parks idle
// connections: then a callback may be called by a goroutine that serves other connections too. A
// callback may block, but while callbacks take more than about 200 µs, each connection with data to
// handle gets a goroutine. The connections of a protocol that wraps this one are parked too if the
// wrapper has a method Unwrap() Protocol. The server then calls the inner protocol itself, so Serve
// of the wrapper must do nothing but call it.
func Handle(newHandler func() Handler, opts Options) Protocol {
	if err := opts.Validate(); err != nil {
		panic("protocol: " + err.Error())
	}
	if newHandler == nil {
		panic("protocol: Handle: newHandler is nil")
	}
	opts = opts.withDefaults()
	_, raw := opts.Codec.(Raw)
	return &handlerProtocol{
		Options: opts, newHandler: newHandler, raw: raw, readSize: readSize(opts.PauseAt),
		outbox: outboxOptions{opts.Queue, &queued{limit: int64(opts.MaxQueued)}}, wheel: newWheel(resolution(opts)),
	}
}

// handlerProtocol is the protocol that Handle returns.
type handlerProtocol struct {
	Options
	newHandler func() Handler
	raw        bool // the codec is Raw: frames are not encoded
	readSize   int  // the most that one read takes
	outbox     outboxOptions
	wheel      *wheel
	inline     idle.InlinePolicy
}

// Serve runs one connection, without parking it.
func (hp *handlerProtocol) Serve(ctx context.Context, conn *transport.Conn) error {
	s := hp.Begin(ctx, conn)
	for {
		if err := s.Run(false); err != idle.ErrPark {
			return err
		}
	}
}

// Begin returns the session of a connection. The supervisor calls it instead of Serve if it parks
// idle connections.
func (hp *handlerProtocol) Begin(ctx context.Context, conn *transport.Conn) idle.Session {
	p := &Peer{conn: conn, ctx: ctx, hp: hp}
	p.out.eng, p.out.opts = engine.Of(conn), &hp.outbox
	return session{p}
}

// session has the method Run, which Peer must not export.
type session struct{ *Peer }
