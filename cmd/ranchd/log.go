package main

import (
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
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

func newLogger(w io.Writer, format logFormat, level slog.Level) *slog.Logger {
	format = format.resolve(w)
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case logJSON:
		return slog.New(slog.NewJSONHandler(w, opts))
	case logColor:
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly + ".000"}))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// wantsColor reports whether w is a terminal on which colors are wanted (https://no-color.org).
// Consoles of Windows show the escape sequences unless a setting enables them.
func wantsColor(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows" && term.IsTerminal(int(f.Fd()))
}
