package sniff_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/sniff"
	"goranch/ranch"
	"goranch/transport"
)

var quiet = slog.New(slog.DiscardHandler)

// namedEcho returns a protocol that sends its name and then echoes.
func namedEcho(name string) protocol.Protocol {
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		if _, err := io.WriteString(conn, name+":"); err != nil {
			return err
		}
		_, err := io.Copy(conn, conn)
		return err
	})
}

// newMux calls sniff.New, with rules for TLS, HTTP and SSH if c has none.
func newMux(t *testing.T, c sniff.Config) protocol.Protocol {
	t.Helper()
	if c.Rules == nil {
		c.Rules = []sniff.Rule{
			{Name: "tls", Match: sniff.TLS(), Protocol: namedEcho("tls")},
			{Name: "http", Match: sniff.HTTP1(), Protocol: namedEcho("http")},
			{Name: "ssh", Match: sniff.SSH(), Protocol: namedEcho("ssh")},
		}
	}
	m, err := sniff.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// serveClient runs p on an in-memory connection and client on its other end. It returns the error
// of Serve.
func serveClient(t *testing.T, p protocol.Protocol, client func(net.Conn)) error {
	t.Helper()
	mem := new(transport.Mem)
	ends := make(chan ranch.Event, 1)
	l, err := new(ranch.Server).StartListener("test", mem, ranch.Options{Addr: "x", Logger: quiet, Observer: func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded {
			ends <- e
		}
	}}, p)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	nc, err := mem.Dial(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	client(nc)
	return (<-ends).Err
}

// exchange is serveClient that also returns everything that the server sends.
func exchange(t *testing.T, p protocol.Protocol, client func(net.Conn)) (answer string, err error) {
	t.Helper()
	err = serveClient(t, p, func(nc net.Conn) {
		go client(nc)
		b, _ := io.ReadAll(nc)
		answer = string(b)
	})
	return answer, err
}

// send returns a client that sends the pieces, one at a time, and closes its side.
func send(pieces ...string) func(net.Conn) {
	return func(nc net.Conn) {
		for _, p := range pieces {
			io.WriteString(nc, p)
			synctest.Wait()
		}
		nc.(interface{ CloseWrite() error }).CloseWrite()
	}
}

// The selected protocol does not depend on how the bytes are divided, and reads all of them.
func TestSelectedProtocol(t *testing.T) {
	for _, tt := range []struct{ first, want string }{
		{hello + "rest", "tls"},
		{"GET / HTTP/1.1\r\n\r\n", "http"},
		{"SSH-2.0-client\r\n", "ssh"},
		{"anything", "default"},
		{"GE", "default"}, // then the end of input
		{strings.Repeat("x", 2000), "default"},
	} {
		for _, pieces := range [][]string{{tt.first}, strings.Split(tt.first, "")} {
			synctest.Test(t, func(t *testing.T) {
				got, err := exchange(t, newMux(t, sniff.Config{Default: namedEcho("default")}), send(pieces...))
				if want := tt.want + ":" + tt.first; got != want || err != nil {
					t.Errorf("%d pieces: got %q, %v, want %q", len(pieces), got, err, want)
				}
			})
		}
	}
}

// A rule is evaluated after all rules before it are decided.
func TestOrder(t *testing.T) {
	rules := []sniff.Rule{
		{Match: sniff.Prefix("abc"), Protocol: namedEcho("long")},
		{Match: sniff.Prefix("a"), Protocol: namedEcho("short")},
	}
	for first, want := range map[string]string{"abc": "long", "abd": "short", "a": "short"} {
		synctest.Test(t, func(t *testing.T) {
			got, err := exchange(t, newMux(t, sniff.Config{Rules: rules}), send(strings.Split(first, "")...))
			if got != want+":"+first || err != nil {
				t.Errorf("%s: got %q, %v, want %q", first, got, err, want+":"+first)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	undecided := []sniff.Rule{{Match: func([]byte) (bool, bool) { return false, true }, Protocol: echo.Protocol{}}}
	sendAndWait := func(first string) func(net.Conn) {
		return func(nc net.Conn) { io.WriteString(nc, first) }
	}
	for _, tt := range []struct {
		name   string
		c      sniff.Config
		client func(net.Conn)
		want   error
		reason conns.Reason
		after  time.Duration
	}{
		{"silent", sniff.Config{}, sendAndWait(""), sniff.ErrNoMatch, conns.TimedOut, 3 * time.Second},
		{"silent for a minute", sniff.Config{Timeout: time.Minute}, sendAndWait(""), sniff.ErrNoMatch, conns.TimedOut, time.Minute},
		{"incomplete", sniff.Config{}, sendAndWait("GE"), sniff.ErrNoMatch, conns.TimedOut, 3 * time.Second},
		{"incomplete, with Silent", sniff.Config{Silent: echo.Protocol{}}, sendAndWait("GE"), sniff.ErrNoMatch, conns.TimedOut, 3 * time.Second},
		{"nothing matches", sniff.Config{}, send("EHLO"), sniff.ErrNoMatch, conns.BadInput, 0},
		{"end of input, incomplete", sniff.Config{}, send("GE"), sniff.ErrNoMatch, conns.BadInput, 0},
		{"end of input at once", sniff.Config{}, send(), io.EOF, conns.PeerClosed, 0},
		{"undecided", sniff.Config{Rules: undecided}, send(strings.Repeat("x", 32<<10)), sniff.ErrNoMatch, conns.BadInput, 0},
		{"undecided, in pieces", sniff.Config{Rules: undecided, MaxBytes: 5}, send("1", "2", "3", "4", "5"), sniff.ErrNoMatch, conns.BadInput, 0},
		{"end of input, undecided", sniff.Config{Rules: undecided, MaxBytes: 5}, send("1", "2", "3", "4"), sniff.ErrNoMatch, conns.BadInput, 0},
		{"a byte from time to time", sniff.Config{Rules: undecided}, func(nc net.Conn) {
			for range 3 {
				io.WriteString(nc, "x")
				time.Sleep(900 * time.Millisecond)
			}
		}, sniff.ErrNoMatch, conns.TimedOut, 3 * time.Second},
		{"undecided, the maximum", sniff.Config{Rules: undecided, MaxBytes: engine.MaxPeek}, send(strings.Repeat("x", engine.MaxPeek)), sniff.ErrNoMatch, conns.BadInput, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				_, err := exchange(t, newMux(t, tt.c), tt.client)
				if !errors.Is(err, tt.want) || reasonOf(err) != tt.reason || time.Since(begin) != tt.after {
					t.Errorf("got %v (%v) after %v, want %v (%v) after %v", err, reasonOf(err), time.Since(begin), tt.want, tt.reason, tt.after)
				}
				if want := tt.after > 0; errors.Is(err, os.ErrDeadlineExceeded) != want {
					t.Errorf("got %v, want a timeout: %t", err, want)
				}
			})
		})
	}
}

// reasonOf returns the reason that a supervisor derives from err.
func reasonOf(err error) conns.Reason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return conns.TimedOut
	case errors.Is(err, protocol.ErrBadInput):
		return conns.BadInput
	case errors.Is(err, io.EOF):
		return conns.PeerClosed
	}
	return conns.Failed
}

