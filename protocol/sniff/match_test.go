package sniff_test

import (
	"testing"

	"goranch/protocol/sniff"
)

const hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		match sniff.Match
		first string
		want  sniff.Verdict
	}{
		{"TLS", sniff.TLS(), hello, sniff.Yes},
		{"TLS, so far", sniff.TLS(), hello[:5], sniff.More},
		{"TLS, a byte", sniff.TLS(), hello[:1], sniff.More},
		{"TLS, data", sniff.TLS(), "\x17\x03\x03\x00\x10\x01", sniff.No},
		{"TLS, no version", sniff.TLS(), "\x16\x02\x01\x00\x10\x01", sniff.No},
		{"TLS, of the future", sniff.TLS(), "\x16\x03\x05\x00\x10\x01", sniff.No},
		{"TLS, longer than a record", sniff.TLS(), "\x16\x03\x01\x41\x00\x01", sniff.No},
		{"TLS, the server's hello", sniff.TLS(), "\x16\x03\x03\x00\x10\x02", sniff.No},
		{"HTTP/1", sniff.HTTP1(), "GET / HTTP/1.1\r\n", sniff.Yes},
		{"HTTP/1, so far", sniff.HTTP1(), "OPTION", sniff.More},
		{"HTTP/1, P could be three", sniff.HTTP1(), "P", sniff.More},
		{"HTTP/1, another word", sniff.HTTP1(), "GETTING", sniff.No},
		{"HTTP/1, a method of WebDAV", sniff.HTTP1(), "MKCOL /", sniff.No},
		{"HTTP/1, that was asked for", sniff.HTTP1("MKCOL"), "MKCOL /", sniff.Yes},
		{"HTTP/1 is not HTTP/2", sniff.HTTP1(), "PRI * HTTP/2.0", sniff.No},
		{"HTTP/2", sniff.HTTP2(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00", sniff.Yes},
		{"HTTP/2, so far", sniff.HTTP2(), "PRI * HTTP/2.0\r\n", sniff.More},
		{"HTTP/2, not", sniff.HTTP2(), "PRI * HTTP/2.1", sniff.No},
		{"SSH", sniff.SSH(), "SSH-2.0-x", sniff.Yes},
		{"SSH, so far", sniff.SSH(), "SSH", sniff.More},
		{"SSH, not", sniff.SSH(), "ssh-2.0", sniff.No},
		{"prefixes of each other", sniff.Prefix("ab", "abc"), "ab", sniff.Yes},
		{"the second", sniff.Prefix("ab", "cd"), "cde", sniff.Yes},
		{"any", sniff.Prefix(""), "x", sniff.Yes},
		{"none", sniff.Prefix(), "x", sniff.No},
	} {
		if got := tt.match([]byte(tt.first)); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Whatever comes, a matcher that has decided stays by it.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{hello, "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "EHLO x", "\x00", ""} {
		f.Add([]byte(s))
	}
	matches := map[string]sniff.Match{
		"TLS": sniff.TLS(), "HTTP1": sniff.HTTP1("MKCOL", "M"), "HTTP2": sniff.HTTP2(), "SSH": sniff.SSH(), "Prefix": sniff.Prefix("G", "GE", "ST"),
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, match := range matches {
			decided := sniff.More
			for n := 1; n <= len(b); n++ {
				v := match(b[:n])
				if v < sniff.More || v > sniff.No || decided != sniff.More && v != decided {
					t.Fatalf("%s said %v, and of %q %v", name, decided, b[:n], v)
				}
				decided = v
			}
		}
	})
}
