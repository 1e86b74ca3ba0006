package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"goranch/faults"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// The first byte that a server sends says what the rest is.
const (
	sendsEcho  = 'E' // what the client has sent
	sendsLines = 'L' // numbered lines
	sendsOther = 'X'
	sendsBusy  = 'R' // a rejection message
)

var errServer = errors.New("a fault of the protocol")

// server has the protocols of a listener. Each connection takes its decisions from a source of its
// own.
type server struct {
	l     *ledger
	src   *faults.Source
	conns atomic.Uint64
	group *protocol.Group
	order sync.Mutex // of lines
	lines uint64
}

func newServer(l *ledger, src *faults.Source) *server {
	return &server{l: l, src: src, group: &protocol.Group{Codec: protocol.Lines{}}}
}

// protocolNames are the arguments of protocol.
var protocolNames = []string{"echo", "mixed", "handler", "lines", "busy", "drainer"}

func (s *server) protocol(name string) protocol.Protocol {
	switch name {
	case "echo":
		return s.observed("echo", s.echo)
	case "mixed":
		return protocol.Func(s.mixed)
	case "handler":
		return protocol.Handle(func() protocol.Handler { return &echoHandler{s: s} }, protocol.Options{FlushTime: flushTime})
	case "lines":
		return protocol.Handle(func() protocol.Handler { return &lineHandler{s: s} }, protocol.Options{
			Codec: protocol.Lines{}, Tick: 300 * time.Millisecond, ReadTimeout: 5 * time.Second,
			Queue: protocol.QueueOptions{MaxBytes: 4096, Overflow: protocol.CloseSlow},
		})
	case "busy":
		return busy{s.observed("echo", s.echo)}
	case "drainer":
		return drainer{s.observed("echo", s.echo)}
	}
	panic(name)
}

// observed returns a protocol that records its calls.
func (s *server) observed(kind string, serve func(*session) error) protocol.Protocol {
	return protocol.Func(func(ctx context.Context, conn *transport.Conn) (err error) {
		n := &session{ctx: ctx, Conn: conn, src: s.src.Derive(s.conns.Add(1)), seen: s.l.enter(conn, kind), l: s.l}
		panicked := true
		defer func() { s.l.leave(n.seen, err, panicked) }()
		err = serve(n)
		panicked = false
		return err
	})
}

// session is a connection that is being served.
type session struct {
	*transport.Conn
	ctx  context.Context
	src  *faults.Source
	seen *seen
	l    *ledger
}

func (s *session) greet(b byte) error {
	_, err := s.Write([]byte{b})
	return err
}

func (s *server) echo(n *session) error {
	if err := n.greet(sendsEcho); err != nil {
		return err
	}
	return n.copy()
}

// copy echoes until the end of the stream.
func (s *session) copy() error {
	buf := make([]byte, 1+s.src.IntN(4096))
	for {
		n, err := s.Read(buf)
		if n > 0 {
			if _, werr := s.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			s.l.mu.Lock()
			s.seen.sawEOF = true
			s.l.mu.Unlock()
			return faults.Pick(s.src, nil, io.EOF)
		}
		if err != nil {
			return err
		}
	}
}

