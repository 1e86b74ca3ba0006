// Package pubsub provides a topic server: a message that is published to a topic is delivered to
// every session that is subscribed to it. The server speaks the wire protocol of the Janus server
// of hotwheels, byte for byte, with extensions.
//
//	s, err := pubsub.NewServer(pubsub.Options{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close(context.Background())
//	_, err = ranch.StartListener("topics", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:8081"}, s)
//
// Each client has a session, which outlives its connection: it buffers messages while the client is
// disconnected, and delivers them when the client attaches to it again. docs/topics.md describes
// delivery, limits and the wire protocol.
package pubsub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"goranch/protocol"
	"goranch/protocol/session"
	"goranch/transport"
)

// ErrTakenOver ends a connection whose session was attached to another connection.
var ErrTakenOver = errors.New("the session was attached to another connection")

var (
	errLimit  = fmt.Errorf("%w: limit exceeded", protocol.ErrBadInput) // of [Options]
	errSilent = fmt.Errorf("%w: too many heartbeats without an answer", protocol.ErrBadInput)
)

func limitError(what string, limit int) error {
	return fmt.Errorf("%w: at most %d %s", errLimit, limit, what)
}

// Server is a protocol that serves topics. One Server may serve several listeners. All methods may
// be called from any goroutine.
type Server struct {
	opts         Options
	created      time.Time // see now
	epoch        string    // of all positions
	protocol     protocol.Protocol
	sessions     *session.Manager[sessionState]
	topics       topicTable
	patterns     patternIndex
	monitor      monitor
	accounts     accounts
	keys         keyTable
	degraded     atomic.Pointer[error] // the Broker's state
	counters     counters
	ended        endQueue
	stopReceiver func() // ends the reception of messages from the broker
}

type counters struct{ published, delivered, dropped, refused, slow, silent, gaps, unsent atomic.Uint64 }

// Stats holds the counters of a [Server] since it was created, and its current sizes.
type Stats struct {
	Clients   int    // open connections
	Topics    int    // topics and patterns, including topics that are kept only for their history
	Published uint64 // messages published by clients, by Publish and by the Broker
	Delivered uint64 // deliveries to a subscriber, or into the buffer of a detached session
	Dropped   uint64 // deliveries dropped because the client's queue was full
	Refused   uint64 // clients closed because of a request that was refused
	Slow      uint64 // clients closed because their queue was full
	Silent    uint64 // clients closed because they did not answer heartbeats
	Gaps      uint64 // messages of ordered topics that the Broker could not deliver, each gap counted once
	Unsent    uint64 // messages of other topics that the Broker did not accept for other servers
	Sessions  session.Stats
}

// NewServer returns a server. The error joins all faults of the options, or is the error of
// Options.Store or Options.Broker.
func NewServer(opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts.withDefaults(), created: time.Now(), epoch: rand.Text(), stopReceiver: func() {}}
	s.topics.server, s.topics.seed, s.patterns.seed = s, maphash.MakeSeed(), maphash.MakeSeed()
	s.topics.histories.limit = int64(s.opts.HistoryTotal)
	s.accounts.init(&s.opts)
	s.monitor.server = s
	s.keys.limit = s.opts.MaxKeys
	s.opts.Queue.Frames = s.countDropped
	s.protocol = protocol.Handle(func() protocol.Handler { return &handler{server: s} },
		protocol.Options{Codec: codec{}, Queue: s.opts.Queue})
	var err error
	s.sessions, err = session.New(session.Options[sessionState]{
		TTL: s.opts.SessionTTL, Max: s.opts.MaxSessions, Evict: true, MaxOutput: s.opts.MaxBuffered,
		Store: s.opts.Store, OnError: s.opts.OnError, OnEnd: s.sessionEnded, Size: (*sessionState).size,
		MaxPerAddress: s.opts.MaxSessionsPerAddress, MaxBytesPerAddress: min(s.opts.MaxSessionsPerAddress, 0),
	})
	if err != nil {
		return nil, fmt.Errorf("topic server: %w", err)
	}
	if b := s.opts.Broker; b != nil {
		if s.stopReceiver, err = b.Receive((*receiver)(s)); err != nil {
			return nil, errors.Join(fmt.Errorf("topic server: broker: %w", err), s.sessions.Close(context.Background()))
		}
	}
	return s, nil
}

// now is the clock of the server, in nanoseconds since it was created. It is monotonic.
func (s *Server) now() int64 { return int64(time.Since(s.created)) }

// countDropped counts the messages in b, the frames that a queue has dropped. It returns how many
// dropped messages the client does not know of: those in b, and those that dropped notices in b
// would have reported.
func (s *Server) countDropped(b []byte) int {
	messages, unreported := droppedIn(b)
	s.counters.dropped.Add(uint64(messages))
	return messages + unreported
}

func (s *Server) sessionEnded(ended *session.Session[sessionState]) {
	var sub *subscriber
	ended.View(func(st *sessionState) { sub = st.subscriber })
	if sub != nil {
		s.ended.add(sub)
	}
}

// Serve serves one connection.
func (s *Server) Serve(ctx context.Context, conn *transport.Conn) error {
	return s.protocol.Serve(ctx, conn)
}

// Unwrap returns the protocol of the connections, as [protocol.Handle] describes: idle connections
// can be parked.
func (s *Server) Unwrap() protocol.Protocol { return s.protocol }

// Close saves the sessions and stops the background goroutines. The listeners must be stopped
// first. The error is that of Options.Store, or the cause of ctx.
func (s *Server) Close(ctx context.Context) error {
	s.stopReceiver()
	s.monitor.close()
	err := s.sessions.Close(ctx)
	s.ended.done.Wait()
	return err
}

// Subscribers returns how many sessions are subscribed to name, a topic or a pattern, including
// detached sessions. Patterns that match a topic do not count for the topic.
func (s *Server) Subscribers(name string) int {
	t := s.topics.lock(name)
	if t == nil {
		return 0
	}
	defer t.mu.Unlock()
	return t.subscribers()
}

// Stats returns the current counters.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{
		Clients: int(s.monitor.clients.Load()), Topics: int(s.topics.count.Load()),
		Published: c.published.Load(), Delivered: c.delivered.Load(), Dropped: c.dropped.Load(),
		Refused: c.refused.Load(), Slow: c.slow.Load(), Silent: c.silent.Load(),
		Gaps: c.gaps.Load(), Unsent: c.unsent.Load(), Sessions: s.sessions.Stats(),
	}
}

// Sessions returns all sessions, in no particular order.
func (s *Server) Sessions() []session.Info { return s.sessions.List() }

// EndSession ends a session and closes its connection if it has one. The error is
// [session.ErrUnknown] if there is no session with this token.
func (s *Server) EndSession(token string) error { return s.sessions.End(token) }
