// Package natsstore provides a [session.NodeStore] in a key-value bucket of NATS JetStream. A
// client can resume its session at any node that uses the bucket.
//
//	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
//	…
//	store, err := natsstore.Open(ctx, nc, natsstore.Options{Node: "a", Replicas: 3})
//	if err != nil {
//		return err
//	}
//	sessions, err := session.New(session.Options[State]{Store: store}) // sessions.Close closes it
//
// A record is the state of a session with a lease: the node that has it and the generation. It is
// written by compare-and-set. A node takes a session over with the next generation, after it has
// asked the node that has it to save and release it. A node that misses the request, because it is
// paused or cut off, finds the takeover when it next saves the session: it never overwrites a
// record of another node. After each reconnection it saves all its sessions.
//
// The keys are SHA-256 hashes of the ids, and the ids are not in the values. Records expire by the
// clock of the server. The bucket must be open only to the nodes, because the values contain the
// states.
package natsstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/internal/sessionrecord"
	"goranch/protocol/session"
)

// ErrFormat is wrapped by errors about a bucket or a record that has another format.
var ErrFormat = errors.New("the session bucket has another format")

var errClosed = errors.New("the session store is closed")

// store is a session.NodeStore in a bucket.
type store struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	opts   Options
	times  times
	id     string // of this node

	node     session.Node
	requests *nats.Subscription // to release sessions
	dropped  int                // requests that were dropped; used by their goroutine only
	missed   chan struct{}      // receives after some were dropped
	recheck  chan struct{}      // receives when the bucket may be another one
	status   chan nats.Status
	takes    chan struct{} // slots for calls of Take
	releases chan struct{} // slots for releases
	tasks    sync.WaitGroup
	ctx      context.Context // until Close
	cancel   context.CancelCauseFunc
	joined   chan struct{} // closed by Join

	mu      sync.Mutex
	leases  map[string]*lease // by key
	retries map[releaseRetry]struct{}
	bucket  bucket
}

// lease describes a record that this node has written.
type lease struct {
	id         string
	revision   uint64
	generation uint64 // 0: about to be taken over
	claimed    uint64 // the generation with which it is about to be taken over
	released   bool   // given up, and removed by the next save
}

// maxConcurrent limits concurrent takeovers, and also concurrent releases.
const maxConcurrent = 256

// Open returns a store in a bucket of the JetStream server that nc is connected to. It creates the
// bucket if it does not exist. The caller closes nc after the store; nc must reconnect without a
// limit, by [nats.MaxReconnects] of -1, because a store whose connection was closed cannot save any
// more.
//
// The error wraps [ErrFormat], an error of nats.go, or the cause of ctx.
func Open(ctx context.Context, nc *nats.Conn, opts Options) (session.NodeStore, error) {
	s, err := open(ctx, nc, opts)
	if err != nil {
		return nil, fmt.Errorf("session store: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, nc *nats.Conn, opts Options) (*store, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	s := &store{nc: nc, js: js, opts: opts, id: opts.Node + "." + rand.Text(), times: defaultTimes,
		takes: make(chan struct{}, maxConcurrent), releases: make(chan struct{}, maxConcurrent), joined: make(chan struct{}),
		missed: make(chan struct{}, 1), recheck: make(chan struct{}, 1), leases: map[string]*lease{}, retries: map[releaseRetry]struct{}{}}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	opening, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	if s.stream, err = s.openBucket(opening); err != nil {
		return nil, s.explain(err)
	}
	s.bucket.created = s.stream.CachedInfo().Created
	s.status = nc.StatusChanged(nats.CONNECTED)
	if s.requests, err = nc.Subscribe(s.requestSubject(s.id), s.serveRelease); err != nil {
		nc.RemoveStatusListener(s.status)
		return nil, err
	}
	s.tasks.Go(s.watch)
	return s, nil
}

// Join implements [session.NodeStore].
func (s *store) Join(n session.Node) {
	s.node = n
	close(s.joined)
}

// MaxState implements [session.NodeStore].
func (s *store) MaxState() int {
	return min(s.opts.MaxState, int(s.nc.MaxPayload())-sessionrecord.Size-1-len(s.id)-1024) // of NATS headers
}

// Each is not supported: the bucket does not contain ids.
func (s *store) Each(func(session.Record) bool) error { return errors.ErrUnsupported }

// Close ends the store. The connection stays open.
func (s *store) Close() error {
	s.mu.Lock() // start does not start a task after this
	s.cancel(errClosed)
	s.mu.Unlock()
	s.nc.RemoveStatusListener(s.status)
	err := s.requests.Unsubscribe()
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription) {
		err = nil
	}
	s.tasks.Wait()
	return err
}

// watch saves all sessions after requests of other nodes may have been lost: after a reconnection,
// or when this node has received them too slowly. It also checks the bucket.
func (s *store) watch() {
	select {
	case <-s.joined:
	case <-s.ctx.Done():
		return
	}
	timer := time.NewTimer(s.times.check)
	defer timer.Stop()
	for missing := (time.Time{}); ; {
		select {
		case <-s.ctx.Done():
			return
		case _, open := <-s.status:
			if !open {
				return
			}
			s.node.Resave()
		case <-s.missed:
			s.node.Resave()
			continue
		case <-s.recheck:
		case <-timer.C:
		}
		next := s.times.check
		if missing = s.checkBucket(missing); !missing.IsZero() {
			next = s.times.create
		}
		timer.Reset(next)
	}
}
