package console

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// runeWidth returns the number of columns of a terminal that a character takes.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// textWidth returns the number of columns that s takes.
func textWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// shorten cuts s to n columns and ends it with "…" if it is longer.
func shorten(s string, n int) string {
	if textWidth(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	used := 0
	for i, r := range s {
		w := runeWidth(r)
		if used+w > n-1 {
			return s[:i] + "…"
		}
		used += w
	}
	return s
}

// pad fills s with blanks up to n columns, before it if right is true.
func pad(s string, n int, right bool) string {
	space := strings.Repeat(" ", max(0, n-textWidth(s)))
	if right {
		return space + s
	}
	return s + space
}
