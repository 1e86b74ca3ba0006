package logging_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/lmittmann/tint"

	"goranch/internal/logging"
	"goranch/internal/termtext"
)

type stringer string

func (s stringer) String() string { return string(s) }

// A peer's text in any kind of attribute reaches no terminal as it is, through the coloured log.
func TestPrintableAttr(t *testing.T) {
	for _, s := range termtext.Nasty {
		var got bytes.Buffer
		log := slog.New(tint.NewTextHandler(&got, &tint.Options{NoColor: true, ReplaceAttr: logging.PrintableAttr}))
		coloured := slog.New(tint.NewTextHandler(&got, &tint.Options{ReplaceAttr: logging.PrintableAttr}))
		for _, l := range []*slog.Logger{log, coloured} {
			l.Info("message", "string", s, "err", errors.New(s), "stringer", stringer(s), "any", []string{s},
				"addr", &net.UnixAddr{Name: s}, slog.Group("group", "string", s))
			l.With("with", s).Info("message")
		}
		text := got.String()
		for _, own := range []string{"\x1b[0m", "\x1b[2m", "\x1b[92m", "\x1b[91m", "\x1b[93m", "\x1b[22m", "\n"} { // what tint itself writes
			text = strings.ReplaceAll(text, own, "")
		}
		for _, bad := range append(termtext.Forbidden, "\n") {
			if strings.Contains(text, bad) {
				t.Errorf("%q: got %q, which contains %q", s, text, bad)
			}
		}
	}
}
