package ranch

import (
	"context"
	"encoding/hex"
	"log/slog"

	"goranch/conns"
	"goranch/transport"
)

// Connections returns the live connections, oldest first.
func (l *Listener) Connections() []conns.Info { return l.sup.List() }

// Select returns the live connections that q asks for, and how many there are of which
// they are a part.
func (l *Listener) Select(q conns.Query) (page []conns.Info, total int) { return l.sup.Select(q) }

// Connection returns the live connection with that id, and whether there is one.
func (l *Listener) Connection(id uint64) (conns.Info, bool) { return l.sup.Get(id) }

// Ended returns the connections that have ended last, the latest first: at most as many as
// Options.KeepEnded says.
func (l *Listener) Ended() []conns.Ended { return l.sup.Ended() }

// Kill closes the connection with that id at once, and reports whether there was one.
func (l *Listener) Kill(id uint64) bool { return l.sup.Kill(id) }

// KillMatching closes the connections for which match returns true, and returns how many.
func (l *Listener) KillMatching(match func(*conns.Info) bool) int { return l.sup.KillMatching(match) }

// Trace begins to tell every read and write of the connections that t chooses, of those that
// live and those that come, until stop is called. See [LogTracer].
func (l *Listener) Trace(t conns.Trace) (stop func()) { return l.sup.Trace(t) }

// LogTracer returns a tracer that logs each read and write at level info, with up to data
// bytes of what was carried, in hexadecimal. 0 or less logs none of them, which keeps what
// users send out of the log.
func LogTracer(l *slog.Logger, data int) transport.Tracer {
	return func(e transport.TraceEvent) {
		attrs := []slog.Attr{
			slog.Uint64("conn", e.Conn.ID()), slog.String("peer", transport.AddrString(e.Conn.RemoteAddr())),
			slog.String("op", e.Op.String()), slog.Int("bytes", e.N),
		}
		if n := min(data, len(e.Data)); n > 0 {
			attrs = append(attrs, slog.String("data", hex.EncodeToString(e.Data[:n])))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.Any("err", e.Err))
		}
		l.LogAttrs(context.Background(), slog.LevelInfo, "trace", attrs...)
	}
}
