package conns_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"goranch/conns"
	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// wantBytes checks the totals of payload. A peer may have received bytes that are not counted yet.
func wantBytes(t testing.TB, s *conns.Supervisor, read, written uint64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if c := s.Counters(); c.BytesRead >= read && c.BytesWritten >= written {
			break
		}
	}
	if c := s.Counters(); c.BytesRead != read || c.BytesWritten != written {
		t.Errorf("got %d bytes read and %d written, want %d and %d", c.BytesRead, c.BytesWritten, read, written)
	}
}

// The bytes of a connection are counted once, while it lives and after it has ended.
func TestBytesAreCountedOnce(t *testing.T) {
	h := newHarness(t, 10, 0)
	echo := func(_ context.Context, c *transport.Conn) error { _, err := io.Copy(c, c); return err }
	clients := make([]net.Conn, 3)
	for i := range clients {
		var server net.Conn
		server, clients[i] = tcpPair(t)
		h.start(plain, server, echo)
		ping(t, clients[i])
	}
	wantBytes(t, h.sup, 12, 12)
	clients[0].Close()
	h.end()
	ping(t, clients[1])
	wantBytes(t, h.sup, 16, 16)
	h.close()
	wantBytes(t, h.sup, 16, 16)
}

// The rejection message of a connection that is refused is counted.
func TestBytesOfRefusedConnections(t *testing.T) {
	h := newHarness(t, 10, 0)
	server, client := tcpPair(t)
	h.sup.Refuse(bg, conns.RefusedAtCap, plain, server, refuser("full\n"))
	if got, err := io.ReadAll(client); string(got) != "full\n" || err != nil {
		t.Errorf("client: got %q, %v, want the rejection message", got, err)
	}
	wantBytes(t, h.sup, 0, 5)
}

type refuser string

func (r refuser) Refuse(_ context.Context, c *transport.Conn, _ error) { io.WriteString(c, string(r)) }
func (refuser) Serve(context.Context, *transport.Conn) error           { return nil }

// slowConn has taken a part of a write when it is closed, and says so later.
type slowConn struct {
	*stub
	release chan struct{}
}

func (c slowConn) Write(p []byte) (int, error) {
	<-c.closed
	<-c.release
	return len(p) / 2, net.ErrClosed
}

// A write that the end of its connection interrupts may return after the connection has ended. What
// it has sent is counted, and the totals never decrease.
func TestBytesThatAreCountedLate(t *testing.T) {
	h := newHarness(t, 10, 0)
	nc := slowConn{newStub(), make(chan struct{})}
	var conn *transport.Conn
	var writer sync.WaitGroup
	h.start(plain, nc, func(_ context.Context, c *transport.Conn) error {
		conn = c
		writer.Go(func() { c.Write(make([]byte, 10)) })
		return nil
	})
	h.end()
	wantBytes(t, h.sup, 0, 0)
	close(nc.release)
	writer.Wait()
	wantBytes(t, h.sup, 0, 5)
	if got := conn.Stats().BytesWritten; got != 5 {
		t.Errorf("Stats: got %d bytes written, want 5", got)
	}
	h.close()
}

// While connections with writers of their own come and go, no total is smaller than an earlier one,
// and in the end each byte is counted once.
func TestBytesNeverDecrease(t *testing.T) {
	h := newHarness(t, 1000, 0)
	var sent struct {
		sync.Mutex
		n uint64
	}
	var writers sync.WaitGroup
	serve := func(_ context.Context, c *transport.Conn) error {
		writers.Go(func() {
			for {
				n, err := c.Write([]byte("x"))
				sent.Lock()
				sent.n += uint64(n)
				sent.Unlock()
				if err != nil {
					return
				}
			}
		})
		_, err := io.CopyN(c, c, 1)
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			server, client := net.Pipe()
			h.start(fake{plain: true}, server, serve)
			go io.Copy(io.Discard, client)
			client.Write([]byte("y"))
			h.end()
			client.Close()
		}
	}()
	var last uint64
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		c := h.sup.Counters()
		if c.BytesWritten < last {
			t.Fatalf("got %d bytes written after %d, want no decrease", c.BytesWritten, last)
		}
		last = c.BytesWritten
	}
	writers.Wait()
	h.close()
	wantBytes(t, h.sup, 200, sent.n+200)
}

func TestStatesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, time.Hour)
		want := func(handshaking, serving, ending int) {
			t.Helper()
			synctest.Wait()
			c := h.sup.Counters()
			h.balanced(c)
			if got := [3]int{c.Handshaking, c.Serving, c.Ending}; got != [3]int{handshaking, serving, ending} {
				t.Errorf("got %v handshaking, serving and ending, want %v", got, [3]int{handshaking, serving, ending})
			}
		}
		shaken := make(chan struct{})
		h.start(fake{shake: func(_ context.Context, nc net.Conn) (net.Conn, error) { <-shaken; return nc, nil }}, newStub(), readAll)
		want(1, 0, 0)
		close(shaken)
		want(0, 1, 0)
		h.start(fake{plain: true}, newStub(), returnAfter(time.Second, nil))
		want(0, 2, 0)
		h.sup.CancelOnly()
		want(0, 0, 2)
		h.close()
		want(0, 0, 0)
	})
}

