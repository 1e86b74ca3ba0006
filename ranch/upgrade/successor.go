package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// predecessor is what a successor knows of the process that has started it.
type predecessor struct {
	pid     int
	control *control
}

// adoptTimeout limits the time to receive the manifest and the descriptors, which the predecessor
// sends at once.
const adoptTimeout = 10 * time.Second

// hello is the first call of a successor.
type hello struct {
	Version int `json:"version"`
	PID     int `json:"pid"`
}

// adopt receives the manifest and the descriptors.
func (u *Upgrader) adopt(value string) (err error) {
	conn, err := inheritedControl(value)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	conn.SetDeadline(time.Now().Add(adoptTimeout))
	m, fds, err := receiveManifest(conn)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Time{})
	u.generation = m.Generation
	for i, e := range m.Sockets {
		u.sockets.adoptees = append(u.sockets.adoptees, &adoptee{index: i, entry: e, fd: fds[i]})
	}
	for i, p := range m.Processes {
		p.fd = fds[len(m.Sockets)+i]
		u.processes = append(u.processes, p)
	}
	c := newControl(conn, u.handlePredecessor)
	u.predecessor = &predecessor{pid: m.PID, control: c}
	ctx, cancel := context.WithTimeout(context.Background(), adoptTimeout)
	defer cancel()
	if err := c.call(ctx, "hello", hello{version, os.Getpid()}, nil); err != nil {
		c.close()
		return fmt.Errorf("%w: %w", ErrPredecessor, err)
	}
	return nil
}

func receiveManifest(conn *net.UnixConn) (m manifest, fds []int, err error) {
	f, err := readFrame(conn)
	if err != nil {
		return m, nil, fmt.Errorf("receive the manifest: %w", err)
	}
	if f.Call != "manifest" {
		return m, nil, fmt.Errorf("%w: got the call %q first", errManifest, f.Call)
	}
	if m, err = parseManifest(f.Body); err != nil {
		return m, nil, err
	}
	if fds, err = receiveFiles(conn, len(m.Sockets)+len(m.Processes)); err != nil {
		return m, nil, fmt.Errorf("receive the sockets: %w", err)
	}
	return m, fds, nil
}

// handlePredecessor handles the calls of the predecessor.
func (u *Upgrader) handlePredecessor(ctx context.Context, call string, body json.RawMessage) (any, error) {
	switch call {
	case "save":
		return nil, u.stores.imports(ctx, body)
	case "closed":
		return nil, u.stores.predecessorClosed(body)
	}
	return nil, fmt.Errorf("unknown call %q", call)
}

// ready is the argument of the call by which a successor is complete.
type ready struct {
	Adopted []int `json:"adopted"` // indexes of Sockets of the manifest
}

// Ready begins to serve. In a successor it reports to the predecessor that this process is
// complete: the predecessor stops accepting, and the listeners of this process begin. It returns
// when the hand-over is complete. Sockets of the predecessor for which Listen was not called are
// closed here, and drained and closed by the predecessor. If the error is [ErrPredecessor], nothing
// was accepted, and the process must exit: the predecessor serves, unless it has ended. Without a
// predecessor Ready returns nil at once.
func (u *Upgrader) Ready(ctx context.Context) error {
	u.mu.Lock()
	if u.state != starting {
		defer u.mu.Unlock()
		return fmt.Errorf("upgrade: Ready: the process is %s, want one that is starting", stateNames[u.state])
	}
	p := u.predecessor
	if p == nil {
		u.state = serving
		u.mu.Unlock()
		return nil
	}
	u.mu.Unlock()
	// From here on, the predecessor drains and closes the queues of the sockets that are not
	// adopted: a descriptor here would keep them open.
	adopted := u.sockets.closeUnused()
	if err := p.control.call(ctx, "ready", ready{adopted}, nil); err != nil {
		p.control.close()
		return fmt.Errorf("upgrade: %w: %w", ErrPredecessor, err)
	}
	beforeServing()
	u.mu.Lock()
	for _, l := range u.sockets.listeners() {
		l.gate.unblock(l.acceptor)
	}
	u.state = serving
	u.mu.Unlock()
	if err := p.control.call(ctx, "serving", nil, nil); err != nil && !errors.Is(err, errEnded) {
		u.opts.Logger.Warn("the predecessor has not confirmed the hand-over", "err", err)
	}
	return nil
}

// beforeServing is called when the predecessor has stopped accepting; for tests.
var beforeServing = func() {}

// Fail reports to the predecessor why this process does not become its successor. The process must
// exit afterwards. Without a predecessor, and after Ready, Fail does nothing.
func (u *Upgrader) Fail(reason error) { u.notify("fail", reason.Error()) }

// Progress reports to the predecessor what this process does, for the operator who waits for the
// upgrade. Without a predecessor, and after Ready, it does nothing.
func (u *Upgrader) Progress(text string) { u.notify("progress", text) }

// notify sends a text to the predecessor, if there is one and this process has not taken over from
// it.
func (u *Upgrader) notify(message, text string) {
	u.mu.Lock()
	p, s := u.predecessor, u.state
	u.mu.Unlock()
	if p == nil || s != starting {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.control.call(ctx, message, text, nil)
}

// WaitPredecessor waits until the predecessor has ended, or has closed its stores, or ctx ends:
// then the error is the cause of ctx. A process that was replaced itself calls it after its drain
// and before it closes its stores, because the sessions of its predecessor are stored through it.
// Without a predecessor it returns nil at once.
func (u *Upgrader) WaitPredecessor(ctx context.Context) error {
	if u.predecessor == nil {
		return nil
	}
	return u.stores.awaitOrphaned(ctx)
}
