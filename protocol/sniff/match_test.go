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
		{"SOCKS 4", sniff.SOCKS4(), "\x04\x01\x00\x50\x01\x02\x03\x04\x00", yes},
		{"SOCKS 4, one byte", sniff.SOCKS4(), "\x04", undecided},
		{"SOCKS 4, unknown command", sniff.SOCKS4(), "\x04\x03", no},
		{"SOCKS 5", sniff.SOCKS5(), "\x05\x01\x00", yes},
		{"SOCKS 5, one byte", sniff.SOCKS5(), "\x05", undecided},
		{"SOCKS 5, no methods", sniff.SOCKS5(), "\x05\x00", no},
		{"SOCKS 5, not", sniff.SOCKS5(), "\x04", no},
		{"PROXY 1", sniff.ProxyHeader(), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", yes},
		{"PROXY 1, IPv6", sniff.ProxyHeader(), "PROXY TCP6 ::1", yes},
		{"PROXY 1, unknown", sniff.ProxyHeader(), "PROXY UNKNOWN\r\n", yes},
		{"PROXY 1, incomplete", sniff.ProxyHeader(), "PROXY TCP", undecided},
		{"PROXY 1, another family", sniff.ProxyHeader(), "PROXY UDP4 ", no},
		{"PROXY 2", sniff.ProxyHeader(), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", yes},
		{"PROXY 2, local", sniff.ProxyHeader(), "\r\n\r\n\x00\r\nQUIT\n\x20", yes},
		{"PROXY 2, incomplete", sniff.ProxyHeader(), "\r\n\r\n\x00\r\nQUIT\n", undecided},
		{"PROXY 2, version 3", sniff.ProxyHeader(), "\r\n\r\n\x00\r\nQUIT\n\x31", no},
		{"MQTT 3.1", sniff.MQTT(), "\x10\x0e\x00\x06MQIsdp\x03", yes},
		{"MQTT 3.1.1", sniff.MQTT(), "\x10\x0c\x00\x04MQTT\x04", yes},
		{"MQTT 5, length of four bytes", sniff.MQTT(), "\x10\x80\x80\x80\x01\x00\x04MQTT\x05", yes},
		{"MQTT, length of five bytes", sniff.MQTT(), "\x10\x80\x80\x80\x80", no},
		{"MQTT, incomplete length", sniff.MQTT(), "\x10\x80", undecided},
		{"MQTT, incomplete", sniff.MQTT(), "\x10\x0c\x00\x04MQT", undecided},
		{"MQTT, one byte", sniff.MQTT(), "\x10", undecided},
		{"MQTT, PUBLISH", sniff.MQTT(), "\x30\x0c\x00\x04MQTT", no},
		{"MQTT, another name", sniff.MQTT(), "\x10\x0c\x00\x04mqtt", no},
		{"Postgres, SSLRequest", sniff.Postgres(), "\x00\x00\x00\x08\x04\xd2\x16\x2f", yes},
		{"Postgres, GSSENCRequest", sniff.Postgres(), "\x00\x00\x00\x08\x04\xd2\x16\x30", yes},
		{"Postgres, CancelRequest", sniff.Postgres(), "\x00\x00\x00\x10\x04\xd2\x16\x2e", yes},
		{"Postgres, CancelRequest of protocol 3.2", sniff.Postgres(), "\x00\x00\x01\x0c\x04\xd2\x16\x2e", yes},
		{"Postgres, StartupMessage", sniff.Postgres(), "\x00\x00\x00\x20\x00\x03\x00\x00user\x00", yes},
		{"Postgres, StartupMessage of protocol 3.2", sniff.Postgres(), "\x00\x00\x00\x20\x00\x03\x00\x02", yes},
		{"Postgres, StartupMessage of protocol 2", sniff.Postgres(), "\x00\x00\x01\x28\x00\x02\x00\x00", no},
		{"Postgres, SSLRequest of 9 bytes", sniff.Postgres(), "\x00\x00\x00\x09\x04\xd2\x16\x2f", no},
		{"Postgres, CancelRequest too long", sniff.Postgres(), "\x00\x00\x01\x0d\x04\xd2\x16\x2e", no},
		{"Postgres, CancelRequest too short", sniff.Postgres(), "\x00\x00\x00\x0f\x04\xd2\x16\x2e", no},
		{"Postgres, StartupMessage without parameters", sniff.Postgres(), "\x00\x00\x00\x08\x00\x03\x00\x00", no},
		{"Postgres, StartupMessage too long", sniff.Postgres(), "\x00\x00\x27\x11\x00\x03\x00\x00", no},
		{"Postgres, length of 64 KiB", sniff.Postgres(), "\x00\x01", no},
		{"Postgres, incomplete", sniff.Postgres(), "\x00\x00\x00\x08\x04\xd2\x16", undecided},
		{"Postgres, TLS", sniff.Postgres(), hello, no},
		{"SNI", sniff.SNI("b.test", "example.com", "EXAMPLE.com"), helloFor("Example.com"), yes},
		{"SNI, another name", sniff.SNI("b.test", "example.com"), helloFor("a.test"), no},
		{"SNI, incomplete", sniff.SNI("example.com"), hello, undecided},
		{"SNI, no TLS", sniff.SNI("example.com"), "GET", no},
		{"SNI, none", sniff.SNI(""), records(message(), 0), yes},
		{"SNI, no names", sniff.SNI(), helloFor("a.test"), no},
		{"ALPN", sniff.ALPN("h2", "x"), helloFor("a.test", "http/1.1", "x"), yes},
		{"ALPN, another protocol", sniff.ALPN("h2"), helloFor("a.test", "http/1.1", "h"), no},
		{"ALPN, none", sniff.ALPN("h2"), helloFor("a.test"), no},
		{"ALPN, no protocols", sniff.ALPN(), helloFor("a.test", "h2"), no},
		{"SNI and ALPN", sniff.All(sniff.SNI("a.test"), sniff.ALPN("h2")), helloFor("a.test", "h2"), yes},
		{"SNI and not ALPN", sniff.All(sniff.SNI("a.test"), sniff.ALPN("h2")), helloFor("a.test", "h3"), no},
		{"all, one is undecided", sniff.All(sniff.Prefix("abc"), sniff.Prefix("a")), "a", undecided},
		{"all, the second does not match", sniff.All(sniff.Prefix("abc"), sniff.Prefix("b")), "a", no},
		{"all of none", sniff.All(), "a", yes},
		{"any, the second", sniff.Any(sniff.Prefix("abc"), sniff.Prefix("a")), "a", yes},
		{"any, one is undecided", sniff.Any(sniff.Prefix("abc"), sniff.Prefix("b")), "a", undecided},
		{"any, no", sniff.Any(sniff.SSH(), sniff.HTTP2()), "a", no},
		{"any of none", sniff.Any(), "a", no},
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
	for _, s := range []string{hello, "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "EHLO x", "\x00", "",
		"\x04\x01\x00\x50", "\x05\x01\x00", "PROXY TCP4 ", "\r\n\r\n\x00\r\nQUIT\n\x21", "\x10\x80\x01\x00\x04MQTT\x04", "\x00\x00\x00\x08\x04\xd2\x16\x2f",
		helloFor("www.example.com", "h2"), records(message(serverName("a.b")), 3),
	} {
		f.Add([]byte(s))
	}
	matches := map[string]sniff.Match{
		"TLS": sniff.TLS(), "HTTP1": sniff.HTTP1("MKCOL", "M"), "HTTP2": sniff.HTTP2(), "SSH": sniff.SSH(), "Prefix": sniff.Prefix("G", "GE", "ST"),
		"SOCKS4": sniff.SOCKS4(), "SOCKS5": sniff.SOCKS5(), "ProxyHeader": sniff.ProxyHeader(), "MQTT": sniff.MQTT(), "Postgres": sniff.Postgres(),
		"SNI": sniff.SNI("*.example.com", "a.b"), "ALPN": sniff.ALPN("h2"),
		"All": sniff.All(sniff.TLS(), sniff.ALPN("h2")), "Any": sniff.Any(sniff.MQTT(), sniff.Prefix("\x10\x80")),
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
