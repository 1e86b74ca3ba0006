// Package termtext makes text that may come from a peer safe to show on a terminal and in a log line.
// Everything that a person reads goes through it: tables, error texts, trace lines, coloured logs.
package termtext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s as one line without control characters: each character that is not printable, such as
// ESC, a line feed, a C1 control, or a mark that changes the direction of text, becomes an escape
// such as \u001b, and each invalid byte of UTF-8 one such as \xff. Line is idempotent.
func Line(s string) string { return escape(s, false) }

// Lines is Line for a text of several lines: line feeds and tabs stay.
func Lines(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	if clean(s, lines) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case allowed(r, lines):
			b.WriteString(s[i : i+n])
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

func clean(s string, lines bool) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !allowed(r, lines) {
			return false
		}
		i += n
	}
	return true
}

func allowed(r rune, lines bool) bool {
	if lines && (r == '\n' || r == '\t') {
		return true
	}
	return unicode.IsGraphic(r)
}
