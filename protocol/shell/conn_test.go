package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol/session"
	"goranch/ranch"
	"goranch/transport"
)

// A client works in a session, loses its connection and resumes the session.
func TestDialogue(t *testing.T) {
	root := t.TempDir()
	os.Mkdir(filepath.Join(root, "logs"), 0o700)
	os.WriteFile(filepath.Join(root, "readme"), nil, 0o600)
	srv := newTestServer(t, Options{Root: root})
	a := srv.dial()
	a.ask("pwd", "/")
	a.ask("ls", "logs/", "readme")
	a.ask("cd logs")
	a.ask("set colour green")
	a.ask("get colour", "green")
	a.Close()

	b := srv.dial()
	if b.id == a.id {
		t.Fatalf("second connection: got the session id %s of the first, want another", b.id)
	}
	b.ask("reconnect:"+a.id, "Conexao restabelecida")
	b.ask("pwd", "/logs")
	b.ask("get:colour", "green")
	b.ask("reconnect:"+a.id, "Você ja esta conectado.")
	b.ask("history", "    1  pwd", "    2  ls", "    3  cd logs", "    4  set colour green", "    5  get colour",
		"    6  pwd", "    7  get:colour", "    8  history")
	b.ask("!1", "/logs")
	b.ask("id", a.id)
	if n := srv.Sessions().Stats(); n.Attached != 1 || n.Detached != 0 {
		t.Errorf("after reconnect: got %+v, want only the resumed session", n)
	}
	b.ask("quit", "bye")
	b.expectEnd("")
	if n := srv.Sessions().Stats(); n.Attached+n.Detached != 0 {
		t.Errorf("after quit: got %+v, want no session", n)
	}
}

func TestReconnectRefused(t *testing.T) {
	srv := newTestServer(t, Options{})
	c := srv.dial()
	for _, id := range []string{"1", "", "x", strings.Repeat("9", 1000)} {
		c.ask("reconnect:"+id, "error: "+session.ErrUnknown.Error())
	}
	c.ask("echo continues", "continues")
	c.ask("reconnect:"+c.id, alreadyAttached)
}

func TestOutputWhileDetached(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	slow := Command{Name: "slow", Role: Viewer, Run: func(ctx context.Context, c *Call) error {
		fmt.Fprintln(c.Out, "started")
		<-gate
		for i := range 3 {
			fmt.Fprintf(c.Out, "%d %s\n", i, strings.Repeat("x", 20))
		}
		c.Return("done")
		<-gate
		return nil
	}}
	srv := newTestServer(t, Options{Commands: []Command{slow}, HalfCloseTimeout: -1, Sessions: session.Options[State]{MaxOutput: 50}})
	a := srv.dial()
	a.ask("slow", "started")
	a.Close()
	waitFor(t, "the session to be detached", func() bool { return srv.Sessions().Stats().Detached == 1 })
	gate <- struct{}{}
	gate <- struct{}{}
	waitFor(t, "the command to end", func() bool { return !isBusy(srv, a.id) })
	b := srv.dial()
	b.ask("reconnect:"+a.id, "Conexao restabelecida", "(46 bytes of earlier output were lost)", "2 "+strings.Repeat("x", 20), "done")
}

// isBusy reports whether the session runs a command.
func isBusy(srv *testServer, id string) (busy bool) {
	srv.runners.Range(func(_, v any) bool {
		if r := v.(*runner); r.session.ID() == id {
			busy = r.isBusy()
		}
		return true
	})
	return busy
}

func TestTakenOver(t *testing.T) {
	srv := newTestServer(t, Options{})
	a := srv.dial()
	a.ask("set x 1")
	a.ask("get x", "1")
	b := srv.dial()
	b.ask("reconnect:"+a.id, "Conexao restabelecida")
	if got := a.rest(); !strings.HasPrefix(got, "The session was taken over by ") {
		t.Errorf("previous connection: got %q, want a line about the takeover", got)
	}
	b.ask("get x", "1")
	b.ask("format:json", `{"id":3,"result":"json"}`)
	c := srv.dial()
	c.ask("reconnect:"+a.id, "Conexao restabelecida")
	if got := b.rest(); !strings.HasPrefix(got, `{"event":"taken_over","by":"`) {
		t.Errorf("previous connection: got %q, want a taken_over event", got)
	}
	c.ask("get x", `{"id":2,"result":"1"}`)
}

