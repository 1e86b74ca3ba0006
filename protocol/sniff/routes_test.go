package sniff_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/sniff"
	"goranch/transport"
)

// named is a protocol that tests recognize by its name.
type named struct {
	protocol.Protocol
	name string
}

func route(name string, alpn []string, serverNames ...string) sniff.Route {
	return sniff.Route{ServerNames: serverNames, ALPN: alpn, Protocol: named{name: name}}
}

func newRoutes(t testing.TB, routes ...sniff.Route) sniff.Select {
	t.Helper()
	s, err := sniff.TLSRoutes(routes...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// selected returns the name of the protocol that is selected, and the labels of the connection.
func selected(t testing.TB, s sniff.Select, first string) (name string, labels []transport.Label) {
	t.Helper()
	var conn transport.Conn
	engine.Init(&conn, new(transport.Mem), nil, nil)
	p, more := s(&conn, []byte(first))
	if more {
		return "more", conn.Labels()
	}
	if p == nil {
		return "none", conn.Labels()
	}
	return p.(named).name, conn.Labels()
}

func TestTLSRoutes(t *testing.T) {
	h2 := []string{"h2"}
	s := newRoutes(t,
		route("any", nil),
		route("all of example", nil, "*.example.com"),
		route("h2 of b.example", h2, "*.b.example.com"),
		route("two", nil, "a.example.com", "Two.TEST"),
		route("none", nil, ""),
		route("http of api", []string{"http/1.1", "http/1.0"}, "api.test"),
		route("h2 of api", h2, "api.test"),
	)
	for _, tt := range []struct{ first, want string }{
		{helloFor("a.example.com"), "two"},
		{helloFor("A.EXAMPLE.COM"), "two"},
		{helloFor("two.test"), "two"},
		{helloFor("c.example.com"), "all of example"},
		{helloFor("c.a.example.com"), "all of example"},
		{helloFor("example.com"), "any"},
		{helloFor("badexample.com"), "any"},
		{helloFor("c.b.example.com", "h2"), "h2 of b.example"},
		{helloFor("c.b.example.com", "http/1.1"), "all of example"},
		{helloFor("b.example.com", "h2"), "all of example"},
		{helloFor("api.test", "h2", "http/1.1"), "http of api"}, // the order is that of the routes
		{helloFor("api.test", "h2"), "h2 of api"},
		{helloFor("api.test", "h3"), "any"},
		{records(message(alpn("h2")), 0), "none"},
		{helloFor("192.0.2.1"), "any"},
		{helloFor("a.example.com\x00.example.com"), "any"},
		{helloFor("*.example.com"), "any"},
		{helloFor(strings.Repeat("a", 300) + ".example.com"), "any"},
		{helloFor(strings.Repeat("a.", 150) + "example.com"), "any"},
		{helloFor("a.example.com."), "none"}, // malformed
		{"GET / HTTP/1.1\r\n", "none"},
		{helloFor("a.example.com")[:50], "more"},
		{records(message(serverName("a.example.com")), 7), "two"},
	} {
		want := tt.want
		if got, _ := selected(t, s, tt.first); got != want {
			t.Errorf("%.80q: got %q, want %q", tt.first, got, want)
		}
	}
	if got, _ := selected(t, newRoutes(t, route("a", nil, "a.test")), helloFor("b.test")); got != "none" {
		t.Errorf("without a route: got %q, want none", got)
	}
}

// The label is the name in lower case. Names that are no host names are escaped, and long ones are
// cut off.
func TestServerNameLabel(t *testing.T) {
	s := newRoutes(t, route("any", nil))
	long := strings.Repeat("a", 60) + "."
	for name, want := range map[string]string{
		"WWW.example.com":        "www.example.com",
		"\x1b[2J\n\x00":          `\u001b[2J\u000a\u0000`,
		"\xff":                   `\xff`,
		"b\u00fccher.test":       "b\u00fccher.test",
		long + long + long + "a": (long + long + long)[:125] + "…",
		strings.Repeat("é", 200): strings.Repeat("é", 62) + "…",
	} {
		_, got := selected(t, s, helloFor(name))
		if diff := cmp.Diff([]transport.Label{{Key: "sni", Value: want}}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	if _, got := selected(t, s, records(message(), 0)); got != nil {
		t.Errorf("without server name: got labels %v, want none", got)
	}
	if _, got := selected(t, newRoutes(t, route("a", nil, "a.test")), helloFor("b.test")); got != nil {
		t.Errorf("without a route: got labels %v, want none", got)
	}
}

func TestBadRoutes(t *testing.T) {
	p := echo.Protocol{}
	_, err := sniff.TLSRoutes(
		sniff.Route{ServerNames: []string{"a b", "a.test.", "*", "*.*.test", "a.*.test", "192.0.2.1", "bücher.test", "ok.test"}, Protocol: p},
		sniff.Route{ServerNames: []string{"OK.test"}, ALPN: []string{"", strings.Repeat("x", 256)}, Protocol: p},
		sniff.Route{ALPN: []string{"h2", "h3"}, Protocol: p},
		sniff.Route{ALPN: []string{"h3"}, Protocol: &sniff.Upgrade{To: transport.TCP{}}},
		sniff.Route{},
	)
	if err == nil {
		t.Fatal("got no error")
	}
	allowed := `: allowed are host names, "*." and a host name, and ""`
	want := []string{
		`option Routes[0] ServerNames "a b"` + allowed,
		`option Routes[0] ServerNames "a.test."` + allowed,
		`option Routes[0] ServerNames "*"` + allowed,
		`option Routes[0] ServerNames "*.*.test"` + allowed,
		`option Routes[0] ServerNames "a.*.test"` + allowed,
		`option Routes[0] ServerNames "192.0.2.1"` + allowed,
		`option Routes[0] ServerNames "bücher.test"` + allowed,
		`option Routes[1] ALPN "": allowed are names of 1 to 255 bytes`,
		`option Routes[1] ALPN "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": allowed are names of 1 to 255 bytes`,
		`option Routes[1] ServerNames "OK.test": an earlier route is used for it already`,
		`Routes[3] Protocol: option Protocol <nil>: allowed are protocols other than nil`,
		`option Routes[3] ServerNames of length 0: an earlier route is used for it already`,
		`option Routes[4] Protocol <nil>: allowed are protocols other than nil`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := sniff.TLSRoutes(); err == nil || err.Error() != "option Routes of length 0: allowed are 1 or more routes" {
		t.Errorf("without routes: got %v, want an error", err)
	}
}

// The matchers for TLS panic where TLSRoutes returns an error.
func TestBadServerName(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), `sniff: option Routes[0] ServerNames "a b": allowed are host names, "*." and a host name, and ""`; got != want {
			t.Errorf("got panic %q, want %q", got, want)
		}
	}()
	sniff.SNI("a b")
}

func TestTable(t *testing.T) {
	table, err := sniff.Table(map[string]protocol.Protocol{
		"\x01": named{name: "one"}, "\x02": named{name: "two"}, "a": named{name: "a"}, "abc": named{name: "abc"}, "xyz": named{name: "xyz"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for first, want := range map[string]string{
		"\x01rest": "one", "\x02": "two", "\x03": "none", "a": "more", "ab": "more", "abc": "abc", "abd": "a", "b": "none", "xy": "more", "xya": "none",
	} {
		if got, _ := selected(t, table, first); got != want {
			t.Errorf("%q: got %q, want %q", first, got, want)
		}
	}
}

func TestBadTable(t *testing.T) {
	_, err := sniff.Table(map[string]protocol.Protocol{"": echo.Protocol{}, strings.Repeat("k", 65): echo.Protocol{}, "x": nil, "y": &sniff.Upgrade{To: transport.TCP{}}})
	if err == nil {
		t.Fatal("got no error")
	}
	want := []string{
		`option Table "": allowed are keys of 1 to 64 bytes`,
		`option Table "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk": allowed are keys of 1 to 64 bytes`,
		`option Table["x"] <nil>: allowed are protocols other than nil`,
		`Table["y"]: option Protocol <nil>: allowed are protocols other than nil`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := sniff.Table(nil); err == nil {
		t.Error("no keys: got no error")
	}
}

// BenchmarkTLSRoutes selects a protocol among 1 and 1,000 server names.
func BenchmarkTLSRoutes(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var routes []sniff.Route
			for i := range n {
				routes = append(routes, route("x", nil, fmt.Sprintf("host%d.example.com", i), fmt.Sprintf("*.site%d.example.com", i)))
			}
			s := newRoutes(b, routes...)
			first := realHello(b, &tls.Config{ServerName: "a.b.site0.example.com"})
			var conn transport.Conn
			engine.Init(&conn, new(transport.Mem), nil, nil)
			b.ReportAllocs()
			for b.Loop() {
				if p, _ := s(&conn, first); p == nil {
					b.Fatal("got no protocol, want one")
				}
			}
		})
	}
}

// BenchmarkBytewise evaluates a route for each byte of a ClientHello that arrives alone: one of 2
// KiB in one record, and the worst, 32 KiB in 128 records.
func BenchmarkBytewise(b *testing.B) {
	for name, c := range map[string]struct{ bytes, record int }{"2KiB": {2 << 10, 1 << 14}, "32KiB in 128 records": {31 << 10, 31 << 3}} {
		b.Run(name, func(b *testing.B) {
			first := []byte(records(message(extension(21, strings.Repeat("\x00", c.bytes)), serverName("a.test")), c.record))
			match := sniff.SNI("a.test")
			b.ReportAllocs()
			for b.Loop() {
				for n := 1; n <= len(first); n++ {
					match(first[:n])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(first)), "ns/byte")
		})
	}
}
