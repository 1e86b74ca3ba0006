package sniff_test

import (
	"testing"

	"goranch/protocol/sniff"
)

// hello is the beginning of a ClientHello.
const hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

// result is the result of a Match.
type result struct{ match, more bool }

var yes, undecided, no = result{match: true}, result{more: true}, result{}

func evaluate(m sniff.Match, first []byte) result {
	match, more := m(first)
	return result{match, more}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		match sniff.Match
		first string
		want  result
	}{
		{"TLS", sniff.TLS(), hello, yes},
		{"TLS, incomplete", sniff.TLS(), hello[:5], undecided},
		{"TLS, one byte", sniff.TLS(), hello[:1], undecided},
		{"TLS, application data", sniff.TLS(), "\x17\x03\x03\x00\x10\x01", no},
		{"TLS, unknown version", sniff.TLS(), "\x16\x02\x01\x00\x10\x01", no},
		{"TLS, future version", sniff.TLS(), "\x16\x03\x05\x00\x10\x01", no},
		{"TLS, longer than a record", sniff.TLS(), "\x16\x03\x01\x41\x00\x01", no},
		{"TLS, ServerHello", sniff.TLS(), "\x16\x03\x03\x00\x10\x02", no},
		{"HTTP/1", sniff.HTTP1(), "GET / HTTP/1.1\r\n", yes},
		{"HTTP/1, incomplete", sniff.HTTP1(), "OPTION", undecided},
		{"HTTP/1, P begins three methods", sniff.HTTP1(), "P", undecided},
		{"HTTP/1, another word", sniff.HTTP1(), "GETTING", no},
		{"HTTP/1, a method of WebDAV", sniff.HTTP1(), "MKCOL /", no},
		{"HTTP/1, an additional method", sniff.HTTP1("MKCOL"), "MKCOL /", yes},
		{"HTTP/1 is not HTTP/2", sniff.HTTP1(), "PRI * HTTP/2.0", no},
		{"HTTP/2", sniff.HTTP2(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00", yes},
		{"HTTP/2, incomplete", sniff.HTTP2(), "PRI * HTTP/2.0\r\n", undecided},
		{"HTTP/2, not", sniff.HTTP2(), "PRI * HTTP/2.1", no},
		{"SSH", sniff.SSH(), "SSH-2.0-x", yes},
		{"SSH, incomplete", sniff.SSH(), "SSH", undecided},
		{"SSH, not", sniff.SSH(), "ssh-2.0", no},
		{"prefixes of each other", sniff.Prefix("ab", "abc"), "ab", yes},
		{"the second prefix", sniff.Prefix("ab", "cd"), "cde", yes},
		{"empty prefix", sniff.Prefix(""), "x", yes},
		{"no prefix", sniff.Prefix(), "x", no},
	} {
		if got := evaluate(tt.match, []byte(tt.first)); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// The result of a Match does not change after it was decided.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{hello, "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "EHLO x", "\x00", ""} {
		f.Add([]byte(s))
	}
	matches := map[string]sniff.Match{
		"TLS": sniff.TLS(), "HTTP1": sniff.HTTP1("MKCOL", "M"), "HTTP2": sniff.HTTP2(), "SSH": sniff.SSH(), "Prefix": sniff.Prefix("G", "GE", "ST"),
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, match := range matches {
			before := undecided
			for n := 1; n <= len(b); n++ {
				now := evaluate(match, b[:n])
				if now.match && now.more || before != undecided && now != before {
					t.Fatalf("%s of %q: got %+v, after %+v for one byte less", name, b[:n], now, before)
				}
				before = now
			}
		}
	})
}
