package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
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
	failed   chan error // it has said why it cannot serve
}

// readyCall is a call of "ready" and the channel for its reply.
type readyCall struct {
	adopted []int
	reply   chan error
}

// grace is how long a successor that has failed may take to exit before it is killed.
const grace = time.Second

// Upgrade starts the program again and hands it the sockets. It returns nil when the successor serves;
// HandedOver is closed then. After an error this process serves as before and the successor is gone. The
// error wraps [ErrInProgress], [ErrNotServing], [ErrTooMany], the cause of ctx, context.DeadlineExceeded
// after Options.Timeout, or says how the successor has failed.
//
// progress is called with what happens, in words, also those that the successor passes to Progress; nil
// is nothing. It must not block. When ctx ends, the upgrade is given up, unless the hand-over has begun.
func (u *Upgrader) Upgrade(ctx context.Context, progress func(string)) (Result, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if !supported {
		return Result{}, fmt.Errorf("upgrade: %w on this system: it needs Unix; stop the program and start the new one", errors.ErrUnsupported)
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
		u.stores.takeBack(u.opts.Logger)
		end(serving)
		return Result{}, fmt.Errorf("upgrade: %w; this process continues to serve", err)
	}
	end(handedOver)
	r.Duration = time.Since(start)
	return r, nil
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
			u.limitLife()
			close(u.handed)
		}
		close(u.attempt)
		u.attempt = nil
	}, nil
}

// checkProcesses returns an error if the successor would be one process too many. u.mu is held.
func (u *Upgrader) checkProcesses() error {
	living := u.living()
	if len(living)+2 <= u.opts.MaxProcesses {
		return nil
	}
	var pids []string
	for _, p := range living {
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

// storeTimeout is how long a successor that has taken a store may take until it is ready: meanwhile no
// session can be saved here.
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

// manifest describes the sockets, in duplicates that are sent, and the processes.
func (a *attempt) manifest() (m manifest, fds []int, err error) {
	u := a.u
	m = manifest{Version: version, PID: os.Getpid(), Generation: u.generation + 1}
	for _, l := range u.sockets.listeners() {
		fd, err := duplicate(l.acceptor)
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err != nil {
			return m, fds, fmt.Errorf("socket of listener %s: %w", l.entry.Ref, err)
		}
		fds = append(fds, fd)
		m.Sockets = append(m.Sockets, l.entry)
		a.listeners = append(a.listeners, l)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lifeline < 0 {
		if u.lifeline, err = lifeline(); err != nil {
			u.lifeline = -1
			return m, fds, err
		}
	}
	for _, p := range append(slices.Clone(u.living()), process{os.Getpid(), u.generation, u.lifeline}) {
		fd, err := duplicateFD(p.fd)
		if err != nil {
			return m, fds, err
		}
		fds = append(fds, fd)
		m.Processes = append(m.Processes, p)
	}
	return m, fds, nil
}

func sendManifest(conn *net.UnixConn, m manifest, fds []int) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b, err := appendFrame(frame{Call: "manifest", Body: body})
	if err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	return sendFiles(conn, fds)
}

// privateVariables are not for the successor: they name descriptors and processes of this one.
var privateVariables = []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", variable}

// successorEnv returns the environment of the successor.
func successorEnv(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains(privateVariables, name)
	})
	return append(env, variable+"=3")
}

// start starts the program with the control connection as descriptor 3.
func (a *attempt) start() (*net.UnixConn, error) {
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(a.u.opts.Program, a.u.opts.Args...)
	if len(os.Args) > 0 && a.u.opts.Program == started.path {
		cmd.Args[0] = os.Args[0]
	}
	cmd.Dir, cmd.Env = started.dir, successorEnv(os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, err
	}
	a.cmd = cmd
	go func() {
		a.exit = cmd.Wait()
		close(a.exited)
	}()
	return ours, nil
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

// handOver stops accepting on the adopted sockets, lets the successor begin, and gives up the sockets.
// Until the successor has confirmed that it accepts, everything can be undone.
func (a *attempt) handOver(ctx context.Context, call readyCall) (Result, error) {
	adopted, err := a.adopted(call.adopted)
	if err != nil {
		call.reply <- err
		return Result{}, err
	}
	for _, l := range adopted {
		l.gate.hold(l.acceptor)
	}
	call.reply <- nil
	confirm, err := a.awaitServing(ctx)
	if err != nil {
		a.abandon() // before accepting again: there must be no two
		for _, l := range adopted {
			l.gate.release(l.acceptor)
		}
		return Result{}, err
	}
	for _, l := range adopted {
		l.hand()
	}
	a.u.stores.opened(a.control)
	r := Result{PID: a.cmd.Process.Pid, Sockets: len(adopted)}
	for _, l := range a.listeners {
		if !slices.Contains(adopted, l) && !slices.Contains(r.Closed, l.entry.Ref) {
			r.Closed = append(r.Closed, l.entry.Ref)
		}
	}
	if f := a.u.opts.HandOver; f != nil {
		f(r.PID)
	}
	confirm <- nil
	return r, nil
}

func (a *attempt) awaitServing(ctx context.Context) (confirm chan<- error, err error) {
	select {
	case confirm := <-a.serving:
		return confirm, nil
	case <-a.control.ctx.Done():
		return nil, a.explain(ctx, context.Cause(a.control.ctx))
	case <-a.exited:
		return nil, a.explain(ctx, nil)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// adopted returns the listeners with these indexes. All must still be open.
func (a *attempt) adopted(indexes []int) (all []*listener, err error) {
	for _, i := range indexes {
		if i < 0 || i >= len(a.listeners) || slices.Contains(all, a.listeners[i]) {
			return nil, fmt.Errorf("the successor has adopted socket %d of %d, or one twice", i, len(a.listeners))
		}
		l := a.listeners[i]
		if l.closed.Load() {
			return nil, fmt.Errorf("listener %s was closed during the upgrade", l.entry.Ref)
		}
		all = append(all, l)
	}
	return all, nil
}

// explain returns the error of a successor whose control connection or process has ended. It waits for
// the other of the two.
func (a *attempt) explain(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case err := <-a.failed:
		return fmt.Errorf("the successor has failed: %w", err)
	case <-a.exited:
		select {
		case err := <-a.failed:
			return fmt.Errorf("the successor has failed: %w", err)
		default:
		}
		if a.exit == nil {
			return errors.New("the successor has exited with code 0 before it was ready; is it a version that can replace this one?")
		}
		return fmt.Errorf("the successor has ended before it was ready: %w; see its log", a.exit)
	case <-limit.C:
		return fmt.Errorf("the successor has failed: %w", cause)
	}
}

// abandon ends the successor. It returns when the process is gone. It may be called twice.
func (a *attempt) abandon() {
	if a.cmd == nil {
		return
	}
	a.control.close()
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-a.exited:
	case <-limit.C:
		a.cmd.Process.Kill()
		<-a.exited
	}
}
