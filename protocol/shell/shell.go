// Package shell provides a line-based RPC shell whose sessions outlive their connections. Telnet,
// nc, programs and interactive clients use the same protocol.
//
// [New] returns a [Shell], a protocol for any listener. A request is one line: "name:value", or a
// command line with quoted arguments. [Method] makes a command of a Go function:
//
//	s, err := shell.New(shell.Options{Commands: []shell.Command{
//		shell.Method("double", "Return twice the number.", func(ctx context.Context, n int) (int, error) {
//			return 2 * n, nil
//		}),
//	}})
//
// A [Command] can also have arguments, flags, a required [Role], help and completion. Its [Call]
// streams output and returns a result, such as a [Table] or [Fields], that is rendered as text or
// as JSON. A [Program] is an executable that clients may run, without a system shell.
//
// # Sessions
//
// Each connection gets a session, whose id is the first line sent. When the connection closes, the
// session keeps its history, variables, working directory and running command; "reconnect:<id>" on
// another connection resumes it and delivers the output that was buffered meanwhile.
//
// # Concurrency
//
// A session runs one command at a time, in a worker goroutine, so its connection continues to read:
// Ctrl-C or "cancel" cancels the command's context. A command whose client reads too slowly blocks
// in Write. Up to 64 requests are queued per session; then the connection is not read. Idle
// sessions have no goroutine, and idle connections have none if the server parks them.
package shell

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/transport"
)

// Shell is a protocol that serves the RPC shell. Its methods are safe for concurrent use, and one
// Shell can serve several listeners. Sessions and their commands outlive connections, so a Shell
// must be closed.
//
// Locks are acquired in this order: that of a session of package session, then that of a holder or
// a runner. No session is used with a runner's lock held.
type Shell struct {
	opts     Options
	registry registry
	sessions *session.Manager[State]
	root     *os.Root // nil: no files
	protocol protocol.Protocol
	started  time.Time

	ctx    context.Context // parent of the commands' contexts
	cancel context.CancelCauseFunc

	requests, failures atomic.Uint64
	guests             atomic.Int64 // connections of clients with the role Guest
	runners            sync.Map     // *session.Session[State], unbound, to *runner

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool

	// Workers; see worker.go.
	jobs        sync.WaitGroup
	idle        []chan job // idle workers, the most recent last
	idleUsed    bool       // an idle worker got a job since the last trimIdle
	trimPending bool       // trimIdle is scheduled
}

// New returns a shell with the built-in commands and those of the options. The error joins all
// faults of the options, or is that of the session store or the root directory.
func New(opts Options) (*Shell, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Shell{opts: opts.withDefaults(), conns: map[*conn]struct{}{}, started: time.Now()}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	err := s.registry.add(s.builtins())
	if err == nil {
		err = errors.Join(s.registry.add(opts.Commands), s.addPrograms(opts.Programs))
	}
	if err == nil && opts.Root != "" {
		s.root, err = os.OpenRoot(opts.Root)
	}
	if err == nil {
		s.sessions, err = session.New(s.sessionOptions())
	}
	if err != nil {
		s.cancel(err)
		s.closeRoot()
		return nil, err
	}
	s.protocol = protocol.Handle(func() protocol.Handler { return &conn{shell: s} }, protocol.Options{
		PauseAt: pauseAt,
		Codec:   codec{s.opts.MaxLine}, ReadTimeout: s.opts.ReadTimeout, Queue: s.opts.Queue,
	})
	return s, nil
}

// sessionOptions returns Options.Sessions with the size and the worth of a State, and with an OnEnd
// that also ends the session's runner.
func (s *Shell) sessionOptions() session.Options[State] {
	o := s.opts.Sessions
	o.Size = (*State).size
	o.Priority = func(st *State) int { return int(st.Role) }
	o.Keep = func(st *State) bool { return !st.isFresh() || st.runner != nil && st.runner.isBusy() }
	onEnd := o.OnEnd
	o.OnEnd = func(sess *session.Session[State]) {
		if r, ok := s.runners.LoadAndDelete(sess); ok {
			r.(*runner).end()
		}
		if onEnd != nil {
			onEnd(sess)
		}
	}
	return o
}

// Serve serves one connection.
func (s *Shell) Serve(ctx context.Context, conn *transport.Conn) error {
	return s.protocol.Serve(ctx, conn)
}

// Unwrap returns the protocol of the connections, as [protocol.Handle] describes: idle connections
// can be parked.
func (s *Shell) Unwrap() protocol.Protocol { return s.protocol }

// AddCommands adds commands. If one of them is invalid it adds none; the error joins all faults. A
// command may replace the built-in commands status, connections, stats and version. All other names
// and aliases must be new.
func (s *Shell) AddCommands(commands ...Command) error { return s.registry.add(commands) }

// Commands returns all commands, sorted by name.
func (s *Shell) Commands() (all []Command) {
	for _, cmd := range s.registry.list() {
		all = append(all, *cmd)
	}
	return all
}

// Sessions returns the manager of the shell's sessions, to list and end them.
func (s *Shell) Sessions() *session.Manager[State] { return s.sessions }

// Close cancels all commands and waits for them, closes the connections, and saves
// and closes the sessions. The error is that of the session manager or the cause of ctx; Close can
// be called again then.
func (s *Shell) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.stopIdle()
	for c := range s.conns {
		c.peer.Close(errClosed)
	}
	s.mu.Unlock()
	s.cancel(errClosed)
	done := make(chan struct{})
	go func() { s.jobs.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.closeRoot()
	return s.sessions.Close(ctx)
}

func (s *Shell) closeRoot() {
	if s.root != nil {
		s.root.Close()
	}
}

// addConn registers a connection for the command connections and for Close.
func (s *Shell) addConn(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.conns[c] = struct{}{}
	return nil
}

func (s *Shell) removeConn(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
