// Package natsbroker provides a broker that connects topic servers through NATS: messages of
// ordered topics are stored in a JetStream stream, which gives them their positions, and other
// messages are sent with core NATS.
//
//	b, err := natsbroker.New(natsbroker.Options{URL: "nats://nats.example.org"})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer b.Close()
//	topics, err := pubsub.NewServer(pubsub.Options{Broker: b})
//
// docs/cluster.md describes the guarantees.
package natsbroker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"goranch/protocol/pubsub"
)

const keyWindow = pubsub.KeyWindow

// Broker is a [pubsub.Broker] for one server. All methods may be called from any goroutine.
type Broker struct {
	opts     Options
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   atomic.Pointer[stream] // nil until it is found
	receiver receiver
	state    state
	shards   []*shard
	interest interest
	patterns chan *nats.Msg // of subscriptions to patterns
	sent     sent
	nodes    nodes
	presence presence
	counters counters

	wake    chan struct{} // has one element when the monitor has to check the stream
	slow    atomic.Int32  // checks of all topics that follow a full queue, because it may still be full
	recheck atomic.Bool   // the monitor has to check all topics
	rewound atomic.Bool   // the stream has lost its last messages since the last check of all topics
	missing time.Time     // of the monitor: since when the stream does not exist; zero if it does
	settled settled
	former  formerStreams // of the monitor
	ctx     context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// settled is the offset up to which all copies of the stream are assumed to have all messages. A
// copy that answers may lag behind, so the last message at the time of a check counts only after
// checkInterval.
type settled struct {
	upTo  atomic.Uint64
	last  uint64    // of the monitor: the last message at the time since
	since time.Time // of the monitor
}

// add records the last message of the stream as its leader knows it.
func (s *settled) add(last uint64) {
	if !s.since.IsZero() && time.Since(s.since) < checkInterval {
		return
	}
	s.upTo.Store(s.last)
	s.last, s.since = last, time.Now()
}

func (s *settled) reset() {
	s.upTo.Store(0)
	s.last, s.since = 0, time.Time{}
}

type counters struct {
	reconnects, slow, gaps, filled, lost, missed atomic.Uint64
}

// Stats holds the counters of a [Broker] since it was created.
type Stats struct {
	Connected  bool
	Epoch      string // of the stream; "" before it is found
	Nodes      int    // other nodes that are alive
	Topics     int    // topics and patterns that this server is subscribed to
	Reconnects uint64
	Slow       uint64 // events of a full queue, from which messages were dropped; those of ordered topics are filled
	Gaps       uint64 // gaps of ordered topics
	Filled     uint64 // messages with which gaps were filled
	Lost       uint64 // gaps that could not be filled, and were announced to clients
	Missed     uint64 // messages of other topics that were lost
}

// New returns a broker. It need not be connected yet: until then its state is degraded. The error
// is about the options.
func New(opts Options) (*Broker, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	b := &Broker{opts: opts.withDefaults(), wake: make(chan struct{}, 1), patterns: make(chan *nats.Msg, maxQueue)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.interest.byTopic = make(map[string]*interestIn)
	for range numShards {
		b.shards = append(b.shards, newShard(b))
	}
	b.state.connection, b.state.stream = errConnecting, errNoStream
	nc, err := nats.Connect(b.opts.URL, append(b.connectOptions(), b.opts.NATS...)...)
	if err != nil {
		b.cancel()
		return nil, fmt.Errorf("NATS: %w", err)
	}
	b.nc = nc
	if b.js, err = jetstream.New(nc); err == nil {
		err = b.listen()
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("NATS: %w", err)
	}
	if nc.IsConnected() {
		b.setState(&b.state.connection, nil)
	}
	for _, sh := range b.shards {
		b.done.Go(sh.run)
	}
	b.done.Go(b.forward)
	b.done.Go(b.monitor)
	return b, nil
}

// connectOptions makes the connection reconnect without a limit. Messages are not buffered
// meanwhile: they would be sent after their publish was refused.
func (b *Broker) connectOptions() []nats.Option {
	return []nats.Option{
		nats.Name("ranch " + b.opts.Node), nats.NoEcho(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), nats.ReconnectBufSize(-1), nats.Timeout(5 * time.Second),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2), nats.CustomReconnectDelay(reconnectDelay),
		nats.ConnectHandler(func(*nats.Conn) { b.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.counters.reconnects.Add(1); b.connected() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil {
				err = errConnecting
			}
			b.setState(&b.state.connection, err)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.setState(&b.state.connection, err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				b.counters.slow.Add(1)
				b.slow.Store(slowChecks)
				b.checkSoon()
			}
			b.opts.OnError(fmt.Errorf("NATS: %w", err))
		}),
	}
}

// connected is called when the subscriptions are in effect again. It makes the monitor check for
// messages that were missed.
func (b *Broker) connected() {
	b.setState(&b.state.connection, nil)
	b.checkSoon()
}

// checkSoon makes the monitor check the stream and all topics.
func (b *Broker) checkSoon() {
	b.recheck.Store(true)
	b.wakeMonitor()
}

func (b *Broker) wakeMonitor() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Close ends the connection and all goroutines. The server must be closed first.
func (b *Broker) Close() error {
	if b.nc != nil && b.nc.IsConnected() {
		b.nc.Publish(b.subject(heartbeats), []byte(leaving+b.opts.Node))
		b.nc.FlushTimeout(time.Second)
	}
	b.cancel()
	if b.nc != nil {
		b.nc.Close()
	}
	b.done.Wait()
	return nil
}

// receiver is the server. Its methods are called with mu read-locked.
type receiver struct {
	mu sync.RWMutex
	r  pubsub.Receiver // nil before Receive and after its stop
}

func (b *Broker) withReceiver(f func(pubsub.Receiver)) {
	b.receiver.mu.RLock()
	defer b.receiver.mu.RUnlock()
	if b.receiver.r != nil {
		f(b.receiver.r)
	}
}

// Receive registers the server.
func (b *Broker) Receive(r pubsub.Receiver) (stop func(), err error) {
	b.receiver.mu.Lock()
	defer b.receiver.mu.Unlock()
	if b.receiver.r != nil {
		return nil, errors.New("the broker has a server already")
	}
	b.receiver.r = r
	r.State(b.state.get())
	return func() {
		b.receiver.mu.Lock()
		defer b.receiver.mu.Unlock()
		b.receiver.r = nil
	}, nil
}

// Ordered reports whether a topic is ordered.
func (b *Broker) Ordered(topic string) bool { return b.opts.Ordered(topic) }

// Stats returns the current counters.
func (b *Broker) Stats() Stats {
	c, st := &b.counters, Stats{Connected: b.nc.IsConnected(), Nodes: b.nodes.count(), Topics: b.interest.count()}
	if s := b.stream.Load(); s != nil {
		st.Epoch = s.epoch
	}
	st.Reconnects, st.Slow, st.Gaps, st.Filled = c.reconnects.Load(), c.slow.Load(), c.gaps.Load(), c.filled.Load()
	st.Lost, st.Missed = c.lost.Load(), c.missed.Load()
	return st
}

func randomToken() string { return rand.Text()[:13] }
