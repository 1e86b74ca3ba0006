package upgrade

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// gate keeps the Accept of a listener from accepting while another process does.
type gate struct {
	blocked atomic.Bool   // written with mu held
	blocks  atomic.Uint64 // number of calls of block

	mu       sync.Mutex
	closed   bool
	deadline time.Time     // of the listener's user
	changed  chan struct{} // closed and replaced by each change; nil: nothing waits
}

// wait returns nil when the listener may accept. It returns the error of Accept after a close or a
// deadline.
func (g *gate) wait() error {
	for g.blocked.Load() {
		changed, left, err := g.state()
		if err != nil || changed == nil {
			return err
		}
		if left == 0 {
			<-changed
			continue
		}
		limit := time.NewTimer(left)
		select {
		case <-changed:
		case <-limit.C:
		}
		limit.Stop()
	}
	return nil
}

// state returns a channel that is closed by the next change, nil if the gate is open, and the time
// until the deadline, 0 without one.
func (g *gate) state() (changed <-chan struct{}, left time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return nil, 0, net.ErrClosed
	case !g.blocked.Load():
		return nil, 0, nil
	}
	if !g.deadline.IsZero() {
		if left = time.Until(g.deadline); left <= 0 {
			return nil, 0, os.ErrDeadlineExceeded
		}
	}
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed, left, nil
}

// change wakes what waits. g.mu is held.
func (g *gate) change() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.change()
}

// block closes the gate, and interrupts an Accept that waits in ln.
func (g *gate) block(ln acceptor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blocked.Store(true)
	g.blocks.Add(1)
	ln.SetDeadline(time.Unix(1, 0))
}

// unblock opens the gate.
func (g *gate) unblock(ln acceptor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ln.SetDeadline(g.deadline)
	g.blocked.Store(false)
	g.change()
}

// setDeadline sets the deadline of the listener's user.
func (g *gate) setDeadline(ln acceptor, t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	if g.blocked.Load() {
		g.change()
		return nil
	}
	return ln.SetDeadline(t)
}