func TestParkedConnectionsAreCounted(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	client, _ := h.startParked(bg)
	if c := h.sup.Counters(); c.Parked != 1 || c.Serving != 0 {
		t.Errorf("parked: got %+v, want one parked connection", c)
	}
	h.sup.Set(conns.Settings{Limits: conns.Limits{ParkAfter: transport.NoTimeout}})
	ping(t, client)
	if c := h.sup.Counters(); c.Parked != 0 || c.Serving != 1 {
		t.Errorf("woken: got %+v, want one that is served", c)
	}
	client.Close()
	h.end()
	if c := h.sup.Counters(); c.Parked != 0 {
		t.Errorf("ended: got %+v, want no parked connection", c)
	}
	h.close()
}

func TestHandshakeFailures(t *testing.T) {
	fails := func(err error) fake {
		return fake{shake: func(context.Context, net.Conn) (net.Conn, error) { return nil, err }}
	}
	errHeader := errors.New("bad header")
	old := engine.IsHeaderError
	t.Cleanup(func() { engine.IsHeaderError = old })
	engine.IsHeaderError = func(err error) bool { return errors.Is(err, errHeader) }
	for _, tc := range []struct {
		t    fake
		want string
	}{
		{fails(errBoom), "other"},
		{fails(context.DeadlineExceeded), "timeout"},
		{fails(io.EOF), "peer closed"},
		{fails(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), "not TLS"},
		{fails(&net.OpError{Op: "remote error", Err: errBoom}), "alert"},
		{fails(&tls.CertificateVerificationError{Err: errBoom}), "client certificate"},
		{fails(fmt.Errorf("hello: %w", transport.ErrUnknownHost)), "unknown host"},
		{fails(errors.Join(errHeader, io.EOF)), "PROXY header"},
		{fake{shake: func(context.Context, net.Conn) (net.Conn, error) { panic(errBoom) }}, "panicked"},
		{fails(protocol.ErrShutdown), "stopped"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			h := newHarness(t, 1, 0)
			h.start(tc.t, newStub(), readAll)
			h.end()
			h.close()
			got := map[string]uint64{}
			for f, n := range h.sup.Counters().HandshakeFailures {
				if n > 0 {
					got[conns.HandshakeFailure(f).String()] = n
				}
			}
			if diff := cmp.Diff(map[string]uint64{tc.want: 1}, got); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHandshakeFailureNames(t *testing.T) {
	seen := map[string]bool{}
	for i := range len(conns.Counters{}.HandshakeFailures) {
		s := conns.HandshakeFailure(i).String()
		if s == "" || seen[s] {
			t.Errorf("failure %d: got %q, want a name of its own", i, s)
		}
		seen[s] = true
	}
	if got := conns.HandshakeFailure(200).String(); got != "HandshakeFailure(200)" {
		t.Errorf("unknown failure: got %q, want HandshakeFailure(200)", got)
	}
}

// Times are those of the parts of a connection's life. A transport without a handshake has none.
func TestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 10, time.Hour)
		shake := fake{shake: func(_ context.Context, nc net.Conn) (net.Conn, error) { time.Sleep(time.Second); return nc, nil }}
		lives := func(d time.Duration) protocol.Func {
			return func(context.Context, *transport.Conn) error { time.Sleep(d); return nil }
		}
		h.sup.Set(conns.Settings{Limits: conns.Limits{MaxHandshakes: 1}})
		h.start(shake, newStub(), lives(5*time.Second))
		synctest.Wait()
		h.start(shake, newStub(), lives(5*time.Second)) // waits a second for the handshake of the first
		for i, want := range []time.Duration{time.Second, 2 * time.Second} {
			if end := h.end(); end.Handshake != want || end.Duration != want+5*time.Second {
				t.Errorf("end %d: got %v and a handshake of %v, want %v and %v", i, end.Duration, end.Handshake, want+5*time.Second, want)
			}
		}
		h.start(fake{plain: true}, newStub(), lives(10*time.Second))
		if end := h.end(); end.Handshake != 0 {
			t.Errorf("without a handshake: got %v, want 0", end.Handshake)
		}
		h.start(fake{shake: func(context.Context, net.Conn) (net.Conn, error) { time.Sleep(time.Second); return nil, errBoom }}, newStub(), readAll)
		if end := h.end(); end.Handshake != time.Second || end.Served {
			t.Errorf("failed handshake: got %v, want 1s", end.Handshake)
		}
		h.close()
		d := h.sup.Durations()
		for _, c := range []struct {
			name string
			got  conns.Histogram
			want conns.Histogram
		}{
			{"Handshake", d.Handshake, conns.Histogram{Count: 2, Sum: 2}},
			{"Wait", d.Wait, conns.Histogram{Count: 3, Sum: 3, Zero: 1}},
			{"Connection", d.Connection, conns.Histogram{Count: 3, Sum: 10 + 6 + 7}},
		} {
			if diff := cmp.Diff(c.want, c.got, cmpopts.IgnoreFields(conns.Histogram{}, "Buckets")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
	})
}