// behaviours are what protocols may do wrong, or unusually.
var behaviours = []struct {
	kind string
	f    func(*session) error
}{
	{"echo", func(n *session) error { return errors.Join(n.greet(sendsEcho), n.copy()) }},
	{"panic", func(n *session) error { n.greet(sendsOther); panic("faults: a panic of the protocol") }},
	{"goexit", func(*session) error { runtime.Goexit(); return nil }},
	{"error", func(n *session) error {
		n.pause()
		return faults.Pick(n.src, errServer, nil, io.EOF, protocol.ErrBadInput)
	}},
	{"late", func(n *session) error { // takes its time when it is asked to stop
		err := errors.Join(n.greet(sendsEcho), n.copy())
		n.pause()
		return err
	}},
	{"deaf", func(n *session) error { // notices only that its connection is closed
		for {
			time.Sleep(n.src.Between(time.Millisecond, 100*time.Millisecond))
			if err := n.greet(sendsOther); err != nil {
				return err
			}
		}
	}},
	{"removed", func(n *session) error {
		n.l.remove(n.seen)
		ranch.RemoveConnection(n.Conn)
		return errors.Join(n.greet(sendsEcho), n.copy())
	}},
	{"closes", func(n *session) error {
		n.greet(sendsOther)
		if n.src.Chance(0.5) {
			n.Close()
		} else {
			n.Abort()
		}
		n.pause()
		_, err := n.Read(make([]byte, 1))
		return err
	}},
	{"deadlines", func(n *session) error {
		if err := n.greet(sendsEcho); err != nil {
			return err
		}
		n.SetDeadline(time.Now().Add(n.src.Between(-time.Millisecond, time.Second)))
		err := n.copy()
		n.SetDeadline(time.Time{})
		return err
	}},
	{"half-close", func(n *session) error {
		n.greet(sendsOther)
		n.CloseWrite()
		_, err := io.Copy(io.Discard, n)
		return err
	}},
	{"slow", func(n *session) error {
		if err := n.greet(sendsEcho); err != nil {
			return err
		}
		n.pause()
		return n.copy()
	}},
	{"writer", func(n *session) error { // a write in progress when the protocol returns
		n.l.mu.Lock()
		n.seen.lateWrites = true
		n.l.mu.Unlock()
		go n.Write(make([]byte, 100<<10))
		n.pause()
		return nil
	}},
	{"stops", func(n *session) error {
		n.StopReading(errServer)
		_, err := n.Read(make([]byte, 1))
		return err
	}},
	{"peek", func(n *session) error {
		if _, err := n.Peek(1 + n.src.IntN(20)); err != nil {
			return err
		}
		return errors.Join(n.greet(sendsEcho), n.copy())
	}},
}

func (s *session) pause() { time.Sleep(s.src.Between(0, 400*time.Millisecond)) }

func (s *server) mixed(ctx context.Context, conn *transport.Conn) error {
	b := behaviours[s.src.Derive(s.conns.Add(1)).IntN(len(behaviours))]
	return s.observed(b.kind, b.f).Serve(ctx, conn)
}

// echoHandler echoes. Its connections are parked.
type echoHandler struct {
	s       *server
	seen    *seen
	endedAt time.Time
}

// flushTime is the FlushTime of echoHandler.
const flushTime = 5 * time.Second

func (h *echoHandler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.seen = h.s.l.enter(p.Conn(), "echo")
	p.Send([]byte{sendsEcho})
	return protocol.Continue()
}

func (h *echoHandler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	p.Send(frame)
	return protocol.Continue()
}

func (h *echoHandler) HandleEnd(*protocol.Peer, []byte) {
	h.s.l.mu.Lock()
	h.seen.sawEOF = true
	h.s.l.mu.Unlock()
	h.endedAt = time.Now()
}

// HandleClose is called when the queued frames were sent, or could not be sent within flushTime.
func (h *echoHandler) HandleClose(_ *protocol.Peer, err error) {
	if h.seen.sawEOF && time.Since(h.endedAt) >= flushTime {
		h.s.l.mu.Lock()
		h.seen.sawEOF = false // not all was echoed
		h.s.l.mu.Unlock()
	}
	h.s.l.leave(h.seen, err, false)
}

// lineHandler broadcasts numbered lines to all its connections for each line and at each tick.
type lineHandler struct {
	s    *server
	seen *seen
}

func (h *lineHandler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.seen = h.s.l.enter(p.Conn(), "lines")
	p.Outbox().Send([]byte{sendsLines})
	h.s.group.Join(p)
	return protocol.Continue()
}

func (h *lineHandler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	h.s.broadcast(p)
	if len(frame) > 0 && frame[0]%31 == 0 {
		panic("faults: a panic of the protocol")
	}
	return protocol.Continue()
}

func (h *lineHandler) HandleTick(p *protocol.Peer) protocol.Action {
	h.s.broadcast(nil)
	return protocol.Continue()
}

func (h *lineHandler) HandleClose(_ *protocol.Peer, err error) {
	var p *protocol.PanicError
	h.s.l.leave(h.seen, err, errors.As(err, &p))
}

// broadcast sends the next line.
func (s *server) broadcast(except *protocol.Peer) {
	s.order.Lock()
	defer s.order.Unlock()
	s.lines++
	s.group.Broadcast(fmt.Append(nil, s.lines), except)
}

// busy sends a rejection message.
type busy struct{ protocol.Protocol }

func (busy) Refuse(_ context.Context, conn *transport.Conn, _ error) { conn.Write([]byte{sendsBusy}) }

// drainer ends its connections itself.
type drainer struct{ protocol.Protocol }

func (drainer) DrainsItself() {}

func (d drainer) Serve(ctx context.Context, conn *transport.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.StopReading(context.Cause(ctx)) })()
	return d.Protocol.Serve(ctx, conn)
}
