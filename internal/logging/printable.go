package logging

import (
	"fmt"
	"log/slog"
	"strings"

	"goranch/internal/termtext"
)

// PrintableAttr makes the value of an attribute safe for a terminal; it is meant as the ReplaceAttr
// of a handler that does not quote all its values. tint writes the four characters \x1b of a quoted
// value as ESC, so these become \u001b.
func PrintableAttr(_ []string, a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(printable(v.String()))
	case slog.KindAny:
		switch x := v.Any().(type) {
		case slog.Level, *slog.Source:
		case error:
			a.Value = slog.StringValue(printable(x.Error()))
		case fmt.Stringer:
			a.Value = slog.StringValue(printable(x.String()))
		default:
			a.Value = slog.StringValue(printable(fmt.Sprint(x)))
		}
	}
	return a
}

func printable(s string) string {
	return strings.ReplaceAll(termtext.Line(s), `\x1b`, `\u001b`)
}