// A client that sends nothing within the time limit is served by Silent, without a deadline.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		got, err := exchange(t, newMux(t, sniff.Config{Silent: namedEcho("smtp")}), func(nc net.Conn) {
			<-time.After(time.Hour)
			send("EHLO")(nc)
		})
		if got != "smtp:EHLO" || err != nil || time.Since(begin) != time.Hour {
			t.Errorf("got %q, %v after %v, want smtp:EHLO after 1h", got, err, time.Since(begin))
		}
	})
}

// SilentAfter limits the time until the first byte only.
func TestSilentAfter(t *testing.T) {
	config := func(timeout time.Duration) sniff.Config {
		return sniff.Config{Silent: namedEcho("mysql"), SilentAfter: 100 * time.Millisecond, Timeout: timeout}
	}
	for _, tt := range []struct {
		name   string
		c      sniff.Config
		client func(net.Conn)
		want   string
		after  time.Duration
	}{
		{"silent", config(0), func(nc net.Conn) { time.Sleep(time.Minute); send("login")(nc) }, "mysql:login", time.Minute},
		{"silent, no limit", config(transport.NoTimeout), func(nc net.Conn) { time.Sleep(time.Minute); send("login")(nc) }, "mysql:login", time.Minute},
		{"slow", config(0), func(nc net.Conn) {
			io.WriteString(nc, "GE")
			time.Sleep(2 * time.Second)
			send("T /")(nc)
		}, "http:GET /", 2 * time.Second},
		{"slow, no limit", config(transport.NoTimeout), func(nc net.Conn) {
			io.WriteString(nc, "GE")
			time.Sleep(time.Hour)
			send("T /")(nc)
		}, "http:GET /", time.Hour},
		{"incomplete", config(0), func(nc net.Conn) { io.WriteString(nc, "GE") }, "", 3 * time.Second},
		{"more than Timeout", sniff.Config{Silent: namedEcho("mysql"), SilentAfter: time.Hour}, func(nc net.Conn) { time.Sleep(4 * time.Second); send("GET ")(nc) }, "mysql:GET ", 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				got, err := exchange(t, newMux(t, tt.c), tt.client)
				if got != tt.want || (err == nil) != (tt.want != "") || time.Since(begin) != tt.after {
					t.Errorf("got %q, %v after %v, want %q after %v", got, err, time.Since(begin), tt.want, tt.after)
				}
			})
		})
	}
}

