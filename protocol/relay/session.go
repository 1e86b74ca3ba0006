package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// session is a relayed connection. Two goroutines copy, one in each direction; that of Serve copies
// from the client.
type session struct {
	relay    *Relay
	upstream *upstream
	ctx      context.Context
	client   *transport.Conn
	server   *transport.Conn // the connection to the upstream
	ended    chan struct{}   // closed when both copies have returned

	mu       sync.Mutex
	eof      *transport.Conn // the side that has ended its stream first
	failed   bool            // one of the copies has failed
	err      error           // with which the client's connection ends
	panicked *protocol.PanicError
}

func newSession(ctx context.Context, r *Relay, u *upstream, client, server *transport.Conn) *session {
	return &session{relay: r, upstream: u, ctx: ctx, client: client, server: server, ended: make(chan struct{})}
}

func (s *session) run() error {
	stopped := make(chan struct{})
	unwatch := context.AfterFunc(s.ctx, func() {
		defer close(stopped)
		s.stop()
	})
	received := make(chan struct{})
	go func() {
		defer close(received)
		s.copy(s.client, s.server)
	}()
	s.copy(s.server, s.client)
	<-received
	close(s.ended)
	if !unwatch() {
		<-stopped
	}
	return s.finish()
}

// copy forwards what src sends to dst, and then the end of its stream.
func (s *session) copy(dst, src *transport.Conn) {
	defer func() {
		if v := recover(); v != nil {
			s.mu.Lock()
			s.panicked = asPanic(v)
			s.mu.Unlock()
			s.abort()
		}
	}()
	_, err := src.WriteTo(dst)
	if err != nil {
		s.fail(dst, src, err)
		return
	}
	if !s.endStream(src) {
		return
	}
	switch err := dst.CloseWrite(); {
	case errors.Is(err, errors.ErrUnsupported): // without half-close the end of one stream is that of both
		s.server.Close()
		s.client.Close()
	case errors.Is(err, syscall.ENOTCONN):
		s.fail(dst, src, &net.OpError{Op: "close", Net: "tcp", Addr: dst.RemoteAddr(), Err: syscall.ECONNRESET})
	case err != nil:
		s.fail(dst, src, err)
	}
}

// endStream records that src has ended its stream, and reports whether this is to be passed on.
// After a failed write the end may be that of a connection that was reset.
func (s *session) endStream(src *transport.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.eof == nil {
		s.eof = src
	}
	return !s.failed
}

// fail records the error of a copy, unless it is the consequence of another one, and makes the
// other copy return.
func (s *session) fail(dst, src *transport.Conn, err error) {
	if errors.Is(err, net.ErrClosed) && s.ctx.Err() == nil { // by the other copy, whose error counts: a send timeout
		s.abort()
		return
	}
	side := failedSide(dst, src, err)
	s.mu.Lock()
	first := !s.failed
	s.failed = true
	if first {
		s.err = s.reason(side, err)
	}
	s.mu.Unlock()
	switch {
	case !first:
	case s.ctx.Err() != nil:
		s.server.Close()
	case side == dst && closedByPeer(err):
		// The other copy forwards what dst has sent before it closed the connection, and then finds
		// the same.
	default:
		s.abort()
	}
}

// reason returns the error of Serve for the failure of one side. s.mu is held.
func (s *session) reason(side *transport.Conn, err error) error {
	switch {
	case side == s.client, s.ctx.Err() != nil:
		return err
	case s.eof == s.server && !errors.Is(err, syscall.ECONNRESET):
		// It has closed the connection, and the client went on sending. The answer is a reset,
		// which the system reports as EPIPE after the end of a stream. If it reports ECONNRESET,
		// the end that a read has found is that of a connection that was reset.
		return nil
	}
	return &Error{s.upstream.addr, connFailure(err), err}
}

// failedSide returns the connection whose error err is, after a copy from src to dst.
func failedSide(dst, src *transport.Conn, err error) *transport.Conn {
	if errors.Is(err, transport.ErrSendTimeout) {
		return dst
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		return src
	}
	switch op.Op {
	case "write", "close":
		return dst
	case "readfrom": // splice, which does not say which socket has failed
		if isClosed(dst) {
			return dst
		}
	}
	return src
}

// closedByPeer reports whether a write has failed because its peer has closed the connection.
func closedByPeer(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// finish closes the connection to the upstream, and returns the result of Serve.
func (s *session) finish() error {
	failure, _ := s.err.(*Error)
	if s.err != nil && s.ctx.Err() == nil {
		s.abort()
	}
	s.server.Close()
	s.relay.end(s, failure)
	switch {
	case s.panicked != nil:
		panic(s.panicked)
	case s.err != nil:
		return s.err
	case s.eof == s.client:
		return io.EOF
	}
	return nil
}

// abort resets both connections.
func (s *session) abort() {
	reset(s.client)
	reset(s.server)
}

// reset closes a connection so that TCP sends a reset.
func reset(c *transport.Conn) {
	if l, ok := c.NetConn().(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(0)
	}
	c.NetConn().Close()
	c.Abort()
}

// stopTick is the time between two checks of a connection that was asked to stop. It is shorter
// than the time that package conns allows for the return of Serve once it has closed the
// connection.
const stopTick = 250 * time.Millisecond

// stop runs when the connection is asked to stop. Reads fail then, unless the listener stops: in
// that case they fail when there has been no traffic for DrainIdle. A write to the upstream may go
// on, and the copy from the upstream does not notice when the client's connection is closed at the
// limit.
func (s *session) stop() {
	cause := context.Cause(s.ctx)
	limit := s.relay.opts.Load().DrainIdle
	if !errors.Is(cause, protocol.ErrShutdown) {
		s.stopReading(cause)
	}
	tick := time.NewTicker(stopTick)
	defer tick.Stop()
	since, last := time.Now(), s.traffic()
	for {
		if s.client.SetWriteDeadline(time.Time{}) != nil { // closed
			s.server.Abort()
		}
		select {
		case <-s.ended:
			return
		case now := <-tick.C:
			if bytes := s.traffic(); bytes != last {
				since, last = now, bytes
			} else if limit >= 0 && now.Sub(since) >= limit {
				s.stopReading(cause)
			}
		}
	}
}

func (s *session) stopReading(cause error) {
	s.client.StopReading(cause)
	s.server.StopReading(cause)
}

func (s *session) traffic() uint64 {
	c, u := engine.Of(s.client), engine.Of(s.server)
	return s.client.Stats().BytesRead + s.server.Stats().BytesRead + c.Progress() + u.Progress()
}
