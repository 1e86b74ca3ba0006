package ranch

import (
	"context"
	"errors"
	"log/slog"

	"goranch/conns"
	"goranch/transport"
)

// LogObserver returns the observer that every listener has from the start: it writes
// events to l. Begin and end of connections are at level debug, except for protocols
// that failed (warn) or panicked (error, with the stack).
func LogObserver(l *slog.Logger) Observer { return logObserver{l} }

type logObserver struct{ l *slog.Logger }

// Observe is called on the stack of each connection, which is small while it is not
// logged: what needs room is in write.
func (o logObserver) Observe(e Event) {
	if level := e.level(); o.l.Enabled(context.Background(), level) {
		o.write(level, &e)
	}
}

func (o logObserver) write(level slog.Level, e *Event) {
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("listener", e.Ref))
	if e.Addr != nil {
		attrs = append(attrs, slog.String("addr", transport.AddrString(e.Addr)))
	}
	switch e.Kind {
	case AcceptorStarted, AcceptorStopped, AcceptorPanicked:
		attrs = append(attrs, slog.Int("acceptor", e.Acceptor))
	case AcceptRecovered:
		attrs = append(attrs, slog.Duration("after", e.Duration))
	}
	if e.Conn != nil {
		attrs = append(attrs, slog.Uint64("conn", e.Conn.ID()),
			slog.String("transport", e.Conn.Transport().Name()), slog.String("peer", transport.AddrString(e.Conn.RemoteAddr())))
	}
	if e.Kind == ConnEnded {
		st := e.Conn.Stats()
		attrs = append(attrs, slog.String("reason", e.Reason.String()), slog.Duration("duration", e.Duration),
			slog.Uint64("read", st.BytesRead), slog.Uint64("written", st.BytesWritten))
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
	var p *conns.PanicError
	if errors.As(e.Err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	o.l.LogAttrs(context.Background(), level, e.Kind.String(), attrs...)
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
