package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"goranch/transport"
	"goranch/transport/proxy"
)

// A peer that sends nothing, and one that stops inside the header, cost their own connection, after
// the time limit.
func TestTimeout(t *testing.T) {
	for name, sent := range map[string]string{"silent": "", "v1": "PROXY TCP4 192", "v2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0cabc"} {
		for _, c := range []struct{ set, want time.Duration }{{0, 3 * time.Second}, {time.Minute, time.Minute}, {-1, time.Hour}} {
			t.Run(fmt.Sprint(name, c.set), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv, client := memPair(t, proxy.Transport{Local: proxy.Require, HeaderTimeout: c.set})
					io.WriteString(client, sent)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					begin := time.Now()
					err := srv.Handshake(ctx)
					if d := time.Since(begin); d != c.want {
						t.Errorf("got the end after %v, want %v", d, c.want)
					}
					if c.set < 0 {
						wantIs(t, err, context.DeadlineExceeded)
						return
					}
					wantIs(t, err, os.ErrDeadlineExceeded)
					var ne net.Error
					if !errors.As(err, &ne) || !ne.Timeout() {
						t.Errorf("got %v, want a net.Error that is a timeout", err)
					}
				})
			})
		}
	}
}

// As soon as the data cannot begin a header, the handshake does not wait for more.
func TestShortGreeting(t *testing.T) {
	for _, sent := range []string{"h", "PING", "\r\n\r\nx", "PROXYS"} {
		for _, p := range []proxy.Policy{proxy.Use, proxy.Ignore, proxy.Refuse} {
			synctest.Test(t, func(t *testing.T) {
				srv, client := memPair(t, proxy.Transport{Local: p})
				io.WriteString(client, sent)
				begin := time.Now()
				if err := srv.Handshake(t.Context()); err != nil || time.Since(begin) > 0 {
					t.Fatalf("%q, %v: got %v after %v, want no error at once", sent, p, err, time.Since(begin))
				}
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(srv, got); err != nil || string(got) != sent {
					t.Errorf("%q, %v: got %q, %v, want the payload", sent, p, got, err)
				}
			})
		}
	}
}

// The policy Pass waits for no data, so that the server can send first.
func TestPassDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := memPair(t, proxy.Transport{Local: proxy.Pass})
		begin := time.Now()
		if err := srv.Handshake(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("got %v after %v, want no error at once", err, time.Since(begin))
		}
	})
}

// A peer that is not trusted cannot make the server wait for the rest of the header.
func TestRefusedAtSignature(t *testing.T) {
	for _, sent := range []string{"PROXY ", "\r\n\r\n\x00\r\nQUIT\n"} {
		synctest.Test(t, func(t *testing.T) {
			srv, client := memPair(t, proxy.Transport{})
			io.WriteString(client, sent)
			begin := time.Now()
			wantIs(t, srv.Handshake(t.Context()), proxy.ErrRefused)
			if d := time.Since(begin); d > 0 {
				t.Errorf("%q: got the end after %v, want it at once", sent, d)
			}
		})
	}
}

// memPair returns both ends of a connection of tr over memory. They are closed at the end of the
// test.
func memPair(t *testing.T, tr proxy.Transport) (*transport.Conn, net.Conn) {
	t.Helper()
	mem := new(transport.Mem)
	tr.Inner = mem
	ln := must[net.Listener](t)(tr.Listen(t.Context(), "m"))
	defer ln.Close()
	client := must[net.Conn](t)(mem.Dial(t.Context(), "m"))
	srv := transport.NewConn(tr, must[net.Conn](t)(ln.Accept()))
	t.Cleanup(func() { client.Close(); srv.Abort() })
	return srv, client
}

// The end of the context ends the handshake at once, with its cause.
func TestContextEndsHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := memPair(t, proxy.Transport{Local: proxy.Require})
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Handshake(ctx) }()
		synctest.Wait()
		begin, cause := time.Now(), errors.New("enough")
		cancel(cause)
		wantIs(t, <-done, cause)
		if d := time.Since(begin); d != 0 {
			t.Errorf("got the end after %v, want it at once", d)
		}
	})
}

// The deadline for the header does not apply to the payload.
func TestHeaderDeadlineDoesNotApplyToPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, client := memPair(t, proxy.Transport{Local: proxy.Require})
		io.WriteString(client, "PROXY UNKNOWN\r\n")
		if err := srv.Handshake(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, func() { io.WriteString(client, "late") })
		got := make([]byte, 4)
		if _, err := io.ReadFull(srv, got); err != nil || string(got) != "late" {
			t.Errorf("got %q, %v, want the payload", got, err)
		}
	})
}

// Dial fails if the peer does not accept the header in time.
func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe() // accepts nothing without a reader
		defer a.Close()
		defer b.Close()
		tr := proxy.Transport{Inner: dialer{nc: a}}
		begin := time.Now()
		_, err := tr.Dial(t.Context(), "pipe")
		wantIs(t, err, os.ErrDeadlineExceeded)
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("got the end after %v, want it at the limit", d)
		}
	})
}
