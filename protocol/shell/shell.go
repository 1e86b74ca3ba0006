// Package shell is a line-based RPC shell whose sessions outlive their connections. It is for people with
// telnet or nc as much as for programs.
//
// [New] makes a [Shell], a protocol for any listener. A request is a line, "name:value", or a command line
// with arguments and quotes. A Go function answers the first kind:
//
//	s, err := shell.New(shell.Options{Commands: []shell.Command{
//		shell.Method("double", "Answer twice the number.", func(ctx context.Context, n int) (int, error) {
//			return 2 * n, nil
//		}),
//	}})
//
// A [Command] is more: it has arguments and [Flag] values, a least [Role], a help, completion; its [Call] streams
// output, and returns a result that is shown as text or as JSON, as the client likes, such as a [Table] or
// [Fields]. [Registry.Add] takes commands at any time. [Program] lets clients run chosen programs, without a shell in
// between.
//
// # Sessions
//
// Each connection gets a session, with an id that it is told first. When the connection goes, the session stays, with its
// history, variables, directory, and the command that it runs; "reconnect:<id>" from another connection goes
// on there, and gets what was put out meanwhile. Options.Sessions says for how long, and where they are kept.
//
// # Who waits for whom
//
// A session runs one command at a time, in a goroutine that it has while there is something to run, so that the
// connection goes on reading: Ctrl-C, or "cancel", ends the command's context. A command that writes faster than
// its client reads waits in its Write. Up to 64 requests wait for their turn, then the connection is not read. An idle
// connection, or session, costs no goroutine where parking works, else a connection costs one. As many goroutines of commands as there
// are processors wait a fifth of a second for the next commands, of any session.
//
// Locks are taken in this order: a session's of package session, then a holder's. Neither is taken with
// that of a live held.
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

// Shell is a protocol that serves the RPC shell. Its methods may be called from any goroutine, and it may serve
// several listeners. Sessions outlive connections, and so does what runs in them: it needs to be closed.
type Shell struct {
	opts     Options
	registry Registry
	sessions *session.Manager[State]
	root     *os.Root // nil: none
	protocol protocol.Protocol
	began    time.Time

	ctx    context.Context // of commands
	cancel context.CancelCauseFunc
	jobs   sync.WaitGroup

	requests, failures atomic.Uint64
	lives              sync.Map // *live by *session.Session[State]: those somebody has been attached to

	mu     sync.Mutex
	conns  map[*conn]struct{}
	idle   []chan job // workers that wait, the latest last
	used   bool       // one of them has been, since tidy was called last
	tidied bool       // tidy is going to be called
	closed bool
}

// New returns a shell with the built-in commands and those of the options. The error joins all faults of these.
func New(opts Options) (*Shell, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Shell{opts: opts.withDefaults(), conns: map[*conn]struct{}{}, began: time.Now()}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	err := s.registry.Add(s.builtins()...)
	if err == nil {
		err = errors.Join(s.registry.Add(opts.Commands...), s.addPrograms(opts.Programs))
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
		Codec: codec{s.opts.MaxLine}, ReadTimeout: s.opts.ReadTimeout, Queue: s.opts.Queue,
	})
	return s, nil
}

// sessionOptions has the shell told when a session ends.
func (s *Shell) sessionOptions() session.Options[State] {
	o := s.opts.Sessions
	told := o.OnEnd
	o.OnEnd = func(one *session.Session[State]) {
		if lv, ok := s.lives.LoadAndDelete(one); ok {
			lv.(*live).end()
		}
		if told != nil {
			told(one)
		}
	}
	return o
}

// Serve runs one connection.
func (s *Shell) Serve(ctx context.Context, conn *transport.Conn) error {
	return s.protocol.Serve(ctx, conn)
}

// Unwrap makes s a [protocol.Unwrapper]: its idle connections are parked.
func (s *Shell) Unwrap() protocol.Protocol { return s.protocol }

// Registry returns the shell's commands, to add some.
func (s *Shell) Registry() *Registry { return &s.registry }

// Sessions returns the manager of the shell's sessions, to list and end them.
func (s *Shell) Sessions() *session.Manager[State] { return s.sessions }

// Close cancels all commands, waits for them, and closes the sessions' manager, which saves them. Connections that are
// still there are ended with [ErrClosed]. The error is that of the manager or the cause of ctx; Close may be called again then.
func (s *Shell) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.dismiss()
	for c := range s.conns {
		c.peer.Close(ErrClosed)
	}
	s.mu.Unlock()
	s.cancel(ErrClosed)
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

// enter notes a connection.
func (s *Shell) enter(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.conns[c] = struct{}{}
	return nil
}

func (s *Shell) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
