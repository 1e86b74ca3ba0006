package admin

import (
	"context"
	"log/slog"

	"goranch/protocol/shell"
)

// maxAuditLine is how many bytes of a request are logged.
const maxAuditLine = 1024

// Audit returns a function for [shell.Options].Audit that logs each call of a command that changes
// something: the user, the address, the request, its result and its duration. A call that succeeded
// is logged at level info, one that failed or was denied at level warn. nil is slog.Default() at
// the time of the call.
func Audit(logger *slog.Logger) func(shell.AuditEntry) {
	return func(e shell.AuditEntry) {
		l := logger
		if l == nil {
			l = slog.Default()
		}
		line := e.Line
		if len(line) > maxAuditLine {
			line = line[:maxAuditLine] + "..."
		}
		level, result := slog.LevelInfo, "done"
		attrs := []slog.Attr{
			slog.String("user", e.User.Name), slog.String("role", e.User.Role.String()), slog.String("remote", e.Remote),
			slog.String("command", e.Command), slog.String("line", line),
			slog.Time("began", e.Time), slog.Duration("duration", e.Duration),
		}
		if e.Err != nil {
			level, result = slog.LevelWarn, "failed"
			attrs = append(attrs, slog.Any("err", e.Err))
		}
		l.LogAttrs(context.Background(), level, "audit", append(attrs, slog.String("result", result))...)
	}
}
