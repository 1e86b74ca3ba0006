package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"goranch/internal/termtext"
)

// Result describes an upgrade.
type Result struct {
	PID      int           // of the successor
	Sockets  int           // that it has adopted
	Closed   []string      // names of listeners with sockets that it has not adopted, which are drained
	Duration time.Duration // from the start of the program until it served
}

// attempt is an upgrade, from the predecessor's side.
type attempt struct {
	u         *Upgrader
	progress  func(string)
	listeners []*listener // whose sockets were sent, in the order of the manifest
	cmd       *exec.Cmd
	control   *control
	exited    chan struct{} // closed after exit is set
	exit      error

	hello    chan int        // process id
	released chan struct{}   // it has a store
	ready    chan readyCall  // the successor is complete
	serving  chan chan error // it accepts; the reply
	failOnce sync.Once
	failed   chan error // the error that the successor passed to Fail
}

// readyCall is a call of "ready" and the channel for its reply.
type readyCall struct {
	adopted []int
	reply   chan error
}

// grace is how long a successor that has failed may take to exit before it is killed.
const grace = time.Second

// Upgrade starts the program again and hands it the sockets. It returns nil when the successor
// serves; HandedOver is closed then. After an error this process serves as before and the successor
// has ended. The error wraps [ErrInProgress], [ErrNotServing], [ErrTooMany], the cause of ctx,
// context.DeadlineExceeded after Options.Timeout, or the failure of the successor. When ctx ends,
// the upgrade is cancelled, unless the hand-over has begun.
//
// progress, which may be nil, is called with each step and each text that the successor passes to
// Progress. It must not block.
func (u *Upgrader) Upgrade(ctx context.Context, progress func(string)) (Result, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if !supported {
		return Result{}, fmt.Errorf("upgrade: %w on this system: it needs Unix; stop the program and start the new one", errors.ErrUnsupported)
	}
	if err := checkPID(os.Getpid()); err != nil {
		return Result{}, fmt.Errorf("upgrade: %w", err)
	}
	ctx, end, err := u.begin(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("upgrade: %w", err)
	}
	start := time.Now()
	a := &attempt{
		u: u, progress: progress, exited: make(chan struct{}), hello: make(chan int, 1), ready: make(chan readyCall),
		released: make(chan struct{}, 1), serving: make(chan chan error), failed: make(chan error, 1),
	}
	r, err := a.run(ctx)
	if err != nil {
		a.abandon()
		u.stores.reopenAll(u.opts.Logger)
		end(serving)
		return Result{}, fmt.Errorf("upgrade: %w; this process continues to serve", err)
	}
	end(handedOver)
	r.Duration = time.Since(start)
	return r, nil
}

// checkPID returns an error for the first process of a container: the kernel ends the others with
// it, also its successor.
func checkPID(pid int) error {
	if pid == 1 {
		return fmt.Errorf("%w for process 1, as in a container, because its end ends all others: start a new container, and stop this one", errors.ErrUnsupported)
	}
	return nil
}

// begin changes the state to upgrading. end ends the upgrade.
func (u *Upgrader) begin(ctx context.Context) (_ context.Context, end func(state), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch u.state {
	case serving:
	case upgrading:
		return nil, nil, ErrInProgress
	default:
		return nil, nil, fmt.Errorf("%w: it is %s", ErrNotServing, stateNames[u.state])
	}
	if err := u.checkProcesses(); err != nil {
		return nil, nil, err
	}
	ctx, abort := context.WithCancelCause(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, u.opts.Timeout,
		fmt.Errorf("the successor does not serve after %v: %w", u.opts.Timeout, context.DeadlineExceeded))
	u.state, u.abort, u.attempt = upgrading, abort, make(chan struct{})
	return ctx, func(next state) {
		cancel()
		abort(nil)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.state = next
		if next == handedOver {
			u.exitAfterLimit()
			close(u.handed)
		}
		close(u.attempt)
		u.attempt = nil
	}, nil
}

