// Package nodes provides the membership of a cluster over NATS: heartbeats between the nodes, and
// commands of operators that run at other nodes.
//
//	n, err := nodes.New(nc, nodes.Options{Name: "a", State: state, Load: load, Commands: commands})
//	if err != nil {
//		return err
//	}
//	defer n.Close()
//	if err := n.Start(); err != nil {
//		return err
//	}
//	sh, err := shell.New(shell.Options{Commands: n.Commands(commands)})
//
// The role of an operator is checked at the node to which the operator is connected. Another node
// runs a command with the role and the name that the request has, so a client that can publish to
// the subjects of this package has the rights of an operator at all nodes.
package nodes

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/internal/option"
	"goranch/protocol/shell"
)

// Options configures [New].
type Options struct {
	// Name is the name of this node, as [ValidName] allows it. Each node needs another one. It is
	// required.
	Name string
	// State returns the state of this node, one of the first four of [States], and its reason. It
	// is called each second, and for each heartbeat and list, concurrently, and must not block. It
	// is required.
	State func() (State, string)
	// Load returns the load of this node, for each heartbeat and list. It is called concurrently
	// and must not block. It is required.
	Load func() Load
	// Commands are those of this node, of which other nodes may call those with the flag --node.
	// nil is none.
	Commands []shell.Command
	// Audit is called after a command with Changes that another node has called, as
	// [shell.Options].Audit. nil is none.
	Audit func(shell.AuditEntry)
	// Prefix is the first token of all subjects: up to 32 letters, digits, "-" and "_". Nodes with
	// different prefixes do not see each other. "" is "ranch".
	Prefix string
	// Version is the version of the program, up to 256 bytes. "" is "unknown".
	Version string
	// Started is when the program was started. The zero value is the time of the call of New.
	Started time.Time
	// Synced returns an error if copies of the data of the cluster lag behind. nil is
	// that of the streams of the connection.
	Synced func(ctx context.Context) error
	// Logger receives warnings. nil is slog.Default().
	Logger *slog.Logger
}

// Times, which tests change.
var (
	beatInterval   = 5 * time.Second        // between heartbeats, less or more by a fifth at random
	stateInterval  = time.Second            // between comparisons of the state of this node
	answerDelay    = 500 * time.Millisecond // the longest delay of an answer to a node that arrives
	aliveInterval  = 2 * time.Second        // between keep-alives of a command that runs
	firstTimeout   = 5 * time.Second        // until the first answer to a request
	nextTimeout    = 15 * time.Second       // until the next one
	duplicateAfter = 30 * time.Second       // for which another node has the name of this one, longer than an upgrade takes
)

// Limits.
const (
	goneAfter    = 15 * time.Second // since the last heartbeat
	forgetAfter  = 10 * time.Minute
	maxNodes     = 4096
	maxBeat      = 32 << 10 // bytes
	maxRequest   = 64 << 10
	maxAnswers   = 32 << 20 // bytes of the answers to one request
	maxValues    = 1 << 20  // of the merged answers
	maxCalls     = 16       // commands of other nodes that run at the same time
	maxParallel  = 32       // nodes that are asked at the same time
	maxListeners = 64       // of a heartbeat
	maxText      = 256      // bytes of a text in a heartbeat or a request
	queueLength  = 4096     // messages pending in a subscription
	queueBytes   = 16 << 20
)

// Nodes is this node's view of the cluster. All methods may be called from any goroutine.
type Nodes struct {
	opts       Options
	nc         *nats.Conn
	instance   string     // differs after each start
	sending    sync.Mutex // makes heartbeats arrive in the order of their states
	seq        uint64     // of the last heartbeat
	dir        directory
	duplicate  duplicate
	answerSoon chan struct{}
	calls      calls
	counters   counters

	subs   []*nats.Subscription
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   sync.WaitGroup
}

type counters struct {
	rejected, served, asked atomic.Uint64
}

