package protocoltest

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// ErrFlaky is the error of a [Flaky] connection that fails.
var ErrFlaky = errors.New("the connection is flaky")

// Flaky is a connection that fails, or passes on less than it could. The zero value of each
// field leaves that alone. Set the fields before use. Its methods may be called from any goroutine.
type Flaky struct {
	net.Conn
	// ReadBytes and WriteBytes are how many bytes pass before all else fails; 0 or negative is no
	// limit. Of the write that reaches it a part goes out.
	ReadBytes, WriteBytes int64
	// Chance is the probability, 0 to 1, with which each call of Read and Write fails, by Seed.
	Chance float64
	Seed   uint64
	// Most is how many bytes a Read returns, and a Write passes on at once: 1 is a byte at a
	// time. 0 or negative is no limit.
	Most int
	// Err is what failing calls return. nil is [ErrFlaky].
	Err error

	mu          sync.Mutex
	random      *rand.Rand
	read, wrote int64
	failed      bool
}

// fails reports whether a call is to fail by chance. It stays so.
func (f *Flaky) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random == nil {
		f.random = rand.New(rand.NewPCG(f.Seed, f.Seed))
	}
	f.failed = f.failed || f.Chance > 0 && f.random.Float64() < f.Chance
	return f.failed
}

func (f *Flaky) err() error {
	if f.Err != nil {
		return f.Err
	}
	return ErrFlaky
}

// room returns how much of n bytes may pass.
func (f *Flaky) room(n int, limit int64, used *int64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if limit > 0 {
		n = int(min(int64(n), limit-*used))
	}
	return n
}

func (f *Flaky) count(used *int64, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*used += int64(n)
}

// Read reads from the connection, or fails.
func (f *Flaky) Read(b []byte) (int, error) {
	n := f.room(len(b), f.ReadBytes, &f.read)
	if f.fails() || n == 0 && len(b) > 0 {
		return 0, f.err()
	}
	if f.Most > 0 {
		n = min(n, f.Most)
	}
	n, err := f.Conn.Read(b[:n])
	f.count(&f.read, n)
	return n, err
}

// Write writes to the connection, or fails.
func (f *Flaky) Write(b []byte) (done int, err error) {
	if f.fails() {
		return 0, f.err()
	}
	for done < len(b) && err == nil {
		n := f.room(len(b)-done, f.WriteBytes, &f.wrote)
		if n == 0 {
			return done, f.err()
		}
		if f.Most > 0 {
			n = min(n, f.Most)
		}
		n, err = f.Conn.Write(b[done : done+n])
		f.count(&f.wrote, n)
		done += n
	}
	return done, err
}

// Slow is a connection of which at most some bytes are read in each interval; [NewSlow] makes one. 0 or negative bytes reads
// nothing until it is closed or its read deadline passes. Writes are not changed. A single
// goroutine may read.
type Slow struct {
	net.Conn
	bytes    int
	interval time.Duration

	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{} // closed when deadline changes
	closed   chan struct{}
	next     time.Time // when the next interval begins
	left     int       // of this one; the reader's
}

// NewSlow returns a Slow above nc, which it owns.
func NewSlow(nc net.Conn, bytes int, interval time.Duration) *Slow {
	return &Slow{Conn: nc, bytes: bytes, interval: interval, changed: make(chan struct{}), closed: make(chan struct{})}
}

// Read waits for its time, and reads what may be read then.
func (s *Slow) Read(b []byte) (int, error) {
	for {
		now := time.Now()
		if s.bytes > 0 && !now.Before(s.next) {
			s.next, s.left = now.Add(s.interval), s.bytes
		}
		if s.left > 0 {
			break
		}
		if !s.pause(s.next.Sub(now)) {
			return s.Conn.Read(b) // its deadline has passed, or it is closed: it says so
		}
	}
	n, err := s.Conn.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

// pause waits for d, or for good if nothing is to be read. It returns false at the end or the deadline.
func (s *Slow) pause(d time.Duration) bool {
	s.mu.Lock()
	deadline, changed := s.deadline, s.changed
	s.mu.Unlock()
	var due, late <-chan time.Time
	if s.bytes > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-due:
	case <-changed:
	case <-late:
		return false
	case <-s.closed:
		return false
	}
	return true
}

// SetReadDeadline makes reads fail from t on; zero means never.
func (s *Slow) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	close(s.changed)
	s.changed = make(chan struct{})
	return s.Conn.SetReadDeadline(t)
}

// SetDeadline makes reads and writes fail from t on.
func (s *Slow) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// Close closes the connection, and ends a read that waits.
func (s *Slow) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	return s.Conn.Close()
}
