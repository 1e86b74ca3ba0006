package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/protocol/shell"
)

// calls are the commands of other nodes that run. The zero value is none.
type calls struct {
	mu      sync.Mutex
	closed  bool
	running map[string]context.CancelCauseFunc // by the ids of requests
}

// begin returns an error if the command must not run. Otherwise start starts it; close waits for a
// start in progress.
func (c *calls) begin(id string, cancel context.CancelCauseFunc, start func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errClosed
	case len(c.running) >= maxCalls:
		return errBusy
	case c.running[id] != nil:
		return errRepeated
	}
	if c.running == nil {
		c.running = make(map[string]context.CancelCauseFunc)
	}
	c.running[id] = cancel
	start()
	return nil
}

// close refuses further commands.
func (c *calls) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func (c *calls) end(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, id)
}

func (c *calls) cancel(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.running[id]; cancel != nil {
		cancel(shell.ErrCancelled)
	}
}

var (
	errBusy       = fmt.Errorf("the node runs %d commands of other nodes already", maxCalls)
	errRepeated   = errors.New("a request with this id is in progress")
	errCallerGone = errors.New("the requesting node is gone")
	errInternal   = errors.New("internal error")
)

func (n *Nodes) receiveCancel(m *nats.Msg) { n.calls.cancel(string(m.Data)) }

// receiveRequest starts the command of a request.
func (n *Nodes) receiveRequest(m *nats.Msg) {
	if m.Reply == "" {
		n.reject(errors.New("a request without a subject for the answer"))
		return
	}
	r, err := parseRequest(m.Data)
	if err != nil {
		n.reject(err)
		n.answer(m.Reply, part{Error: shell.Usage("%v", err)})
		return
	}
	if r.Instance != "" && r.Instance != n.instance { // of another node with the same name, which answers
		return
	}
	ctx, cancel := context.WithCancelCause(n.ctx)
	run := func() {
		defer n.calls.end(r.ID)
		defer cancel(nil)
		n.serve(ctx, cancel, r, m.Reply)
	}
	if err := n.calls.begin(r.ID, cancel, func() { n.done.Go(run) }); err != nil {
		cancel(nil)
		n.reject(err)
		n.answer(m.Reply, part{Error: &shell.Error{Message: err.Error()}})
	}
}

// serve runs the command of a request and answers.
func (n *Nodes) serve(ctx context.Context, cancel context.CancelCauseFunc, r request, reply string) {
	n.answer(reply, part{})        // a keep-alive: the time limit for the next part is longer
	_, routed := routes[r.Command] // others, such as one that returns a secret, are for this node's operators
	i := slices.IndexFunc(n.opts.Commands, func(c shell.Command) bool { return c.Name == r.Command && routed })
	user, err := r.user()
	switch {
	case err != nil:
	case i < 0:
		err = &shell.Error{Code: shell.CodeUnknown, Message: fmt.Sprintf("unknown command %q; its version is %s", r.Command, n.opts.Version)}
	default:
		n.counters.served.Add(1)
		watched, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(watched)
			n.watch(stop, cancel, r, reply)
		}()
		inv := shell.Invocation{
			Args: r.Args, Flags: r.Flags, User: user, Remote: r.remote(), Audit: n.opts.Audit,
			Out:   outWriter{n, reply},
			Frame: func(v any) error { return n.answerResult(reply, v, false) },
		}
		var result any
		result, err = n.invoke(ctx, &n.opts.Commands[i], inv)
		close(stop)
		<-watched
		if n.opts.Commands[i].Changes {
			n.send(alive) // so that the requesting node has the new state before the answer
		}
		if err == nil {
			err = n.answerResult(reply, result, true)
		}
	}
	if err != nil {
		n.answer(reply, part{Error: asError(err)})
	}
}

// watch sends keep-alives while a command runs, and cancels it if the requesting node is gone.
func (n *Nodes) watch(stop <-chan struct{}, cancel context.CancelCauseFunc, r request, reply string) {
	began, tick := time.Now(), time.NewTicker(aliveInterval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			n.answer(reply, part{})
			if now := time.Now(); now.Sub(began) > goneAfter && !n.dir.alive(r.Node, now) {
				cancel(errCallerGone)
			}
		}
	}
}

// invoke runs a command. A panic costs its own request only.
func (n *Nodes) invoke(ctx context.Context, c *shell.Command, inv shell.Invocation) (result any, err error) {
	defer func() {
		if v := recover(); v != nil {
			n.opts.Logger.Error("a command panicked", "command", c.Name, "user", inv.User.Name, "panic", v, "stack", string(debug.Stack()))
			result, err = nil, errInternal
		}
	}()
	return c.Invoke(ctx, inv)
}

// asError returns the error to send, whose texts are cut.
func asError(err error) *shell.Error {
	e := &shell.Error{Message: err.Error()}
	var known *shell.Error
	if errors.As(err, &known) {
		e = &shell.Error{Code: known.Code, Message: known.Message, Suggestion: cut(known.Suggestion)}
	}
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "") + "…"
	}
	return e
}

// maxMessage is the longest message of an error in bytes.
const maxMessage = 8 << 10

// answerResult sends a result, which is the last part of the answer, or a frame.
func (n *Nodes) answerResult(reply string, v any, last bool) error {
	b, err := shell.MarshalResult(v)
	switch {
	case err != nil:
		return fmt.Errorf("the result cannot be encoded as JSON: %w", err)
	case last:
		return n.answer(reply, part{Result: b})
	}
	return n.answer(reply, part{Frame: b})
}

// answer sends a part of an answer.
func (n *Nodes) answer(reply string, p part) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if limit := n.nc.MaxPayload(); limit > 0 && int64(len(b)) > limit {
		return fmt.Errorf("the answer exceeds %d bytes, which is the largest message of NATS; ask for less", limit)
	}
	return n.nc.Publish(reply, b)
}

// outWriter sends output.
type outWriter struct {
	n     *Nodes
	reply string
}

func (w outWriter) Write(p []byte) (int, error) {
	for written := 0; written < len(p); {
		piece := p[written:min(written+pieceSize, len(p))]
		if err := w.n.answer(w.reply, part{Out: strings.ToValidUTF8(string(piece), "\ufffd")}); err != nil {
			return written, err
		}
		written += len(piece)
	}
	return len(p), nil
}

const pieceSize = 16 << 10
