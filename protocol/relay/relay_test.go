package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol/relay"
	"goranch/protocol/sniff"
	"goranch/ranch"
	"goranch/transport"
)

func TestHalfClose(t *testing.T) {
	bubble(t, "client first", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		f.serve("a", func(nc net.Conn) {
			request, _ := io.ReadAll(nc)
			io.WriteString(nc, strings.ToUpper(string(request)))
		})
		nc := f.dial()
		io.WriteString(nc, "request")
		closeWrite(nc)
		if answer, err := io.ReadAll(nc); string(answer) != "REQUEST" || err != nil {
			t.Errorf("got %q, %v, want the answer to the whole request", answer, err)
		}
		f.wantEnd(conns.PeerClosed)
	})
	bubble(t, "upstream first", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		received := make(chan string, 1)
		f.serve("a", func(nc net.Conn) {
			io.WriteString(nc, "greeting")
			closeWrite(nc)
			b, _ := io.ReadAll(nc)
			received <- string(b)
		})
		nc := f.dial()
		if greeting, err := io.ReadAll(nc); string(greeting) != "greeting" || err != nil {
			t.Errorf("got %q, %v, want the greeting", greeting, err)
		}
		io.WriteString(nc, "late")
		nc.Close()
		if got := <-received; got != "late" {
			t.Errorf("the upstream got %q after its end, want %q", got, "late")
		}
		f.wantEnd(conns.Finished)
	})
}

// What sniff has read is forwarded, and its rules choose between relays.
func TestBehindSniff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		f.serve("a", named("a:"))
		mux, err := sniff.New(sniff.Config{Rules: []sniff.Rule{{Match: sniff.SSH(), Protocol: f.relay}}})
		if err != nil {
			t.Fatal(err)
		}
		f.start(f.mem, mux, ranch.Options{Addr: "mux"})
		nc, _ := f.mem.Dial(context.Background(), "mux")
		defer nc.Close()
		io.WriteString(nc, "SSH-")
		after(time.Second)
		io.WriteString(nc, "2.0")
		wantRead(t, nc, "a:SSH-2.0")
		nc.Close()
		f.wantEnd(conns.PeerClosed)
	})
}

func TestResetsArePassedOn(t *testing.T) {
	bubble(t, "of the client", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		ln := f.listen("a")
		nc := f.dial()
		up, _ := ln.Accept()
		defer up.Close()
		resetConn(nc)
		wantReadError(t, up, syscall.ECONNRESET)
		f.wantEnd(conns.PeerClosed)
	})
	bubble(t, "of the upstream", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		ln := f.listen("a")
		nc := f.dial()
		up, _ := ln.Accept()
		resetConn(up)
		wantReadError(t, nc, syscall.ECONNRESET)
		f.wantFailure(relay.Reset)
		if got := f.relay.Stats().Upstreams[0].Failed[relay.Reset]; got != 1 {
			t.Errorf("got %d resets counted, want 1", got)
		}
	})
}

// An upstream that answers and closes its connection while the client sends is no failure, and its
// answer arrives.
func TestUpstreamClosesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		ln := f.listen("a")
		nc := f.dial()
		up, _ := ln.Accept()
		io.WriteString(up, "too large")
		up.Close()
		wantRead(t, nc, "too large")
		wantReadError(t, nc, io.EOF)
		io.WriteString(nc, "more")
		synctest.Wait()
		io.WriteString(nc, "more")
		f.wantEnd(conns.Finished)
	})
}

