// Package termtext makes text that may come from a peer safe to show on a terminal and in a log
// line. All text output for operators is escaped by it: tables, error texts, trace lines, coloured
// logs.
package termtext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line returns s as one line without control characters: each character that is not printable, such
// as ESC, a line feed, a C1 control, or a mark that changes the direction of text, becomes an
// escape such as \u001b, and each invalid byte of UTF-8 one such as \xff. Line is idempotent.
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

const hex = "0123456789abcdef"

// AppendJSON appends s as a JSON string. Characters that are not printable are escaped, so that the
// document is safe for a terminal too; a decoder returns them. Each invalid byte is replaced by
// U+FFFD.
func AppendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0 // s[from:i] is appended as it is
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = appendASCII(append(b, s[from:i]...), c)
		} else {
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			invalid := r == utf8.RuneError && n == 1
			if !invalid && unicode.IsGraphic(r) {
				i += n
				continue
			}
			b = append(b, s[from:i]...)
			if invalid {
				b = append(b, "\ufffd"...)
			} else {
				b = appendEscaped(b, r)
			}
		}
		i += n
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

// appendASCII appends a character that must be escaped.
func appendASCII(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\t':
		return append(b, '\\', 't')
	}
	return appendUnit(b, uint16(c))
}

// appendEscaped appends a character as one or two UTF-16 units.
func appendEscaped(b []byte, r rune) []byte {
	if r > 0xffff {
		r1, r2 := utf16.EncodeRune(r)
		return appendUnit(appendUnit(b, uint16(r1)), uint16(r2))
	}
	return appendUnit(b, uint16(r))
}

func appendUnit(b []byte, u uint16) []byte {
	return append(b, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}
