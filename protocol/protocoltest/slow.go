package protocoltest

import (
	"errors"
	"net"
	"sync"
	"time"
)

// NewSlow returns a connection over nc, which it owns, of which at most some bytes are read in each
// interval. If bytes is 0 or negative, reads block until the connection is closed or the read
// deadline passes. Writes are not changed. Only one goroutine may read.
func NewSlow(nc net.Conn, bytes int, interval time.Duration) net.Conn {
	return &slow{Conn: nc, bytes: bytes, interval: interval, changed: make(chan struct{}), closed: make(chan struct{})}
}

type slow struct {
	net.Conn
	bytes    int
	interval time.Duration

	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{} // closed when deadline changes
	closed   chan struct{}

	// Used by the reader only.
	next time.Time // when the next interval begins
	left int       // the bytes that may still be read in this interval
}

func (s *slow) Read(b []byte) (int, error) {
	for {
		now := time.Now()
		if s.bytes > 0 && !now.Before(s.next) {
			s.next, s.left = now.Add(s.interval), s.bytes
		}
		if s.left > 0 {
			break
		}
		if !s.pause(s.next.Sub(now)) {
			return s.Conn.Read(b) // fails, because the deadline has passed or the connection is closed
		}
	}
	n, err := s.Conn.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

// pause waits for d, or without limit if nothing may be read. It returns false when the connection
// is closed or the deadline passes.
func (s *slow) pause(d time.Duration) bool {
	s.mu.Lock()
	deadline, changed := s.deadline, s.changed
	s.mu.Unlock()
	var due, expired <-chan time.Time
	if s.bytes > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-due:
	case <-changed:
	case <-expired:
		return false
	case <-s.closed:
		return false
	}
	return true
}

func (s *slow) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	close(s.changed)
	s.changed = make(chan struct{})
	return s.Conn.SetReadDeadline(t)
}

func (s *slow) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *slow) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	return s.Conn.Close()
}
