package termtext_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"goranch/internal/termtext"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"plain, 日本 and é":      "plain, 日本 and é",
		"\x1b[2J":              `\u001b[2J`,
		"a\nb\tc":              `a\u000ab\u0009c`,
		"\u202e\U000e0001":     `\u202e\U000e0001`,
		"\xff caf\xe9":         `\xff caf\xe9`,
		"\uFFFD stays":         "\uFFFD stays",
		`already \u001b there`: `already \u001b there`,
	} {
		if got := termtext.Line(in); got != want {
			t.Errorf("Line(%q): got %q, want %q", in, got, want)
		}
	}
	if got, want := termtext.Lines("a\n\tb\x1b"), "a\n\tb\\u001b"; got != want {
		t.Errorf("Lines: got %q, want %q", got, want)
	}
}

func TestNasty(t *testing.T) {
	for _, s := range termtext.Nasty {
		for name, got := range map[string]string{"Line": termtext.Line(s), "Lines": termtext.Lines(s)} {
			for _, bad := range termtext.Forbidden {
				if strings.Contains(got, bad) {
					t.Errorf("%s(%q): got %q, which contains %q", name, s, got, bad)
				}
			}
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range termtext.Nasty {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := termtext.Line(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\r\n") || termtext.Line(got) != got {
			t.Errorf("Line(%q): got %q", s, got)
		}
	})
}

func Example() {
	fmt.Println(termtext.Line("peer says \x1b[2Jx"))
	// Output: peer says \u001b[2Jx
}
