// Package protocoltest drives a handler without sockets, and gives connections that
// misbehave to test against.
//
// [Open] starts a [protocol.Handler] on the in-memory transport. Within a bubble of
// testing/synctest time is fake: [Harness.Advance] makes an hour pass at once.
//
//	synctest.Test(t, func(t *testing.T) {
//		h := protocoltest.Open(t, newHandler, protocol.Options{Codec: protocol.Lines{}})
//		h.Send("hello")
//		h.Expect("welcome")
//		h.Advance(time.Hour)
//		h.ExpectEnd(conns.TimedOut)
//	})
//
// [Flaky] and [Slow] wrap any net.Conn.
package protocoltest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// Harness is one connection, of which the test is the peer. Its methods are for the goroutine
// of the test, and fail that.
type Harness struct {
	t     testing.TB
	codec protocol.Codec
	l     *ranch.Listener
	nc    net.Conn
	peer  *protocol.Peer
	in    []byte // received, and not taken yet
	ends  chan ranch.Event
	end   *ranch.Event
}

// Open connects to a handler made by newHandler. It has to be called within synctest.Test, with its
// t; what is open when the test ends is closed then. A handler that ends the connection in
// HandleConnect is no fault.
func Open(t testing.TB, newHandler func() protocol.Handler, opts protocol.Options) *Harness {
	t.Helper()
	h := &Harness{t: t, codec: opts.Codec, ends: make(chan ranch.Event, 1)}
	if h.codec == nil {
		h.codec = protocol.Raw{}
	}
	peers := make(chan *protocol.Peer, 1)
	opened := func() protocol.Handler { return &opening{newHandler(), peers} }
	mem := new(transport.Mem)
	var err error
	h.l, err = new(ranch.Server).StartListener("test", mem, ranch.Options{
		Addr: "test", Logger: slog.New(slog.DiscardHandler),
		Observer: func(e ranch.Event) {
			if e.Kind == ranch.ConnEnded {
				h.ends <- e
			}
		},
	}, protocol.Handle(opened, opts))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.l.Stop() })
	if h.nc, err = mem.Dial(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.nc.Close() })
	h.peer = <-peers
	synctest.Wait()
	return h
}

// opening tells the peer, and goes on with the handler itself.
type opening struct {
	to    protocol.Handler
	peers chan *protocol.Peer
}

func (o *opening) HandleConnect(p *protocol.Peer) protocol.Action {
	o.peers <- p
	return protocol.Switch(o.to)
}

func (o *opening) HandleData(*protocol.Peer, []byte) protocol.Action { return protocol.Stop() }

// Peer returns the connection as its handler sees it.
func (h *Harness) Peer() *protocol.Peer { return h.peer }

// Conn returns the end of the connection that is the test's, to write what is no frame, or half of one.
func (h *Harness) Conn() net.Conn { return h.nc }

// Send sends frames to the handler, all at once, and waits until it has handled them.
func (h *Harness) Send(frames ...string) {
	h.t.Helper()
	var b []byte
	for _, f := range frames {
		var err error
		if b, err = h.codec.Append(b, []byte(f)); err != nil {
			h.t.Fatal(err)
		}
	}
	h.Write(b)
}

// Write sends bytes as they are, and waits until they are handled. It reads meanwhile, so
// that a handler may answer more than the connection holds.
func (h *Harness) Write(b []byte) {
	h.t.Helper()
	done := make(chan error, 1)
	go func() { _, err := h.nc.Write(b); done <- err }()
	for {
		n := h.receive()
		select {
		case err := <-done:
			synctest.Wait()
			if err != nil {
				h.t.Errorf("sending %d bytes: %v", len(b), err)
			}
			return
		default:
		}
		if n == 0 {
			h.t.Fatal("the handler does not read")
		}
	}
}

// receive takes what has arrived, without waiting, and returns how much.
func (h *Harness) receive() (n int) {
	b := make([]byte, 64<<10)
	for {
		synctest.Wait()
		h.nc.SetReadDeadline(time.Now().Add(1)) // a nanosecond of fake time, when all others wait
		m, err := h.nc.Read(b)
		h.in = append(h.in, b[:m]...)
		if n += m; err != nil {
			h.nc.SetReadDeadline(time.Time{})
			return n
		}
	}
}

// Expect fails the test unless these frames are the next to have arrived. It does not wait for
// what is due later; looking takes a nanosecond.
func (h *Harness) Expect(frames ...string) {
	h.t.Helper()
	h.receive()
	for _, want := range frames {
		got, ok := h.next()
		if !ok {
			h.t.Fatalf("want frame %q, got none; %d bytes have arrived%s", want, len(h.in), h.ending())
		}
		if got != want {
			h.t.Fatalf("want frame %q, got %q", want, got)
		}
	}
}

// ExpectNothing fails the test if anything has arrived that was not expected.
func (h *Harness) ExpectNothing() {
	h.t.Helper()
	if h.receive(); len(h.in) > 0 {
		h.t.Fatalf("want nothing, got %q", h.in)
	}
}

func (h *Harness) next() (frame string, ok bool) {
	b, took, _, err := h.codec.Decode(h.in)
	if err != nil {
		h.t.Fatalf("what the handler has sent is no frame: %v", err)
	}
	if frame = string(b); took > 0 {
		h.in = bytes.Clone(h.in[took:])
	}
	return frame, took > 0
}

// Post gives a message to the handler, and waits until that has handled it.
func (h *Harness) Post(msg any) {
	h.t.Helper()
	if err := h.peer.Post(msg); err != nil {
		h.t.Errorf("Post: %v", err)
	}
	synctest.Wait()
}

// Advance lets time pass, and waits until everything that it makes due is handled.
func (h *Harness) Advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Shutdown stops the server, as far as the handler is concerned, and returns when it has ended.
func (h *Harness) Shutdown() {
	h.t.Helper()
	if err := h.l.Stop(); err != nil {
		h.t.Errorf("Shutdown: %v", err)
	}
	h.End()
}

// Close ends the connection from the peer's side.
func (h *Harness) Close() {
	h.nc.Close()
	synctest.Wait()
}

// CloseWrite ends what the peer has to say; it still reads.
func (h *Harness) CloseWrite() {
	h.nc.(interface{ CloseWrite() error }).CloseWrite()
	synctest.Wait()
}

// Ended reports whether the connection has ended.
func (h *Harness) Ended() bool {
	synctest.Wait()
	if h.end == nil {
		select {
		case e := <-h.ends:
			h.end = &e
		default:
		}
	}
	return h.end != nil
}

// End waits for the connection to end, and returns why. The test fails if it does not within an hour.
func (h *Harness) End() (conns.Reason, error) {
	h.t.Helper()
	if !h.Ended() {
		select {
		case e := <-h.ends:
			h.end = &e
		case <-time.After(time.Hour):
			h.t.Fatal("the connection does not end")
		}
	}
	return h.end.Reason, h.end.Err
}

// ExpectEnd fails the test unless the connection ends for that reason.
func (h *Harness) ExpectEnd(want conns.Reason) {
	h.t.Helper()
	if reason, err := h.End(); reason != want {
		h.t.Fatalf("the connection has ended by %v (%v), want %v", reason, err, want)
	}
}

func (h *Harness) ending() string {
	if !h.Ended() {
		return ""
	}
	return fmt.Sprintf("; the connection has ended: %v, %v", h.end.Reason, h.end.Err)
}
