package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"goranch/internal/logging"
)

// logFormat is a format of log lines.
type logFormat string

const (
	logAuto  logFormat = "auto" // color on a terminal, otherwise text
	logText  logFormat = "text" // key=value of slog.TextHandler
	logColor logFormat = "color"
	logJSON  logFormat = "json"
)

// resolve returns the format for a log on w.
func (f logFormat) resolve(w io.Writer) logFormat {
	switch {
	case f != logAuto:
		return f
	case wantsColor(w):
		return logColor
	}
	return logText
}

func newLogger(w io.Writer, format logFormat, level slog.Leveler) *slog.Logger {
	format = format.resolve(w)
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case logJSON:
		return slog.New(slog.NewJSONHandler(w, opts))
	case logColor:
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly + ".000", ReplaceAttr: logging.PrintableAttr}))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// sampled are how many warnings of the same listener and reason are logged per second; others are
// counted. A flood of refused connections must not fill a disk.
const sampled = 20

// startLog returns the log, whose lines wait in a queue for w: neither serving nor stopping ever
// waits for what reads the log. stop writes what is queued for at most a second.
func startLog(w io.Writer, format logFormat, level slog.Leveler) (log *slog.Logger, stop func()) {
	queue := logging.NewQueue(w, 0, func(n uint64) []byte {
		var line bytes.Buffer
		newLogger(&line, format, level).Warn("log lines were dropped: the log is read too slowly", "lines", n)
		return line.Bytes()
	})
	handler := newLogger(queue, format, level).Handler()
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		queue.Close(ctx)
	}
	return slog.New(logging.NewSampler(handler, slog.LevelWarn, sampled, time.Second, "listener", "reason")), stop
}

// wantsColor reports whether w is a terminal on which colors are wanted (https://no-color.org).
// Consoles of Windows show the escape sequences unless a setting enables them.
func wantsColor(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows" && term.IsTerminal(int(f.Fd()))
}
