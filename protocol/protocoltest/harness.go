// Package protocoltest provides a harness that tests handlers without sockets, and connections that
// fail or are slow.
//
// [Open] starts a [protocol.Handler] on the in-memory transport. It is used within a
// testing/synctest bubble, in which time is fake: [Harness.Advance] takes no real time.
//
//	synctest.Test(t, func(t *testing.T) {
//		h := protocoltest.Open(t, newHandler, protocol.Options{Codec: protocol.Lines{}})
//		h.Send("hello")
//		h.Expect("welcome")
//		h.Advance(time.Hour)
//		h.ExpectEnd(conns.TimedOut)
//	})
//
// [NewFlaky] and [NewSlow] wrap a net.Conn.
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

// Harness is one connection to a handler; the test is the client. Its methods must be called from
// the goroutine of the test, which they may fail.
type Harness struct {
	t testing.TB

	// The server.
	l    *ranch.Listener
	peer *protocol.Peer
	ends chan ranch.Event
	end  *ranch.Event // nil until the connection has ended

	// The client.
	codec protocol.Codec
	nc    net.Conn
	in    []byte // received, and not yet expected
}

// Open connects to a handler made by newHandler. It must be called within synctest.Test, with the t
// of the bubble. Everything is closed when the test ends. The handler may end the connection in
// HandleConnect.
func Open(t testing.TB, newHandler func() protocol.Handler, opts protocol.Options) *Harness {
	t.Helper()
	h := &Harness{t: t, codec: opts.Codec, ends: make(chan ranch.Event, 1)}
	if h.codec == nil {
		h.codec = protocol.Raw{}
	}
	peers := make(chan *protocol.Peer, 1)
	newFirst := func() protocol.Handler { return &firstHandler{newHandler(), peers} }
	mem := new(transport.Mem)
	var err error
	h.l, err = new(ranch.Server).StartListener("test", mem, ranch.Options{
		Addr: "test", Logger: slog.New(slog.DiscardHandler),
		Observer: func(e ranch.Event) {
			if e.Kind == ranch.ConnEnded {
				h.ends <- e
			}
		},
	}, protocol.Handle(newFirst, opts))
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

// firstHandler passes its peer to the harness, and switches to the handler under test.
type firstHandler struct {
	next  protocol.Handler
	peers chan *protocol.Peer
}

func (f *firstHandler) HandleConnect(p *protocol.Peer) protocol.Action {
	f.peers <- p
	return protocol.Switch(f.next)
}

func (f *firstHandler) HandleData(*protocol.Peer, []byte) protocol.Action { return protocol.Stop() }

// Peer returns the peer of the handler.
func (h *Harness) Peer() *protocol.Peer { return h.peer }

// Conn returns the client's end of the connection, for example to close it.
func (h *Harness) Conn() net.Conn { return h.nc }

// Send sends frames in one write, and waits until they are handled.
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

// Write sends bytes, which need not be a frame, and waits until they are handled. It reads at the
// same time, so that answers may be larger than the buffer of the connection. The handler may end
// the connection before it has read all of them.
func (h *Harness) Write(b []byte) {
	h.t.Helper()
	done := make(chan error, 1)
	go func() { _, err := h.nc.Write(b); done <- err }()
	for {
		n := h.receive()
		select {
		case err := <-done:
			if !h.ended() && err != nil {
				h.t.Errorf("Write of %d bytes: got %v, want no error", len(b), err)
			}
			return
		default:
		}
		if n == 0 {
			h.t.Fatalf("Write of %d bytes: the handler does not read", len(b))
		}
	}
}

// receive reads what has arrived, without waiting, and returns the number of bytes.
func (h *Harness) receive() (n int) {
	b := make([]byte, 64<<10)
	for {
		synctest.Wait()
		h.nc.SetReadDeadline(time.Now().Add(1)) // fake time advances when all other goroutines are blocked
		m, err := h.nc.Read(b)
		h.in = append(h.in, b[:m]...)
		if n += m; err != nil {
			h.nc.SetReadDeadline(time.Time{})
			return n
		}
	}
}

// Expect fails the test unless these frames are the next that have arrived. It does not wait for
// later frames, but it advances the time by a nanosecond.
func (h *Harness) Expect(frames ...string) {
	h.t.Helper()
	h.receive()
	for _, want := range frames {
		got, ok := h.next()
		if !ok {
			h.t.Fatalf("got no frame, want %q; %d bytes have arrived%s", want, len(h.in), h.ending())
		}
		if got != want {
			h.t.Fatalf("got frame %q, want %q", got, want)
		}
	}
}

// ExpectNothing fails the test if there is data that was not expected.
func (h *Harness) ExpectNothing() {
	h.t.Helper()
	if h.receive(); len(h.in) > 0 {
		h.t.Fatalf("got %q, want nothing", h.in)
	}
}

func (h *Harness) next() (frame string, ok bool) {
	b, n, _, err := h.codec.Decode(h.in)
	if err != nil {
		h.t.Fatalf("got %q, want a frame: %v", h.in, err)
	}
	if frame = string(b); n > 0 {
		h.in = bytes.Clone(h.in[n:])
	}
	return frame, n > 0
}

// Post posts a message to the handler, and waits until it is handled.
func (h *Harness) Post(msg any) {
	h.t.Helper()
	if err := h.peer.Post(msg); err != nil {
		h.t.Errorf("Post: got %v, want no error", err)
	}
	synctest.Wait()
}

// Advance advances the time, and waits until all ticks and timeouts are handled.
func (h *Harness) Advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Shutdown stops the server, and returns when the connection has ended.
func (h *Harness) Shutdown() {
	h.t.Helper()
	if err := h.l.Stop(); err != nil {
		h.t.Errorf("Shutdown: got %v, want no error", err)
	}
	h.waitEnd()
}

// CloseWrite closes the client's side of the connection. The client can still receive.
func (h *Harness) CloseWrite() {
	h.nc.(interface{ CloseWrite() error }).CloseWrite()
	synctest.Wait()
}

// ended reports whether the connection has ended.
func (h *Harness) ended() bool {
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

// waitEnd waits until the connection has ended.
func (h *Harness) waitEnd() {
	h.t.Helper()
	if h.ended() {
		return
	}
	select {
	case e := <-h.ends:
		h.end = &e
	case <-time.After(time.Hour):
		h.t.Fatal("the connection has not ended within an hour")
	}
}

// ExpectEnd waits until the connection has ended, and returns the error. It fails the test unless
// the reason is want, or if an hour passes.
func (h *Harness) ExpectEnd(want conns.Reason) error {
	h.t.Helper()
	h.waitEnd()
	if h.end.Reason != want {
		h.t.Fatalf("got end %v (%v), want %v", h.end.Reason, h.end.Err, want)
	}
	return h.end.Err
}

// ending describes the end of the connection for failure messages.
func (h *Harness) ending() string {
	if !h.ended() {
		return ""
	}
	return fmt.Sprintf("; the connection has ended: %v, %v", h.end.Reason, h.end.Err)
}