// checkProcesses returns an error if the successor would be one process too many. u.mu is held.
func (u *Upgrader) checkProcesses() error {
	running := u.running()
	if len(running)+2 <= u.opts.MaxProcesses {
		return nil
	}
	var pids []string
	for _, p := range running {
		pids = append(pids, fmt.Sprint(p.PID))
	}
	return fmt.Errorf("%w: processes %s; allowed are %d at once, with this one and the successor: wait until they end, or stop them",
		ErrTooMany, strings.Join(pids, ", "), u.opts.MaxProcesses)
}

// run starts the successor and hands over the sockets.
func (a *attempt) run(ctx context.Context) (Result, error) {
	if err := checkProgram(a.u.opts.Program); err != nil {
		return Result{}, err
	}
	m, fds, err := a.manifest()
	defer func() {
		for _, fd := range fds {
			closeFD(fd)
		}
	}()
	if err != nil {
		return Result{}, err
	}
	conn, err := a.start()
	if err != nil {
		return Result{}, fmt.Errorf("start %s: %w", a.u.opts.Program, err)
	}
	a.progress(fmt.Sprintf("started process %d: %s", a.cmd.Process.Pid, a.u.opts.Program))
	err = writeLimited(ctx, conn, func() error { return sendManifest(conn, m, fds) })
	a.control = newControl(conn, a.handle)
	if err != nil {
		return Result{}, a.explain(ctx, err)
	}
	call, err := a.awaitReady(ctx, len(m.Sockets))
	if err != nil {
		return Result{}, err
	}
	return a.handOver(ctx, call)
}

// storeTimeout is how long a successor that has taken a store may take until it is ready: meanwhile
// no session can be saved here.
const storeTimeout = 10 * time.Second

// awaitReady waits until the successor is complete.
func (a *attempt) awaitReady(ctx context.Context, sockets int) (call readyCall, err error) {
	var tooLong <-chan time.Time
	for {
		select {
		case pid := <-a.hello:
			a.progress(fmt.Sprintf("process %d has received %d sockets", pid, sockets))
		case <-a.released:
			a.progress("the successor opens the sessions")
			if tooLong == nil {
				limit := time.NewTimer(storeTimeout)
				defer limit.Stop()
				tooLong = limit.C
			}
		case <-tooLong:
			return call, fmt.Errorf("the successor has the sessions, but does not serve after %v: %w", storeTimeout, context.DeadlineExceeded)
		case call = <-a.ready:
			return call, nil
		case err := <-a.failed:
			return call, fmt.Errorf("the successor has failed: %w", err)
		case <-a.control.ctx.Done():
			return call, a.explain(ctx, context.Cause(a.control.ctx))
		case <-a.exited:
			return call, a.explain(ctx, nil)
		case <-ctx.Done():
			return call, context.Cause(ctx)
		}
	}
}

// handle handles the calls of the successor.
func (a *attempt) handle(ctx context.Context, call string, body json.RawMessage) (any, error) {
	switch call {
	case "hello":
		return nil, a.handleHello(body)
	case "progress", "fail":
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			return nil, err
		}
		text = termtext.Lines(text)
		if call == "fail" {
			a.failOnce.Do(func() { a.failed <- errors.New(text) })
		} else {
			a.progress(text)
		}
		return nil, nil
	case "ready":
		var r ready
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, err
		}
		reply := make(chan error, 1)
		return nil, ask(ctx, a.ready, readyCall{r.Adopted, reply}, reply)
	case "serving":
		reply := make(chan error, 1)
		return nil, ask(ctx, a.serving, reply, reply)
	case "release":
		elsewhere, err := a.u.stores.release(body)
		if elsewhere {
			select {
			case a.released <- struct{}{}:
			default:
			}
		}
		return elsewhere, err
	case "claim":
		return nil, a.u.stores.claimed(ctx, body)
	}
	return nil, fmt.Errorf("unknown call %q", call)
}

func (a *attempt) handleHello(body json.RawMessage) error {
	var h hello
	if err := json.Unmarshal(body, &h); err != nil {
		return err
	}
	if h.Version != version {
		return fmt.Errorf("the predecessor understands version %d only, got %d", version, h.Version)
	}
	select {
	case a.hello <- h.PID:
		return nil
	default:
		return errors.New("a second hello")
	}
}

// ask passes v to the goroutine of the attempt and waits for the reply.
func ask[T any](ctx context.Context, to chan<- T, v T, reply <-chan error) error {
	select {
	case to <- v:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