// Stats holds the figures of a [Nodes].
type Stats struct {
	State    State         // of this node
	Nodes    map[State]int // all known nodes by state, including this one
	Missed   uint64        // heartbeats that were not received
	Rejected uint64        // heartbeats and requests that were not valid, or of too many nodes
	Served   uint64        // commands that ran for other nodes
	Asked    uint64        // commands that were sent to other nodes
}

var errClosed = errors.New("the node is shutting down")

// New returns a node that [Nodes.Start] starts. nc need not be connected yet. It stays open after
// Close. The error joins all faults of the options.
func New(nc *nats.Conn, opts Options) (*Nodes, error) {
	option.Default(&opts.Prefix, "ranch")
	option.Default(&opts.Version, "unknown")
	option.Default(&opts.Started, time.Now())
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Audit == nil {
		opts.Audit = func(shell.AuditEntry) {}
	}
	if opts.Synced == nil {
		opts.Synced = func(ctx context.Context) error { return replicas(ctx, nc) }
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	n := &Nodes{opts: opts, nc: nc, instance: rand.Text(), answerSoon: make(chan struct{}, 1)}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	return n, nil
}

// Start starts heartbeats and answers requests of other nodes. It is called once, before Close. The
// error is that of a subscription.
func (n *Nodes) Start() error {
	for subject, f := range map[string]nats.MsgHandler{
		n.subject(beats):                 n.receiveBeat,
		n.subject(requests, n.opts.Name): n.receiveRequest,
		n.subject(cancels, n.opts.Name):  n.receiveCancel,
	} {
		sub, err := n.nc.Subscribe(subject, f)
		if err == nil {
			n.subs = append(n.subs, sub)
			err = sub.SetPendingLimits(queueLength, queueBytes)
		}
		if err != nil {
			n.Close()
			return fmt.Errorf("NATS: %w", err)
		}
	}
	n.done.Go(n.beat)
	return nil
}

func (o *Options) validate() error {
	var f option.Faults
	if !ValidName(o.Name) {
		f.Bad("Name", fmt.Sprintf("%q", o.Name), "1 to 64 letters, digits and . _ -, other than all")
	}
	if o.State == nil || o.Load == nil {
		f.Bad("State, Load", "(one is nil)", "functions")
	}
	if len(o.Prefix) > 32 || strings.Trim(o.Prefix, plain) != "" {
		f.Bad("Prefix", fmt.Sprintf("%q", o.Prefix), "up to 32 letters, digits, - and _")
	}
	if len(o.Version) > maxVersion {
		f.Bad("Version", fmt.Sprintf("%q", o.Version), "up to 256 bytes")
	}
	return f.Err()
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// Second tokens of subjects, after the prefix and "n".
const (
	beats    = "b"
	requests = "q"
	cancels  = "c"
)

// subject returns a subject. The name of a node, which may contain dots, is encoded.
func (n *Nodes) subject(kind string, node ...string) string {
	s := n.opts.Prefix + ".n." + kind
	for _, name := range node {
		s += "." + base64.RawURLEncoding.EncodeToString([]byte(name))
	}
	return s
}

// List returns all nodes that are known, this one included, sorted by name.
func (n *Nodes) List() []Node {
	return n.dir.list(time.Now(), n.self())
}

// Stats returns the current figures.
func (n *Nodes) Stats() Stats {
	st := Stats{Nodes: map[State]int{}}
	for _, node := range n.List() {
		if st.Nodes[node.State]++; node.IsSelf {
			st.State = node.State
		}
	}
	st.Missed, st.Rejected = n.dir.missedBeats(), n.counters.rejected.Load()
	st.Served, st.Asked = n.counters.served.Load(), n.counters.asked.Load()
	return st
}

// Close sends a last heartbeat, cancels commands that other nodes have called, and returns when
// these have ended.
func (n *Nodes) Close() {
	n.calls.close()
	for _, sub := range n.subs { // before the last heartbeat, after which others expect no answer
		sub.Unsubscribe() // fails if the connection is closed
	}
	n.cancel(errClosed)
	n.done.Wait()
}
