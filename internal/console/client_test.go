package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/internal/console/consoletest"
)

// record keeps what it is shown.
type record struct {
	mu   sync.Mutex
	seen []string
}

func (r *record) add(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, fmt.Sprintf(format, a...))
}

func (r *record) Output(p []byte)             { r.add("out %q", p) }
func (r *record) Frame(a *Answer)             { r.add("frame %s", a.Result) }
func (r *record) Notice(text string)          { r.add("notice %s", text) }
func (r *record) Reconnected(n *Reconnection) { r.add("back after %v resumed %v", n.After, n.Resumed) }

// bench is a server, and how to get at it.
type bench struct {
	server consoletest.Server
	record record
	down   bool // nothing can be dialled
	dials  int
	mu     sync.Mutex
}

func (b *bench) dial(context.Context) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if b.down {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	b.server.Go(far)
	return near, nil
}

func (b *bench) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *bench) connect(t *testing.T, change func(*ClientOptions)) *Client {
	t.Helper()
	opts := ClientOptions{Dial: b.dial, Show: &b.record}
	if change != nil {
		change(&opts)
	}
	c, err := Connect(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func reconnecting(o *ClientOptions) { o.Reconnect = true }

func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bench
		c := b.connect(t, nil)
		defer b.server.Close()
		defer c.Close()
		for _, x := range []struct {
			line, want, fails string
		}{
			{"echo a b", `"a b"`, ""},
			{"stream", ``, ""},
			{"fail", "", "it is broken"},
			{"stat", "", "unknown command stat; did you mean status?"},
			{"echo one\necho two", "", `a command is one line of text, this one contains '\n'`},
			{"echo \x03", "", `a command is one line of text, this one contains '\x03'`},
			{"echo again", `"again"`, ""},
		} {
			a, err := c.Do(t.Context(), x.line)
			if err != nil && err.Error() != x.fails || err == nil && (x.fails != "" || string(a.Result) != x.want) {
				t.Errorf("%q: %+v, %v", x.line, a, err)
			}
		}
		if diff := cmp.Diff([]string{`out "one\n"`, `out "two\n"`, `out "three"`}, b.record.seen); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bench
		c := b.connect(t, nil)
		defer b.server.Close()
		defer c.Close()
		go func() {
			b.server.Wait(2)
			c.Cancel()
		}()
		_, err := c.Do(t.Context(), "slow")
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Code != CodeCancelled {
			t.Fatal(err)
		}
		// Given up by its context: the server is told, and the late answer belongs to nobody.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Do(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if a, err := c.Do(t.Context(), "echo next"); err != nil || string(a.Result) != `"next"` {
			t.Fatal(a, err)
		}
		want := []string{"format:json", "slow", "^C", "slow", "^C", "echo next"}
		if diff := cmp.Diff(want, b.server.Received()); diff != "" {
			t.Error(diff)
		}
	})
}

// The answer that the break has swallowed is reported, never asked for again.
func TestReconnect(t *testing.T) {
	for name, forget := range map[string]bool{"resumed": false, "expired": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bench{server: consoletest.Server{Forget: forget}}
				c := b.connect(t, func(o *ClientOptions) {
					o.Reconnect, o.Token = true, func() (string, error) { return "x", nil }
				})
				defer b.server.Close()
				defer c.Close()
				if _, err := c.Do(t.Context(), "drop"); !errors.Is(err, ErrLost) {
					t.Fatalf("got %v, want ErrLost", err)
				}
				if a, err := c.Do(t.Context(), "echo on"); err != nil || string(a.Result) != `"on"` {
					t.Fatal(a, err)
				}
				want := []string{"auth:x", "format:json", "drop", "auth:x", "reconnect:1000", "format:json", "echo on"}
				if diff := cmp.Diff(want, b.server.Received()); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff([]string{fmt.Sprintf("back after 0s resumed %v", !forget)}, b.record.seen); diff != "" {
					t.Error(diff)
				}
				session := "1000"
				if forget {
					session = "1001"
				}
				if c.Session() != session {
					t.Errorf("the session is %s, want %s", c.Session(), session)
				}
			})
		})
	}
}

