package sniff_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/sniff"
)

// hellos are inputs of the parser, which are also seeds of its fuzz test.
var hellos = []struct {
	name, first string
	malformed   bool // a ClientHello that crypto/tls refuses too
	server      string
	alpn        []string
}{
	{name: "server name", first: helloFor("example.com"), server: "example.com"},
	{name: "ALPN", first: helloFor("example.com", "h2", "http/1.1"), server: "example.com", alpn: []string{"h2", "http/1.1"}},
	{name: "ALPN first", first: records(message(alpn("h2"), serverName("a.b")), 0), server: "a.b", alpn: []string{"h2"}},
	{name: "no server name", first: records(message(alpn("h2")), 0), alpn: []string{"h2"}},
	{name: "no extensions", first: records(handshake(fixedPart), 0)},
	{name: "empty extensions", first: records(message(), 0)},
	{name: "followed by data", first: helloFor("example.com") + "\x17\x03\x03", server: "example.com"},
	{name: "followed by data in the record", first: records(message(serverName("a.b"))+"\x0b\x00", 0), server: "a.b"},
	{name: "records of one byte", first: records(message(serverName("a.b")), 1), server: "a.b"},
	{name: "records of three bytes", first: records(message(serverName("example.com"), alpn("h2", "x")), 3), server: "example.com", alpn: []string{"h2", "x"}},
	{name: "16 KiB of extensions", first: records(message(extension(21, strings.Repeat("\x00", 16<<10)), serverName("example.com")), 1<<14), server: "example.com"},
	{name: "16 KiB of extensions, the server name first", first: records(message(serverName("example.com"), extension(21, strings.Repeat("\x00", 16<<10))), 9000), server: "example.com"},
	{name: "GREASE", first: records(message(extension(0x0a0a, ""), serverName("a.b"), extension(0xfafa, "\x00"), alpn("\x0a\x0a", "h2")), 0), server: "a.b", alpn: []string{"\x0a\x0a", "h2"}},
	{name: "upper case", first: helloFor("WWW.Example.COM"), server: "WWW.Example.COM"},
	{name: "address", first: helloFor("192.0.2.1"), server: "192.0.2.1"},
	{name: "NUL", first: helloFor("example.com\x00.evil.test"), server: "example.com\x00.evil.test"},
	{name: "escape sequences", first: helloFor("\x1b[2J\n"), server: "\x1b[2J\n"},
	{name: "300 bytes", first: helloFor(strings.Repeat("a", 300)), server: strings.Repeat("a", 300)},
	{name: "another type of name", first: records(message(extension(0, vector(2, "\x01"+vector(2, "x")+"\x00"+vector(2, "a.b")))), 0), server: "a.b"},
	{name: "only another type of name", first: records(message(extension(0, vector(2, "\x01"+vector(2, "x")))), 0)},

	{name: "dot at the end", first: helloFor("example.com."), malformed: true},
	{name: "two host names", first: records(message(serverName("a.b", "c.d")), 0), malformed: true},
	{name: "two server name extensions", first: records(message(serverName("a.b"), serverName("c.d")), 0), malformed: true},
	{name: "two ALPN extensions", first: records(message(alpn("h2"), alpn("h3")), 0), malformed: true},
	{name: "empty host name", first: helloFor(""), malformed: true},
	{name: "empty list of names", first: records(message(extension(0, vector(2, ""))), 0), malformed: true},
	{name: "empty server name extension", first: records(message(extension(0, "")), 0), malformed: true},
	{name: "list of names longer than the extension", first: records(message(extension(0, "\x00\x09\x00\x00\x03a.b")), 0), malformed: true},
	{name: "list of names shorter than the extension", first: records(message(extension(0, vector(2, "\x00"+vector(2, "a.b"))+"x")), 0), malformed: true},
	{name: "host name longer than the list", first: records(message(extension(0, vector(2, "\x00\x00\x04a.b"))), 0), malformed: true},
	{name: "host name without length", first: records(message(extension(0, vector(2, "\x00\x00"))), 0), malformed: true},
	{name: "empty ALPN name", first: records(message(alpn("h2", "")), 0), malformed: true},
	{name: "empty ALPN list", first: records(message(alpn()), 0), malformed: true},
	{name: "ALPN name longer than the list", first: records(message(extension(16, vector(2, "\x03h2"))), 0), malformed: true},
	{name: "extension longer than the list", first: records(message("\x00\x00\x00\x10\x00\x00"), 0), malformed: true},
	{name: "half an extension", first: records(message(serverName("a.b"), "\x00"), 0), malformed: true},
	{name: "extensions longer than the message", first: records(handshake(fixedPart+"\x00\x09"+serverName("a.b")[:5]), 0), malformed: true},
	{name: "data after the extensions", first: records(handshake(fixedPart+vector(2, serverName("a.b"))+"x"), 0), malformed: true},
	{name: "odd cipher suites", first: records(handshake("\x03\x03"+strings.Repeat("r", 32)+"\x00"+vector(2, "\x13\x01\x13")+vector(1, "\x00")), 0), malformed: true},
	{name: "session id longer than the message", first: records(handshake("\x03\x03"+strings.Repeat("r", 32)+"\xff"), 0), malformed: true},
	{name: "empty message", first: records(handshake(""), 0), malformed: true},
	{name: "message of 16 MiB", first: records("\x01\xff\xff\xff"+strings.Repeat("x", 100), 0), malformed: true},
	{name: "record of 16 KiB and 1", first: records(message(extension(21, strings.Repeat("\x00", 1<<14-len(message(extension(21, "")))+1))), 0), malformed: true},
	{name: "empty record", first: records("\x01\x00", 0) + "\x16\x03\x01\x00\x00" + records("\x00\x00", 0), malformed: true},
	{name: "ServerHello", first: records("\x02\x00\x00\x01\x00", 0), malformed: true},
	{name: "another record in between", first: records(message(serverName("a.b")), 20)[:25] + "\x17\x03\x01\x00\x01x", malformed: true},
}