// Concurrent reconnects to one session all succeed, and the session stays usable.
func TestConcurrentReconnects(t *testing.T) {
	srv := newTestServer(t, Options{})
	a := srv.dial()
	a.ask("set x 1")
	a.ask("get x", "1")
	const n = 20
	answers := make(chan string, n)
	var wg sync.WaitGroup
	for range n {
		c := srv.dial()
		wg.Go(func() {
			c.send("reconnect:" + a.id + "\nget x\n")
			got := ""
			for !strings.HasSuffix(got, "\n1\n") {
				b := make([]byte, 100)
				n, err := c.r.Read(b)
				got += string(b[:n])
				if err != nil {
					break
				}
			}
			answers <- got
		})
	}
	wg.Wait()
	close(answers)
	for got := range answers {
		if !strings.HasPrefix(got, restored) {
			t.Errorf("got %q, want the prefix %q", got, restored)
		}
	}
	waitFor(t, "the other sessions to end", func() bool { s := srv.Sessions().Stats(); return s.Attached+s.Detached == 1 })
	b := srv.dial()
	b.ask("reconnect:"+a.id, "Conexao restabelecida")
	b.ask("get x", "1")
}

func TestLastRequestWithoutLineFeed(t *testing.T) {
	srv := newTestServer(t, Options{Commands: []Command{Method("double", "", func(_ context.Context, n int) (int, error) { return 2 * n, nil })}})
	c := srv.dial()
	c.send("echo one\r\ndouble:21\ndouble 4")
	c.closeWrite()
	c.expectEnd("one\n42\n8\n")
}

func TestLineTooLong(t *testing.T) {
	srv := newTestServer(t, Options{MaxLine: 100})
	c := srv.dial()
	c.ask("echo "+strings.Repeat("x", 95), strings.Repeat("x", 95))
	go c.Write([]byte(strings.Repeat("x", 10<<20)))
	if got := c.line(); !strings.HasPrefix(got, "error: ") {
		t.Errorf("got %q, want an error", got)
	}
}

func TestCancel(t *testing.T) {
	for _, by := range []string{"\x03", "\xff\xf4", "cancel\n"} {
		t.Run(fmt.Sprintf("%q", by), func(t *testing.T) {
			c := newTestServer(t, Options{Commands: []Command{waitCommand()}}).dial()
			c.ask("format json", `{"id":1,"result":"json"}`)
			c.send("wait\n")
			c.expect(`{"id":2,"out":"waiting\n"}`)
			c.send("echo behind\n" + by)
			if by == "cancel\n" {
				if got := []string{c.line(), c.line(), c.line()}; !strings.Contains(strings.Join(got, ""), `{"id":4,"result":"cancelled"}`) {
					t.Errorf("got %q, want the answer of cancel among them", got)
				}
				return
			}
			c.expect(`{"id":2,"error":{"message":"cancelled","code":"cancelled"}}`, `{"id":3,"error":{"message":"cancelled","code":"cancelled"}}`)
		})
	}
}

func TestSessionEndCancels(t *testing.T) {
	causes := make(chan error, 1)
	wait := Command{Name: "wait", Role: Viewer, Run: func(ctx context.Context, c *Call) error {
		fmt.Fprintln(c.Out, "waiting")
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}}
	srv := newTestServer(t, Options{Commands: []Command{wait}})
	c := srv.dial()
	c.ask("wait", "waiting")
	if err := srv.Sessions().End(c.id); err != nil {
		t.Fatal(err)
	}
	if err := <-causes; err != ErrSessionEnded {
		t.Errorf("got cause %v, want %v", err, ErrSessionEnded)
	}
	c.expectEnd("error: the session has ended\n")
}

func TestShutdown(t *testing.T) {
	srv := newTestServer(t, Options{Commands: []Command{waitCommand()}})
	c := srv.dial()
	c.ask("wait", "waiting")
	srv.l.Stop()
	c.expectEnd("The server is stopping.\nerror: the listener is shutting down\n")
}

func TestPanic(t *testing.T) {
	for _, quick := range []bool{false, true} {
		bad := Command{Name: "bad", Role: Viewer, Quick: quick, Run: func(context.Context, *Call) error { panic("test") }}
		srv := newTestServer(t, Options{Commands: []Command{bad}})
		c := srv.dial()
		c.send("bad\n")
		for {
			if _, err := c.r.ReadString('\n'); err != nil {
				break
			}
		}
		srv.dial().ask("echo on", "on")
	}
}