func TestUnreachable(t *testing.T) {
	bubble(t, "refused", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a", "b")}, ranch.Options{})
		nc := f.dial()
		wantReadError(t, nc, syscall.ECONNRESET)
		err := f.wantFailure(relay.DialRefused)
		if !errors.Is(err, syscall.ECONNREFUSED) || err.Addr != "b" {
			t.Errorf("got %v, want the error of the last attempt", err)
		}
		for _, u := range f.relay.Stats().Upstreams {
			if u.Failed[relay.DialRefused] != 1 || u.Live != 0 || u.LastError == "" {
				t.Errorf("got %+v, want one failure", u)
			}
		}
	})
	bubble(t, "hangs", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		f.fill("a")
		start := time.Now()
		nc := f.dial()
		wantReadError(t, nc, syscall.ECONNRESET)
		f.wantFailure(relay.DialTimeout)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("got a failure after %v, want it after 5s", d)
		}
	})
	bubble(t, "hangs while the listener stops", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{ShutdownTimeout: time.Minute})
		f.fill("a")
		f.dial()
		synctest.Wait()
		start := time.Now()
		f.l.Stop()
		f.wantEnd(conns.Shutdown)
		if d := time.Since(start); d != 0 {
			t.Errorf("got a stop that took %v, want it at once", d)
		}
		if st := f.relay.Stats().Upstreams[0]; st.LastError != "" || st.Live != 0 {
			t.Errorf("got %+v, want no failure counted", st)
		}
	})
	bubble(t, "another upstream is tried", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("refuses", "hangs", "a"), DialTimeout: time.Second}, ranch.Options{})
		f.fill("hangs")
		f.serve("a", named("a"))
		nc := f.dial()
		wantRead(t, nc, "a")
		nc.Close()
		e := f.wantEnd(conns.PeerClosed)
		if diff := cmp.Diff([]transport.Label{{Key: "upstream", Value: "a"}}, e.Conn.Labels()); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
	})
	bubble(t, "no attempts are left", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("w", "x", "a"), Attempts: 2}, ranch.Options{})
		f.serve("a", named("a"))
		wantReadError(t, f.dial(), syscall.ECONNRESET)
		f.wantFailure(relay.DialRefused)
	})
}

// fill makes an upstream whose backlog is full, so that Dial waits.
func (f *front) fill(name string) {
	f.t.Helper()
	f.listen(name)
	nc, err := f.mem.Dial(context.Background(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
}

// A side that does not read stops the other: nothing but the buffers of both connections, and one
// buffer of the relay, is filled.
func TestBackPressure(t *testing.T) {
	const most = 3*64<<10 + 1
	bubble(t, "upstream does not read", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		ln := f.listen("a")
		nc := f.dial()
		up, _ := ln.Accept()
		defer up.Close()
		wantBlocked(t, nc, up, most)
	})
	bubble(t, "client does not read", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		ln := f.listen("a")
		nc := f.dial()
		up, _ := ln.Accept()
		defer up.Close()
		wantBlocked(t, up, nc, most)
	})
}

// wantBlocked writes to from until it blocks, and then reads everything from to.
func wantBlocked(t *testing.T, from, to net.Conn, most int) {
	t.Helper()
	from.SetWriteDeadline(time.Now().Add(time.Minute))
	sent, err := from.Write(make([]byte, 1<<20))
	if err == nil || sent > most {
		t.Errorf("got %d bytes accepted, %v, want at most %d", sent, err, most)
	}
	closeWrite(from)
	n, err := io.Copy(io.Discard, to)
	if int(n) != sent || err != nil {
		t.Errorf("got %d bytes, %v, want the %d that were accepted", n, err, sent)
	}
}

// The figures include live connections, and do not change when they end.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a")}, ranch.Options{})
		f.serve("a", func(nc net.Conn) {
			io.WriteString(nc, "greeting")
			echoes(nc)
		})
		nc := f.dial()
		io.WriteString(nc, "four")
		wantRead(t, nc, "greetingfour")
		synctest.Wait()
		want := relay.UpstreamStats{Addr: "a", State: relay.Up, Weight: 1, Live: 1, Total: 1, BytesSent: 4, BytesReceived: 12}
		if diff := cmp.Diff(want, f.relay.Stats().Upstreams[0]); diff != "" {
			t.Errorf("a live connection (-want +got):\n%s", diff)
		}
		nc.Close()
		e := f.wantEnd(conns.PeerClosed)
		want.Live = 0
		if diff := cmp.Diff(want, f.relay.Stats().Upstreams[0]); diff != "" {
			t.Errorf("an ended connection (-want +got):\n%s", diff)
		}
		if st := e.Conn.Stats(); st.BytesRead != 4 || st.BytesWritten != 12 {
			t.Errorf("got %+v of the client, want 4 bytes read and 12 written", st)
		}
	})
}
