package accesslog

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/internal/termtext"
	"goranch/ranch"
	"goranch/transport"
)

// fakeConn is a connection with addresses.
type fakeConn struct {
	net.Conn
	local, remote net.Addr
}

func (c fakeConn) LocalAddr() net.Addr            { return c.local }
func (c fakeConn) RemoteAddr() net.Addr           { return c.remote }
func (c fakeConn) Read(p []byte) (int, error)     { return len(p), nil }
func (c fakeConn) Write(p []byte) (int, error)    { return len(p), nil }
func (fakeConn) SetWriteDeadline(time.Time) error { return nil }

func tcpAddr(t testing.TB, s string) net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// testEvent returns the end of a connection with 3 bytes received and 5 sent.
func testEvent(t testing.TB, peer net.Addr, labels ...transport.Label) ranch.Event {
	t.Helper()
	c := transport.NewConn(transport.TCP{}, fakeConn{local: tcpAddr(t, "10.0.0.1:80"), remote: peer})
	c.Read(make([]byte, 3))
	c.Write(make([]byte, 5))
	for _, l := range labels {
		if err := c.SetLabel(l.Key, l.Value); err != nil {
			t.Fatal(err)
		}
	}
	return ranch.Event{Kind: ranch.ConnEnded, Ref: "echo", Conn: c, Reason: conns.PeerClosed, Served: true, Duration: 1234567 * time.Microsecond}
}

var testTime = time.Date(2026, 1, 2, 15, 4, 5, 123456789, time.FixedZone("", 3600))

// lineOf returns the line for e.
func lineOf(e *ranch.Event, at time.Time) []byte {
	n := entry{transport: e.Conn.Transport().Name(), peer: e.Conn.RemoteAddr(), local: e.Conn.LocalAddr(), at: at.UnixNano()}
	n.set(e)
	return new(lines).append(nil, &n)
}

