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

// logFormat is how log lines look.
type logFormat string

const (
	logAuto  logFormat = "auto" // color on a terminal, else text
	logText  logFormat = "text" // key=value, as slog writes it
	logColor logFormat = "color"
	logJSON  logFormat = "json"
)

// on returns the format for a log that goes to w.
func (f logFormat) on(w io.Writer) logFormat {
	switch {
	case f != logAuto:
		return f
	case wantsColor(w):
		return logColor
	}
	return logText
}

func newLogger(w io.Writer, format logFormat, level slog.Level) *slog.Logger {
	format = format.on(w)
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case logJSON:
		return slog.New(slog.NewJSONHandler(w, opts))
	case logColor:
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly + ".000"}))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// wantsColor follows no-color.org. Consoles of Windows show the codes as they are
// unless somebody has told them not to, so there colour has to be asked for.
func wantsColor(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows" && term.IsTerminal(int(f.Fd()))
}
