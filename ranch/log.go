package ranch

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"

	"goranch/conns"
	"goranch/internal/listenaddr"
	"goranch/protocol"
	"goranch/transport"
)

// logEvent logs the start and the end of connections at debug, except for protocols that failed
// (warn) or panicked (error, with the stack).
func logEvent(l *slog.Logger, e *Event) {
	if level := e.level(); l.Enabled(context.Background(), level) {
		writeEvent(l, level, e)
	}
}

// writeEvent needs a deep stack. It is not inlined, so that the stacks of connections whose events
// are not logged stay small.
//
//go:noinline
func writeEvent(l *slog.Logger, level slog.Level, e *Event) {
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("listener", e.Ref))
	if e.Addr != nil {
		attrs = append(attrs, slog.String("addr", listenaddr.String(e.Addr)))
	}
	switch e.Kind {
	case AcceptorStarted, AcceptorStopped, AcceptorPanicked:
		attrs = append(attrs, slog.Int("acceptor", e.Acceptor))
	case ListenerDraining:
		attrs = append(attrs, slog.Duration("delay", e.Duration))
	case AcceptRecovered:
		attrs = append(attrs, slog.Duration("after", e.Duration))
	}
	if e.Conn != nil {
		attrs = append(attrs, slog.Uint64("conn", e.Conn.ID()),
			slog.String("transport", e.Conn.Transport().Name()), slog.String("peer", listenaddr.String(e.Conn.RemoteAddr())))
	}
	if e.Kind == ConnEnded {
		st := e.Conn.Stats()
		attrs = append(attrs, slog.String("reason", e.Reason.Error()), slog.Duration("duration", e.Duration),
			slog.Uint64("read", st.BytesRead), slog.Uint64("written", st.BytesWritten))
		for _, label := range e.Conn.Labels() {
			attrs = append(attrs, slog.String("label", label.String()))
		}
	}
	if a := e.Alarm; a != nil {
		attrs = append(attrs, slog.String("alarm", a.Name), slog.Int("connections", a.Connections))
		if a.DescriptorLimit > 0 {
			attrs = append(attrs, slog.Int("descriptors", a.Descriptors), slog.Int("limit", a.DescriptorLimit))
		}
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("err", e.Err))
	}
	var p *protocol.PanicError
	if errors.As(e.Err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	l.LogAttrs(context.Background(), level, string(e.Kind), attrs...)
}

func (e *Event) level() slog.Level {
	switch e.Kind {
	case ConnEnded:
		switch e.Reason {
		case conns.Panicked:
			return slog.LevelError
		case conns.Failed:
			return slog.LevelWarn
		}
		return slog.LevelDebug
	case ConnStarted, AcceptorStarted, AcceptorStopped:
		return slog.LevelDebug
	case AcceptorPanicked:
		return slog.LevelError
	case AcceptFailed, SocketReopened, AlarmRaised:
		return slog.LevelWarn
	case ListenerStopped:
		if e.Err != nil {
			return slog.LevelError
		}
	}
	return slog.LevelInfo
}

// LogTracer returns a tracer for [Listener.Trace] that logs each read and write at level info, with
// the first dataBytes bytes of the data in hexadecimal. 0 or less logs no data.
func LogTracer(l *slog.Logger, dataBytes int) func(transport.TraceEvent) {
	return func(e transport.TraceEvent) {
		attrs := []slog.Attr{
			slog.Uint64("conn", e.Conn.ID()), slog.String("peer", listenaddr.String(e.Conn.RemoteAddr())),
			slog.String("op", e.Op), slog.Int("bytes", e.N),
		}
		if n := min(dataBytes, len(e.Data)); n > 0 {
			attrs = append(attrs, slog.String("data", hex.EncodeToString(e.Data[:n])))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.Any("err", e.Err))
		}
		l.LogAttrs(context.Background(), slog.LevelInfo, "trace", attrs...)
	}
}