func TestLine(t *testing.T) {
	failed := testEvent(t, tcpAddr(t, "[2001:db8::1]:7"))
	failed.Reason, failed.Served, failed.Err, failed.Duration = conns.HandshakeFailed, false, errors.New("a \"test\"\n"), 0
	peer := tcpAddr(t, "192.0.2.1:5")
	reset := testEvent(t, peer)
	reset.Err = &net.OpError{Op: "read", Net: "tcp", Source: tcpAddr(t, "10.0.0.1:80"), Addr: peer, Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	refused := testEvent(t, peer)
	refused.Err = &net.OpError{Op: "dial", Net: "tcp", Addr: tcpAddr(t, "192.0.2.2:80"), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, tc := range []struct {
		name string
		e    ranch.Event
		want string
	}{
		{"an error of the connection", reset,
			`"peer":"192.0.2.1:5","local":"10.0.0.1:80","transport":"tcp","reason":"peer closed","served":true,"duration":1.234567,"received":3,"sent":5,"error":"read: connection reset by peer"}`},
		{"an error of another connection", refused,
			`"peer":"192.0.2.1:5","local":"10.0.0.1:80","transport":"tcp","reason":"peer closed","served":true,"duration":1.234567,"received":3,"sent":5,"error":"dial tcp 192.0.2.2:80: connect: connection refused"}`},
		{"plain", testEvent(t, tcpAddr(t, "192.0.2.1:5")),
			`"peer":"192.0.2.1:5","local":"10.0.0.1:80","transport":"tcp","reason":"peer closed","served":true,"duration":1.234567,"received":3,"sent":5}`},
		{"labels", testEvent(t, tcpAddr(t, "192.0.2.1:5"), transport.Label{Key: "user", Value: "Ann \"B\""}, transport.Label{Key: "client", Value: "7"}),
			`"peer":"192.0.2.1:5","local":"10.0.0.1:80","transport":"tcp","reason":"peer closed","served":true,"duration":1.234567,"received":3,"sent":5,"labels":{"client":"7","user":"Ann \"B\""}}`},
		{"an error", failed,
			`"peer":"[2001:db8::1]:7","local":"10.0.0.1:80","transport":"tcp","reason":"handshake failed","served":false,"duration":0.000000,"received":3,"sent":5,"error":"a \"test\"\n"}`},
		{"a Unix socket", testEvent(t, &net.UnixAddr{Net: "unix", Name: "@"}),
			`"peer":"unix:@","local":"10.0.0.1:80","transport":"tcp","reason":"peer closed","served":true,"duration":1.234567,"received":3,"sent":5}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := string(lineOf(&tc.e, testTime))
			head, rest, _ := strings.Cut(got, `"id":`)
			_, rest, _ = strings.Cut(rest, ",")
			if want := `{"time":"2026-01-02T14:04:05.123456Z","listener":"echo",`; head != want {
				t.Errorf("got %s, want %s", head, want)
			}
			if diff := cmp.Diff(tc.want+"\n", rest); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("got %s, want JSON", got)
			}
		})
	}
}

// decoded is a line as programs read it.
type decoded struct {
	Time                                     time.Time
	Listener, Peer, Local, Transport, Reason string
	ID, Received, Sent                       uint64
	Served                                   bool
	Duration                                 float64
	TLS                                      *struct{ Version, Cipher, SNI, ALPN, Client string }
	Labels                                   map[string]string
	Error                                    string
}

func decode(t testing.TB, line []byte) (d decoded) {
	t.Helper()
	if err := json.Unmarshal(line, &d); err != nil {
		t.Fatalf("got %q, want JSON: %v", line, err)
	}
	return d
}

// Text that could control a terminal, or forge a line or a member, is escaped and can be read back.
func TestNastyText(t *testing.T) {
	forged := `","reason":"killed","peer":"1.2.3.4:5"}` + "\n{"
	for _, s := range append([]string{forged}, termtext.Nasty...) {
		valid := strings.ToValidUTF8(s, "\ufffd")
		e := testEvent(t, &net.UnixAddr{Net: "unix", Name: s}, transport.Label{Key: "user", Value: valid})
		e.Err = errors.New(s)
		line := lineOf(&e, testTime)
		for _, bad := range termtext.Forbidden {
			if strings.Contains(string(line), bad) {
				t.Errorf("%q: got %q, which contains %q", s, line, bad)
			}
		}
		if n := strings.Count(string(line), "\n"); n != 1 {
			t.Errorf("%q: got %d line feeds in %q, want 1", s, n, line)
		}
		d := decode(t, line)
		if d.Labels["user"] != valid || d.Reason != "peer closed" || strings.ToValidUTF8(s, "") == s && (d.Error != s || d.Peer != "unix:"+s) {
			t.Errorf("%q: got %+v, want the same text", s, d)
		}
	}
}

// A line has a limited length, whatever the texts are.
func TestLongText(t *testing.T) {
	long := strings.Repeat("\x1b", 1<<20)
	e := testEvent(t, &net.UnixAddr{Net: "unix", Name: long})
	e.Ref, e.Err = long, errors.New(strings.Repeat("é", 1<<20))
	for i := range 8 {
		if err := e.Conn.SetLabel(strings.Repeat("k", 31)+string(rune('0'+i)), strings.Repeat("\x01", 128)); err != nil {
			t.Fatal(err)
		}
	}
	line := lineOf(&e, testTime)
	if d := decode(t, line); d.Error != strings.Repeat("é", maxText/2)+"…" {
		t.Errorf("error: got %q, want it cut", d.Error)
	}
	if len(line) > minBytes/2 {
		t.Errorf("got a line of %d bytes, want at most %d", len(line), minBytes/2)
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range termtext.Nasty {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, peer, message string) {
		e := testEvent(t, &net.UnixAddr{Net: "unix", Name: peer})
		e.Err = errors.New(message)
		line := lineOf(&e, testTime)
		if d := decode(t, line); d.Reason != "peer closed" || strings.ContainsAny(string(line[:len(line)-1]), "\n\x1b") {
			t.Errorf("got %q", line)
		}
	})
}
