package natsengine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"goranch/internal/termtext"
)

// Up to logLines lines are logged at once, and then one line per logInterval; others are counted.
const (
	logLines    = 20
	logInterval = time.Second
	maxLogLine  = 500 // bytes
)

// serverLog is the logger of nats-server. Lines can contain what other hosts have sent.
type serverLog struct {
	log      *slog.Logger
	secret   string // removed from lines; "" is none
	fatal    chan string
	onBroken func() // called when the store has failed

	mu         sync.Mutex
	left       int
	at         time.Time // when left was last increased
	suppressed int
	last       string // error
	lastAt     time.Time
	broken     string // the error with which the store has failed
}

func newServerLog(log *slog.Logger, secret string) *serverLog {
	return &serverLog{log: log, secret: secret, fatal: make(chan string, 1), onBroken: func() {}, left: logLines, at: time.Now()}
}

// print logs a line.
func (l *serverLog) print(level slog.Level, text string) {
	if !l.log.Enabled(context.Background(), level) || level > slog.LevelDebug && !l.allow() {
		return
	}
	l.log.Log(context.Background(), level, "NATS", "text", l.clean(text))
}

// clean returns a line without the secret and control characters, and of limited length.
func (l *serverLog) clean(text string) string {
	if l.secret != "" {
		text = strings.ReplaceAll(text, l.secret, "[secret]")
	}
	if len(text) > maxLogLine {
		text = text[:maxLogLine] + " …"
	}
	return termtext.Line(text)
}

// allow reports whether a line may be logged now.
func (l *serverLog) allow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := int(time.Since(l.at) / logInterval); n > 0 {
		l.left = min(l.left+n, logLines)
		l.at = l.at.Add(time.Duration(n) * logInterval)
		if l.suppressed > 0 {
			l.log.Warn("NATS: lines were left out", "count", l.suppressed)
			l.suppressed = 0
		}
	}
	if l.left == 0 {
		l.suppressed++
		return false
	}
	l.left--
	return true
}

// Warn logs a warning of a user of the engine, escaped and limited as the lines of nats-server are.
func (e *Engine) Warn(text string) { e.log.print(slog.LevelWarn, text) }

// flush logs how many lines were left out.
func (l *serverLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.suppressed > 0 {
		l.log.Warn("NATS: lines were left out", "count", l.suppressed)
		l.suppressed = 0
	}
}

// lastError returns the last error that nats-server has logged since forgetError.
func (l *serverLog) lastError() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// causeTime is how long consequences of an error do not replace it. nats-server reconnects within
// 30 s.
const causeTime = time.Minute

// setLastError records an error. A failed connection is often the consequence of an earlier error,
// such as a wrong secret, which gives the cause.
func (l *serverLog) setLastError(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != "" && !isConsequence(l.last) && isConsequence(text) && time.Since(l.lastAt) < causeTime {
		return
	}
	l.last, l.lastAt = l.clean(text), time.Now()
}

func isConsequence(text string) bool {
	return strings.Contains(text, "Error trying to connect to route") || strings.Contains(text, "Error flushing")
}

func (l *serverLog) forgetError() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = ""
}

// The methods of server.Logger. Most warnings of nats-server are about faults that it repairs
// itself, and most errors about other nodes.

const plainPasswords = "Plaintext passwords detected, use nkeys or bcrypt"

func (l *serverLog) Noticef(format string, v ...any) {
	l.print(slog.LevelDebug, fmt.Sprintf(format, v...))
}

func (l *serverLog) Warnf(format string, v ...any) {
	if format == plainPasswords { // the password is random
		return
	}
	l.print(slog.LevelInfo, fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.setLastError(text)
	l.print(slog.LevelWarn, text)
	if isFailureOfStore(text) {
		l.setBroken(text)
	}
}

// isFailureOfStore reports whether an error ends the use of a stream or of JetStream until a
// restart, such as a full disk. nats-server reports it only in the log, and
// continues to run.
func isFailureOfStore(text string) bool {
	return strings.Contains(text, "critical write error") || strings.Contains(text, "Critical write error") || strings.Contains(text, "will be DISABLED")
}

func (l *serverLog) setBroken(text string) {
	l.mu.Lock()
	first := l.broken == ""
	if first {
		l.broken = l.clean(text)
	}
	l.mu.Unlock()
	if first {
		l.onBroken()
	}
}

// failure returns the error with which the store has failed; "" is none.
func (l *serverLog) failure() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// Fatalf is called for errors with which nats-server does not start. It must not end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	select {
	case l.fatal <- l.clean(text):
	default:
		l.Errorf("%s", text)
	}
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
