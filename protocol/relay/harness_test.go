package relay_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/relay"
	"goranch/ranch"
	"goranch/transport"
)

var quiet = slog.New(slog.DiscardHandler)

// front is a listener whose protocol is a relay, in memory unless a test says otherwise. The
// upstreams are listeners of the same transport.
type front struct {
	t     testing.TB
	mem   *transport.Mem
	relay *relay.Relay
	l     *ranch.Listener
	ends  chan ranch.Event
	wg    sync.WaitGroup // upstreams
}

// upstreams returns upstreams with these addresses.
func upstreams(addrs ...string) (all []relay.Upstream) {
	for _, a := range addrs {
		all = append(all, relay.Upstream{Addr: a})
	}
	return all
}

// newFront starts the listener. It must be called within a bubble. o.Transport is replaced.
func newFront(t testing.TB, o relay.Options, ro ranch.Options) *front {
	t.Helper()
	f := &front{t: t, mem: &transport.Mem{Backlog: 1}, ends: make(chan ranch.Event, 100)}
	t.Cleanup(f.wg.Wait) // the last one
	o.Transport = f.mem
	var err error
	if f.relay, err = relay.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.relay.Close(context.Background()); err != nil {
			t.Errorf("Close: got %v, want no error", err)
		}
	})
	f.start(f.mem, f.relay, ro)
	return f
}

func (f *front) start(t transport.Transport, p protocol.Protocol, ro ranch.Options) {
	f.t.Helper()
	if ro.Addr == "" {
		ro.Addr = "front"
	}
	ro.Logger = quiet
	ro.Observer = func(e ranch.Event) {
		if e.Kind == ranch.ConnEnded {
			f.ends <- e
		}
	}
	l, err := new(ranch.Server).StartListener("front", t, ro, p)
	if err != nil {
		f.t.Fatal(err)
	}
	f.l = l
	f.t.Cleanup(func() { l.Stop() })
}

// listen opens an upstream that only a test accepts from.
func (f *front) listen(name string) net.Listener {
	f.t.Helper()
	ln, err := f.mem.Listen(context.Background(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { ln.Close() })
	return ln
}

// serve starts an upstream that calls serve for each connection.
func (f *front) serve(name string, serve func(nc net.Conn)) {
	ln := f.listen(name)
	f.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() {
				defer nc.Close()
				serve(nc)
			})
		}
	})
}

// named returns an upstream that sends its name and echoes.
func named(name string) func(nc net.Conn) {
	return func(nc net.Conn) {
		io.WriteString(nc, name)
		io.Copy(nc, nc)
	}
}

func echoes(nc net.Conn) { io.Copy(nc, nc) }

func (f *front) dial() net.Conn {
	f.t.Helper()
	nc, err := f.mem.Dial(context.Background(), "front")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	return nc
}

// wantEnd waits for the end of the next connection.
func (f *front) wantEnd(want conns.Reason) ranch.Event {
	f.t.Helper()
	e := <-f.ends
	if e.Reason != want {
		f.t.Errorf("got the end %v (%v), want %v", e.Reason, e.Err, want)
	}
	return e
}

// wantFailure waits for the end of the next connection by a failure of an upstream.
func (f *front) wantFailure(want relay.Failure) *relay.Error {
	f.t.Helper()
	e := f.wantEnd(conns.UpstreamFailed)
	var err *relay.Error
	if !errors.As(e.Err, &err) || err.Failure != want {
		f.t.Fatalf("got the error %v, want one of kind %q", e.Err, want)
	}
	return err
}

func wantRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	p := make([]byte, len(want))
	if n, err := io.ReadFull(r, p); string(p[:n]) != want || err != nil {
		t.Errorf("got %q, %v, want %q", p[:n], err, want)
	}
}

func wantReadError(t testing.TB, r io.Reader, want error) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
		t.Errorf("got %d bytes, %v, want %v", n, err, want)
	}
}

func closeWrite(nc net.Conn) { nc.(interface{ CloseWrite() error }).CloseWrite() }

func resetConn(nc net.Conn) {
	nc.(interface{ SetLinger(int) error }).SetLinger(0)
	nc.Close()
}

// bubble runs a test in a bubble of synctest.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// after advances the time of the bubble.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
