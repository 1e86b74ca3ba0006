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
	"goranch/protocol"
	"goranch/protocol/echo"
	"goranch/protocol/sniff"
	"goranch/ranch"
	"goranch/transport"
)

var quiet = slog.New(slog.DiscardHandler)

// told is a protocol that answers with its name and all that it has read.
func told(name string) protocol.Protocol {
	return protocol.Func(func(_ context.Context, conn *transport.Conn) error {
		if _, err := io.WriteString(conn, name+":"); err != nil {
			return err
		}
		_, err := io.Copy(conn, conn)
		return err
	})
}

func newMux(t *testing.T, c sniff.Config) *sniff.Mux {
	t.Helper()
	if c.Rules == nil {
		c.Rules = []sniff.Rule{
			{Name: "tls", Match: sniff.TLS(), Protocol: told("tls")},
			{Name: "http", Match: sniff.HTTP1(), Protocol: told("http")},
			{Name: "ssh", Match: sniff.SSH(), Protocol: told("ssh")},
		}
	}
	m, err := sniff.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// dialogue has p serve a connection in memory, whose other end client is called with. The
// result is how Serve ended.
func dialogue(t *testing.T, p protocol.Protocol, client func(net.Conn)) error {
	t.Helper()
	mem := new(transport.Mem)
	ends := make(chan ranch.Event, 1)
	l, err := new(ranch.Server).StartListener("test", mem, ranch.Options{Addr: "x", Logger: quiet, Observer: ranch.Observer(func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded {
			ends <- e
		}
	})}, p)
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

// session is a dialogue in which all that the server says is read, whatever the client does.
func session(t *testing.T, p protocol.Protocol, client func(net.Conn)) (answer string, err error) {
	t.Helper()
	err = dialogue(t, p, func(nc net.Conn) {
		go client(nc)
		b, _ := io.ReadAll(nc)
		answer = string(b)
	})
	return answer, err
}

// says sends the pieces one after the other, and no more.
func says(pieces ...string) func(net.Conn) {
	return func(nc net.Conn) {
		for _, p := range pieces {
			io.WriteString(nc, p)
			synctest.Wait()
		}
		nc.(interface{ CloseWrite() error }).CloseWrite()
	}
}

// However its bytes are cut, a client gets the same protocol, which reads all of them.
func TestServesWhatMatches(t *testing.T) {
	for _, tt := range []struct{ first, want string }{
		{hello + "rest", "tls"},
		{"GET / HTTP/1.1\r\n\r\n", "http"},
		{"SSH-2.0-client\r\n", "ssh"},
		{"anything", "default"},
		{"GE", "default"}, // and no more
		{strings.Repeat("x", 2000), "default"},
	} {
		for _, pieces := range [][]string{{tt.first}, strings.Split(tt.first, "")} {
			synctest.Test(t, func(t *testing.T) {
				got, err := session(t, newMux(t, sniff.Config{Default: told("default")}), says(pieces...))
				if want := tt.want + ":" + tt.first; got != want || err != nil {
					t.Errorf("%d pieces: got %q, %v; want %q", len(pieces), got, err, want)
				}
			})
		}
	}
}

// A rule waits for those before it.
func TestOrder(t *testing.T) {
	rules := []sniff.Rule{
		{Match: sniff.Prefix("abc"), Protocol: told("long")},
		{Match: sniff.Prefix("a"), Protocol: told("short")},
	}
	for first, want := range map[string]string{"abc": "long", "abd": "short", "a": "short"} {
		synctest.Test(t, func(t *testing.T) {
			got, err := session(t, newMux(t, sniff.Config{Rules: rules}), says(strings.Split(first, "")...))
			if got != want+":"+first || err != nil {
				t.Errorf("%s: got %q, %v", first, got, err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	undecided := []sniff.Rule{{Match: func([]byte) sniff.Verdict { return sniff.More }, Protocol: echo.Protocol{}}}
	waits := func(first string) func(net.Conn) {
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
		{"silent", sniff.Config{}, waits(""), sniff.ErrSilent, conns.TimedOut, sniff.DefaultTimeout},
		{"silent for a minute", sniff.Config{Timeout: time.Minute}, waits(""), sniff.ErrSilent, conns.TimedOut, time.Minute},
		{"stuck in a word", sniff.Config{}, waits("GE"), sniff.ErrTooSlow, conns.TimedOut, sniff.DefaultTimeout},
		{"stuck in a word, not silent", sniff.Config{Silent: echo.Protocol{}}, waits("GE"), sniff.ErrTooSlow, conns.TimedOut, sniff.DefaultTimeout},
		{"nothing matches", sniff.Config{}, says("EHLO"), sniff.ErrNoMatch, conns.BadInput, 0},
		{"the end in a word", sniff.Config{}, says("GE"), sniff.ErrNoMatch, conns.BadInput, 0},
		{"gone at once", sniff.Config{}, says(), io.EOF, conns.PeerClosed, 0},
		{"too much", sniff.Config{Rules: undecided}, says(strings.Repeat("x", 512)), sniff.ErrTooMuch, conns.BadInput, 0},
		{"too much, at last", sniff.Config{Rules: undecided, MaxBytes: 5}, says("1", "2", "3", "4", "5"), sniff.ErrTooMuch, conns.BadInput, 0},
		{"not too much", sniff.Config{Rules: undecided, MaxBytes: 5}, says("1", "2", "3", "4"), sniff.ErrNoMatch, conns.BadInput, 0},
		{"the most", sniff.Config{Rules: undecided, MaxBytes: transport.MaxPeek}, says(strings.Repeat("x", transport.MaxPeek)), sniff.ErrTooMuch, conns.BadInput, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				_, err := session(t, newMux(t, tt.c), tt.client)
				if !errors.Is(err, tt.want) || reasonOf(err) != tt.reason || time.Since(begin) != tt.after {
					t.Errorf("after %v: %v (%v)", time.Since(begin), err, reasonOf(err))
				}
				if late := tt.after > 0; late != errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("is %v a timeout?", err)
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

// A client that waits for the server gets the protocol that speaks first, without the
// deadline by which that was found out.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		got, err := session(t, newMux(t, sniff.Config{Silent: told("smtp")}), func(nc net.Conn) {
			<-time.After(time.Hour)
			says("EHLO")(nc)
		})
		if got != "smtp:EHLO" || err != nil || time.Since(begin) != time.Hour {
			t.Errorf("after %v: %q, %v", time.Since(begin), got, err)
		}
	})
}

// The same inside TLS, which has to survive that it was waited for in vain.
func TestSilentInTLS(t *testing.T) {
	ts := httptest.NewTLSServer(nil)
	ts.Close()
	inner := newMux(t, sniff.Config{Silent: told("smtp")})
	outer := newMux(t, sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: &sniff.Upgrade{
		To: transport.TLS{Config: &tls.Config{Certificates: ts.TLS.Certificates}}, Protocol: inner,
	}}}})
	synctest.Test(t, func(t *testing.T) {
		var got []byte
		err := dialogue(t, outer, func(nc net.Conn) {
			c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
			greeting := make([]byte, len("smtp:"))
			io.ReadFull(c, greeting)
			io.WriteString(c, "EHLO")
			c.CloseWrite()
			rest, _ := io.ReadAll(c)
			got = append(greeting, rest...)
		})
		if string(got) != "smtp:EHLO" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// Without a limit of time a client may be silent for ever.
func TestNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := session(t, newMux(t, sniff.Config{Timeout: -1}), func(nc net.Conn) {
			<-time.After(24 * time.Hour)
			says("GET ")(nc)
		})
		if got != "http:GET " || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// selfDraining reads on when it is told to end.
type selfDraining struct{ protocol.Protocol }

func (selfDraining) DrainsItself() {}

// A stop ends those that are looked at and those served, at once; but a protocol that
// drains by itself reads on.
func TestStop(t *testing.T) {
	for name, tt := range map[string]struct {
		first  string
		p      protocol.Protocol
		reason conns.Reason
		after  time.Duration
	}{
		"looked at":      {"", told("x"), conns.Shutdown, 0},
		"half a word":    {"GE", told("x"), conns.Shutdown, 0},
		"served":         {"GET ", told("x"), conns.Shutdown, 0},
		"drains itself":  {"GET ", selfDraining{told("x")}, conns.Aborted, time.Second},
		"above an inner": {"GET ", newMux(t, sniff.Config{Default: told("x")}), conns.Shutdown, 0},
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
					t.Error(err)
				}
				if i := l.Info(); i.Reasons[tt.reason] != 1 || time.Since(begin) != tt.after {
					t.Errorf("after %v: %v", time.Since(begin), i.Reasons)
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
		{"nothing", sniff.Config{}, []string{"bad configuration: Rules: none; at least one is needed"}},
		{"all", sniff.Config{
			Rules:    []sniff.Rule{{Name: "x"}, {Match: sniff.TLS(), Protocol: &sniff.Upgrade{To: transport.TLS{}}}},
			MaxBytes: transport.MaxPeek + 1,
			Silent:   &sniff.Upgrade{To: transport.TCP{Backlog: -1}, Protocol: echo.Protocol{}},
		}, []string{
			`bad configuration: Rules[0] "x": Match nil: use TLS(), HTTP1(), Prefix(…) or a function of your own`,
			`bad configuration: Rules[0] "x": Protocol nil: a rule needs one`,
			`bad configuration: Rules[1] "": Protocol: bad configuration: To: no certificate: set Certificates, GetCertificate or GetConfigForClient`,
			`bad configuration: Protocol nil: an upgrade needs one`,
			`bad configuration: Silent: bad configuration: To: option Backlog -1: allowed are 0 (the system's) and positive numbers up to 2147483647`,
			`bad configuration: MaxBytes 65537: allowed are 1 to 65536, and 0 for 512`,
		}},
		{"no upgrade", sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: &sniff.Upgrade{}}}}, []string{
			`bad configuration: Rules[0] "": Protocol: bad configuration: To nil: use transport.TLS{…}`,
			`bad configuration: Protocol nil: an upgrade needs one`,
		}},
		{"negative", sniff.Config{Rules: []sniff.Rule{{Match: sniff.TLS(), Protocol: echo.Protocol{}}}, MaxBytes: -1}, []string{
			`bad configuration: MaxBytes -1: allowed are 1 to 65536, and 0 for 512`,
		}},
	} {
		_, err := sniff.New(tt.c)
		if !errors.Is(err, sniff.ErrBadConfig) {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