// A server that restarts is tried with growing pauses; a command given meanwhile waits.
func TestReconnectBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bench
		c := b.connect(t, reconnecting)
		defer b.server.Close()
		defer c.Close()
		b.setDown(true)
		b.server.Drop()
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { b.setDown(false) })
		begin := time.Now()
		if _, err := c.Do(t.Context(), "echo x"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < time.Minute || took > time.Minute+10*time.Second {
			t.Errorf("it took %v", took)
		}
		// 0.1+0.2+…+6.4 s, then 10 s each, less up to a half.
		if b.dials < 10 || b.dials > 22 {
			t.Errorf("%d attempts in a minute", b.dials)
		}
	})
}

func TestReconnectGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bench
		c := b.connect(t, func(o *ClientOptions) { o.Reconnect, o.GiveUp = true, time.Minute })
		defer b.server.Close()
		defer c.Close()
		b.setDown(true)
		b.server.Drop()
		synctest.Wait()
		if _, err := c.Do(t.Context(), "echo x"); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "connection refused") {
			t.Error(err)
		}
		<-c.Done()
	})
}

// Whoever was taken over must not take over in turn.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bench
		c := b.connect(t, reconnecting)
		defer b.server.Close()
		defer c.Close()
		b.server.Say(`{"event":"lost","bytes":2048}`)
		b.server.Say("a line of text")
		b.server.Say(`{"event":"taken_over","by":"10.0.0.9"}`)
		<-c.Done()
		if _, err := c.Do(t.Context(), "echo x"); !errors.Is(err, ErrTakenOver) {
			t.Error(err)
		}
		want := []string{"notice 2.0 KiB of output were lost while nobody was connected", `out "a line of text\n"`,
			"notice another connection has taken the session over: 10.0.0.9"}
		if diff := cmp.Diff(want, b.record.seen); diff != "" || b.dials != 1 {
			t.Error(b.dials, diff)
		}
	})
}

func TestConnectFails(t *testing.T) {
	for name, x := range map[string]struct {
		server *consoletest.Server
		token  string
		says   string
	}{
		"another protocol": {&consoletest.Server{Deaf: true}, "", "this is no shell: it says \"220 mail"},
		"no JSON":          {&consoletest.Server{NotJSON: true}, "", "asking for JSON: unknown command format"},
		"token":            {&consoletest.Server{Token: "good"}, "bad", "authenticating: the token is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			defer x.server.Close()
			_, err := Connect(t.Context(), ClientOptions{Show: &record{}, Token: func() (string, error) { return x.token, nil },
				Dial: func(context.Context) (net.Conn, error) {
					near, far := net.Pipe()
					x.server.Go(far)
					return near, nil
				}})
			if err == nil || !strings.Contains(err.Error(), x.says) {
				t.Errorf("got %v, want %q", err, x.says)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := Connect(t.Context(), ClientOptions{Show: &record{}, Dial: func(context.Context) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					io.Copy(io.Discard, far)
					far.Close()
				}()
				return near, nil
			}})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	})
}

func FuzzParseMessage(f *testing.F) {
	for _, s := range []string{`{"id":1,"result":null}`, `{"id":1,"out":""}`, `{"event":"lost","bytes":3}`, `{"id":2,"frame":true,"result":[{}],"columns":[{"key":"a","kind":"bytes"}]}`, "text", "{", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, ok := parseMessage(line)
		if !ok {
			return
		}
		for _, width := range []int{0, 1, 7, 80} {
			text := Style{Width: width}.Render(m.value())
			if text != "" && !strings.HasSuffix(text, "\n") {
				t.Errorf("width %d: %q does not end its line", width, text)
			}
		}
	})
}