// What is in a ClientHello does not depend on the bytes that follow, and nothing is decided before
// it is complete.
func TestParseClientHello(t *testing.T) {
	for _, tt := range hellos {
		h, more := sniff.ParseClientHello([]byte(tt.first))
		if tt.malformed {
			if h != nil || more {
				t.Errorf("%s: got %+v, more %t, want none", tt.name, h, more)
			}
			continue
		}
		if h == nil || more {
			t.Errorf("%s: got %v, more %t, want a result", tt.name, h, more)
			continue
		}
		if got := slices.Collect(h.ALPN()); h.ServerName != tt.server || !slices.Equal(got, tt.alpn) {
			t.Errorf("%s: got %q and %q, want %q and %q", tt.name, h.ServerName, got, tt.server, tt.alpn)
		}
		for n := 1; n < len(tt.first); n += 1 + n/50 {
			early, more := sniff.ParseClientHello([]byte(tt.first[:n]))
			if early == nil != more || early != nil && cmp.Diff(h, early, cmp.AllowUnexported(sniff.ClientHello{})) != "" {
				t.Fatalf("%s, %d bytes: got %+v, more %t, want the result, or more", tt.name, n, early, more)
			}
		}
	}
}

// A ClientHello in more than 128 records is refused, with the first record that is too many.
func TestTooManyRecords(t *testing.T) {
	msg := message(serverName(strings.Repeat("a", 100)))
	for pieces, want := range map[int]bool{128: true, 129: false} {
		first := records(msg[:pieces-1], 1) + records(msg[pieces-1:], 0)
		h, more := sniff.ParseClientHello([]byte(first))
		if (h != nil) != want || more {
			t.Errorf("%d records: got %+v, more %t, want a result: %t", pieces, h, more, want)
		}
	}
}

// Matching allocates nothing, also if the names are divided between records.
func TestNoAllocation(t *testing.T) {
	match := sniff.All(sniff.SNI("*.example.com"), sniff.ALPN("h2"))
	for _, size := range []int{0, 2, 100} {
		first := []byte(records(message(alpn("http/1.1", "h2"), serverName("WWW.example.com")), size))
		n := testing.AllocsPerRun(100, func() {
			if match, more := match(first); !match || more {
				t.Fatalf("got %t, more %t, want a match", match, more)
			}
		})
		if n != 0 {
			t.Errorf("records of %d bytes: got %v allocations, want none", size, n)
		}
	}
}