func TestUsers(t *testing.T) {
	var log []string
	act := Command{Name: "act", Role: Operator, Changes: true, MaxArgs: 1, Run: func(_ context.Context, c *Call) error {
		if len(c.Args) == 1 {
			return errors.New(c.Args[0])
		}
		return nil
	}}
	srv := newTestServer(t, Options{
		Commands:     []Command{act},
		Authenticate: func(context.Context, *transport.Conn) (User, error) { return User{"someone", Guest}, nil },
		Token: func(_ context.Context, _ *transport.Conn, token string) (User, error) {
			if token == "secret" {
				return User{"ops", Operator}, nil
			}
			return User{}, errors.New("invalid token")
		},
		Audit: func(e AuditEntry) {
			log = append(log, fmt.Sprintf("%s %s %q %v", e.User.Name, e.Command, e.Line, e.Err))
		},
	})
	a := srv.dial()
	a.Close()
	waitFor(t, "the session to be detached", func() bool { return srv.Sessions().Stats().Detached == 1 })
	c := srv.dial()
	c.ask("id", c.id)
	c.ask("version", "unknown")
	c.ask("pwd", "error: pwd requires the role viewer; your role is guest")
	c.ask("reconnect:"+a.id, "error: reconnect requires the role viewer; your role is guest")
	c.ask("auth:wrong", "error: invalid token")
	c.ask("auth:secret", "ops, operator")
	c.ask("act")
	c.ask("act no", "error: no")
	c.ask("history", "    1  act", "    2  act no", "    3  history")
	want := []string{`ops act "act" <nil>`, `ops act "act no" no`}
	if fmt.Sprint(log) != fmt.Sprint(want) {
		t.Errorf("audit log: got %q, want %q", log, want)
	}
	c.ask("reconnect:"+a.id, "Conexao restabelecida")
}

func TestAuthenticateError(t *testing.T) {
	srv := newTestServer(t, Options{Authenticate: func(context.Context, *transport.Conn) (User, error) { return User{}, errors.New("access denied") }})
	nc, err := srv.mem.Dial(context.Background(), "s")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b := make([]byte, 100)
	n, _ := nc.Read(b)
	if got := string(b[:n]); got != "error: access denied\n" {
		t.Errorf("got %q, want \"error: access denied\\n\"", got)
	}
}

// More requests than can be queued, in one piece, are answered in order.
func TestPipelinedRequests(t *testing.T) {
	srv := newTestServer(t, Options{Commands: []Command{say()}})
	c := srv.dial()
	var all, want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&all, "say:%d\n", i)
		fmt.Fprintf(&want, "%d\n", i)
	}
	go func() {
		c.Write([]byte(all.String()))
		c.closeWrite()
	}()
	c.expectEnd(want.String())
}

// An idle connection has one goroutine. The read timeout ends it, and its session stays.
func TestIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, Options{ReadTimeout: time.Minute, Sessions: session.Options[State]{TTL: time.Hour}})
		srv.dial().Close()
		time.Sleep(10 * time.Second)
		before := runtime.NumGoroutine()
		c := srv.dial()
		c.SetReadDeadline(time.Time{})
		c.ask("echo x", "x")
		c.ask("status", "Status       running")
		time.Sleep(time.Second) // idle workers stop
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 2 { // one more for the timers of all connections
			t.Errorf("idle connection: got %d goroutines, want at most 2", n)
		}
		for range 5 {
			c.line()
		}
		c.expectEnd("error: no request for 1m0s: i/o timeout\n")
		synctest.Wait()
		if n := srv.Sessions().Stats().Detached; n != 2 {
			t.Errorf("after the read timeout: got %d detached sessions, want 2", n)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := srv.Sessions().Stats(); n.Detached != 0 || n.Expired != 2 {
			t.Errorf("after the TTL: got %+v, want 0 detached, 2 expired", n)
		}
	})
}

// Over TCP, a client that closes its sending side gets its answers, and its session stays.
func TestTCP(t *testing.T) {
	s, err := New(Options{Commands: []Command{Method("double", "", func(_ context.Context, n int) (int, error) { return 2 * n, nil })}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	l, err := new(ranch.Server).StartListener("s", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	nc, err := net.Dial("tcp", l.Info().Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(nc, "double:4\npwd")
	nc.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(nc)
	if _, answers, _ := strings.Cut(string(b), "\n"); err != nil || answers != "8\n/\n" {
		t.Errorf("got %q and error %v, want the answers 8 and /", b, err)
	}
	nc.Close()
	waitFor(t, "the session to be detached", func() bool { return s.Sessions().Stats().Detached == 1 })
}
