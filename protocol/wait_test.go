package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// pausing is a connection whose client has sent many requests in one write and reads no answers.
type pausing struct {
	l       *ranch.Listener
	nc      net.Conn
	peer    *protocol.Peer
	ends    chan ranch.Event
	handled int // read it only when the handler does not run
	posted  int
}

const (
	pauseAt    = 5000
	answerSize = 1000
	requests   = 500
)

func newPausing(t *testing.T, pauseAt int) *pausing {
	t.Helper()
	p, peers := &pausing{}, make(chan *protocol.Peer, 1)
	h := &script{
		connect: func(peer *protocol.Peer) protocol.Action { peers <- peer; return protocol.Continue() },
		data: func(peer *protocol.Peer, _ []byte) protocol.Action {
			p.handled++
			if err := peer.Send(bytes.Repeat([]byte{byte(p.handled)}, answerSize-4)); err != nil {
				return protocol.Fail(err)
			}
			return protocol.Continue()
		},
		message: func(*protocol.Peer, any) protocol.Action { p.posted++; return protocol.Continue() },
	}
	s := newTestServer(t, shared(h), protocol.Options{Codec: protocol.LengthPrefix{}, PauseAt: pauseAt, ReadTimeout: 10 * time.Second})
	p.l, p.ends, p.nc, p.peer = s.Listener, s.ends, s.dial(t), <-peers
	go p.nc.Write(bytes.Repeat(frame("request"), requests))
	synctest.Wait()
	return p
}

// A client that does not read its answers is not read, until it does: the answers are then complete
// and in order. Messages are handled meanwhile, and the read timeout does not expire.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPausing(t, pauseAt)
		handled, queued := p.handled, p.peer.Outbox().Queued()
		// The outbox collects up to 16 KiB of the answers to several requests.
		if limit := pauseAt + answerSize + 16<<10; queued < pauseAt || queued > limit || handled == requests {
			t.Errorf("got %d requests handled and %d bytes queued, want fewer than %d, and %d to %d", handled, queued, requests, pauseAt, limit)
		}
		time.Sleep(20 * time.Second)
		p.peer.Post("hello")
		synctest.Wait()
		if p.posted != 1 || p.handled != handled {
			t.Errorf("got %d messages and %d further requests handled, want 1 and 0", p.posted, p.handled-handled)
		}
		for i := range requests {
			b := make([]byte, answerSize)
			if _, err := io.ReadFull(p.nc, b); err != nil || b[4] != byte(i+1) || b[answerSize-1] != byte(i+1) {
				t.Fatalf("answer %d: got %v, %v, want it complete", i+1, b[4], err)
			}
		}
		if e := <-p.ends; e.Reason != conns.TimedOut || !errors.Is(e.Err, os.ErrDeadlineExceeded) {
			t.Errorf("got end %v (%v), want the read timeout", e.Reason, e.Err)
		}
	})
}

// A client that never reads is ended by the send timeout, although it is not read meanwhile.
func TestPauseSendTimeout(t *testing.T) {
	tr := transport.TCP{SendTimeout: 50 * time.Millisecond, WriteBuffer: 4096}
	echo := &script{data: func(p *protocol.Peer, b []byte) protocol.Action { p.Send(b); return protocol.Continue() }}
	l, ends := listen(t, tr, shared(echo), protocol.Options{PauseAt: 1})
	nc, err := tr.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	go io.Copy(nc, neverEnding{})
	if e := <-ends; e.Reason != conns.SendTimeout {
		t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.SendTimeout)
	}
}

// neverEnding is a reader of zeros.
type neverEnding struct{}

func (neverEnding) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A negative PauseAt never pauses: the queue limits what waits.
func TestNoPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPausing(t, transport.NoLimit)
		if p.handled != requests {
			t.Errorf("got %d requests handled, want %d", p.handled, requests)
		}
	})
}

// A pause ends with the connection.
func TestPauseEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p *pausing)
		want conns.Reason
		err  error
	}{
		{"Peer.Close", func(p *pausing) { p.peer.Close(io.ErrNoProgress) }, conns.Failed, io.ErrNoProgress},
		{"a normal Peer.Close", func(p *pausing) { p.peer.Close(nil) }, conns.Finished, nil},
		{"shutdown", func(p *pausing) { go p.l.Stop(); synctest.Wait(); go io.Copy(io.Discard, p.nc) }, conns.Shutdown, protocol.ErrShutdown},
		{"the client closes", func(p *pausing) { p.nc.Close() }, conns.PeerClosed, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPausing(t, pauseAt)
				handled, began := p.handled, time.Now()
				c.end(p)
				e := <-p.ends
				if e.Reason != c.want || c.err != nil && !errors.Is(e.Err, c.err) {
					t.Errorf("got end %v (%v), want %v (%v)", e.Reason, e.Err, c.want, c.err)
				}
				if took := time.Since(began); p.handled != handled || took > 6*time.Second {
					t.Errorf("got %d further requests handled and the end after %v, want none and at most FlushTime", p.handled-handled, took)
				}
			})
		})
	}
}

// WaitBelow waits for the bytes that were queued before, whatever is sent meanwhile, and no longer
// than its context.
func TestWaitBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, peer := newTestOutbox(t, "pipe", protocol.QueueOptions{})
		for range 10 {
			o.Send(make([]byte, 100))
			synctest.Wait() // the first write takes the first frame
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, n := range []int{1, 500, 1000} {
			if err := o.WaitBelow(ctx, n); err != context.DeadlineExceeded {
				t.Errorf("below %d of 1000 bytes: got %v, want %v", n, err, context.DeadlineExceeded)
			}
		}
		if err := o.WaitBelow(t.Context(), 1001); err != nil {
			t.Errorf("below 1001 of 1000 bytes: got %v, want no error", err)
		}
		done := make(chan error, 1)
		go func() { done <- o.WaitBelow(t.Context(), 500) }()
		for i := range 30 { // the queue never has fewer than 1000 bytes
			synctest.Wait()
			o.Send(make([]byte, 100))
			io.ReadFull(peer, make([]byte, 100))
			select {
			case err := <-done:
				if err != nil || i < 6 {
					t.Errorf("got %v after %d frames, want no error after 6", err, i)
				}
				return
			default:
			}
		}
		t.Error("WaitBelow has not returned, want it to when 600 bytes were read")
	})
}

// A frame that is sent alone while answers are collected, and that the connection does not take,
// keeps its place before the answers that follow.
func TestAloneWhileCorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{data: func(p *protocol.Peer, b []byte) protocol.Action {
			if b[0] == '!' {
				p.Outbox().SendAlone([]byte(strings.Repeat(string(b), 100_000/len(b))))
			} else {
				p.Send(b)
			}
			return protocol.Continue()
		}}
		s := newTestServer(t, shared(h), protocol.Options{Codec: protocol.Lines{}, PauseAt: transport.NoLimit})
		nc := s.dial(t)
		io.WriteString(nc, "a\n!x\nb\nc\n")
		synctest.Wait()
		nc.(interface{ CloseWrite() error }).CloseWrite()
		got, err := io.ReadAll(nc)
		if want := "a\n" + strings.Repeat("!x", 50_000) + "b\nc\n"; err != nil || string(got) != want {
			t.Errorf("got %d bytes, %.10q to %.10q, %v, want %d", len(got), got, got[max(0, len(got)-10):], err, len(want))
		}
	})
}