// Silent works inside TLS too: the TLS connection stays usable after the timeout of a read.
func TestSilentInTLS(t *testing.T) {
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	inner := newMux(t, sniff.Config{Silent: namedEcho("smtp")})
	outer := newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: &sniff.Upgrade{
		To: transport.TLS{Config: &tls.Config{Certificates: ts.TLS.Certificates}}, Protocol: inner,
	}}}})
	synctest.Test(t, func(t *testing.T) {
		var got []byte
		err := serveClient(t, outer, func(nc net.Conn) {
			c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
			greeting := make([]byte, len("smtp:"))
			io.ReadFull(c, greeting)
			io.WriteString(c, "EHLO")
			c.CloseWrite()
			rest, _ := io.ReadAll(c)
			got = append(greeting, rest...)
		})
		if string(got) != "smtp:EHLO" || err != nil {
			t.Errorf("got %q, %v, want smtp:EHLO", got, err)
		}
	})
}

// With NoTimeout a client may send nothing for any time.
func TestNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := exchange(t, newMux(t, sniff.Config{Timeout: transport.NoTimeout}), func(nc net.Conn) {
			<-time.After(24 * time.Hour)
			send("GET ")(nc)
		})
		if got != "http:GET " || err != nil {
			t.Errorf("got %q, %v, want \"http:GET \"", got, err)
		}
	})
}

// drainer is a protocol that drains itself.
type drainer struct{ protocol.Protocol }

func (drainer) DrainsItself() {}

// A stop ends connections at once, while they are examined and while they are served, unless the
// selected protocol drains itself.
func TestStop(t *testing.T) {
	for name, tt := range map[string]struct {
		first  string
		p      protocol.Protocol
		reason conns.Reason
		after  time.Duration
	}{
		"examined":      {"", namedEcho("x"), conns.Shutdown, 0},
		"incomplete":    {"GE", namedEcho("x"), conns.Shutdown, 0},
		"served":        {"GET ", namedEcho("x"), conns.Shutdown, 0},
		"drains itself": {"GET ", drainer{namedEcho("x")}, conns.Aborted, time.Second},
		"nested":        {"GET ", newMux(t, sniff.Config{Default: namedEcho("x")}), conns.Shutdown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(transport.Mem)
				m := newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.HTTP1(), Protocol: tt.p}}})
				l, err := new(ranch.Server).StartListener("x", mem, ranch.Options{Addr: "x", Logger: quiet, ShutdownTimeout: time.Second}, m)
				if err != nil {
					t.Fatal(err)
				}
				nc, err := mem.Dial(t.Context(), "x")
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				io.WriteString(nc, tt.first)
				synctest.Wait()
				begin := time.Now()
				if err := l.Stop(); err != nil {
					t.Errorf("Stop: got %v, want no error", err)
				}
				if i := l.Info(); i.Reasons[tt.reason] != 1 || time.Since(begin) != tt.after {
					t.Errorf("got ends %v after %v, want %v after %v", i.Reasons, time.Since(begin), tt.reason, tt.after)
				}
			})
		})
	}
}

func TestBadConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    sniff.Config
		want []string
	}{
		{"nothing", sniff.Config{}, []string{"option Rules of length 0: allowed are 1 or more rules"}},
		{"all", sniff.Config{
			Rules:    []sniff.Rule{{Name: "x"}, {Match: sniff.TLS(), Protocol: &sniff.Upgrade{To: transport.TLS{}}}},
			MaxBytes: engine.MaxPeek + 1,
			Silent:   &sniff.Upgrade{To: transport.TCP{Backlog: -1}, Protocol: echo.Protocol{}},
		}, []string{
			`option Rules[0] "x" Match <nil>: allowed are TLS(), HTTP1(), Prefix(…), and any other function`,
			`option Rules[0] "x" Protocol <nil>: allowed are protocols other than nil`,
			`Rules[1] "" Protocol: option To: no certificate: set Certificates, GetCertificate or GetConfigForClient`,
			`option Protocol <nil>: allowed are protocols other than nil`,
			`Silent: option To: option Backlog -1: allowed are positive numbers up to 2147483647, and 0 for the maximum of the system`,
			`option MaxBytes 65537: allowed are 1 to 65536, and 0 for 32768`,
		}},
		{"Select", sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Select: newRoutes(t, route("x", nil))}}, SilentAfter: -1}, []string{
			`option Rules[0] "" Select with Match or Protocol: allowed are Select alone, and Match with Protocol`,
			`option SilentAfter -1ns: allowed are positive durations, and 0 for Timeout`,
		}},
		{"no upgrade", sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: &sniff.Upgrade{}}}}, []string{
			`Rules[0] "" Protocol: option To <nil>: allowed are transports such as transport.TLS{…}`,
			`option Protocol <nil>: allowed are protocols other than nil`,
		}},
		{"negative", sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: echo.Protocol{}}}, MaxBytes: -1}, []string{
			`option MaxBytes -1: allowed are 1 to 65536, and 0 for 32768`,
		}},
	} {
		_, err := sniff.New(tt.c)
		if err == nil {
			t.Fatalf("%s: got no error", tt.name)
		}
		if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
