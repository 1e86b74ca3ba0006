package admin

import (
	"context"
	"log/slog"

	"goranch/protocol/shell"
)

// maxAudited is how much of a request is logged.
const maxAudited = 1024

// Audit returns what writes a line for each command that changes something to a log: who, from where, what, how it
// went, and how long it took. It is for [shell.Options].Audit. What has succeeded is logged at level info, what has
// failed, and what was not allowed, as a warning. nil is slog.Default().
func Audit(logger *slog.Logger) func(shell.AuditEntry) {
	return func(e shell.AuditEntry) {
		l := logger
		if l == nil {
			l = slog.Default()
		}
		line := e.Line
		if len(line) > maxAudited {
			line = line[:maxAudited] + "..."
		}
		level, result := slog.LevelInfo, "done"
		attrs := []slog.Attr{
			slog.String("user", e.User.Name), slog.String("role", e.User.Role.String()), slog.String("remote", e.Remote),
			slog.String("command", e.Command), slog.String("line", line), slog.Time("began", e.Time), slog.Duration("duration", e.Duration),
		}
		if e.Err != nil {
			level, result = slog.LevelWarn, "failed"
			attrs = append(attrs, slog.Any("err", e.Err))
		}
		l.LogAttrs(context.Background(), level, "audit", append(attrs, slog.String("result", result))...)
	}
}
