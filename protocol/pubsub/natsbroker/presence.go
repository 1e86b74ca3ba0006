package natsbroker

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"goranch/protocol/pubsub"
)

// First bytes of heartbeats, before the name of the node.
const (
	arriving = "+" // others answer with a heartbeat
	alive    = "="
	leaving  = "-"
)

// nodes holds the other nodes that are alive, with the time of their last heartbeats.
type nodes struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (n *nodes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.alive())
}

// alive removes the nodes that have sent no heartbeat for too long, and returns the others. n.mu is
// held.
func (n *nodes) alive() map[string]time.Time {
	for name, at := range n.seen {
		if time.Since(at) > nodeExpiry {
			delete(n.seen, name)
		}
	}
	return n.seen
}

// beat handles a heartbeat.
func (n *nodes) beat(kind, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case kind == leaving:
		delete(n.seen, name)
	case len(n.seen) < maxNodes || !n.seen[name].IsZero():
		if n.seen == nil {
			n.seen = make(map[string]time.Time)
		}
		n.seen[name] = time.Now()
	}
}

// listen subscribes to heartbeats, requests of presence, and advisories of the stream.
func (b *Broker) listen() error {
	for subject, f := range map[string]func(*nats.Msg){
		b.subject(heartbeats):                           b.handleHeartbeat,
		b.subject(presenceRequests):                     b.handlePresence,
		"$JS.EVENT.ADVISORY.STREAM.*." + b.streamName(): func(*nats.Msg) { b.wakeMonitor() },
	} {
		if _, err := b.nc.Subscribe(subject, f); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) handleHeartbeat(m *nats.Msg) {
	if len(m.Data) < 2 || !isNodeName(string(m.Data[1:])) || string(m.Data[1:]) == b.opts.Node {
		return
	}
	kind := string(m.Data[:1])
	b.nodes.beat(kind, string(m.Data[1:]))
	if kind == arriving {
		b.sendHeartbeat(alive)
	}
}

func (b *Broker) sendHeartbeat(kind string) {
	b.nc.Publish(b.subject(heartbeats), []byte(kind+b.opts.Node)) // the next one follows
}

// handlePresence answers with the number of subscribers of this server.
func (b *Broker) handlePresence(m *nats.Msg) {
	b.withReceiver(func(r pubsub.Receiver) {
		m.Respond(fmt.Appendf(nil, "%d %s", r.Subscribers(string(m.Data)), b.opts.Node))
	})
}

// maxFresh limits the answers that are kept.
const maxFresh = 1024

// presence caches answers for presenceFresh, so that many requests of clients cost one.
type presence struct {
	mu    sync.Mutex
	fresh map[string]presenceAnswer
}

type presenceAnswer struct {
	n  int
	at time.Time
}

// Presence asks the other nodes that are alive. A node that does not answer within a second has no
// subscribers.
func (b *Broker) Presence(ctx context.Context, topic string) (int, error) {
	b.presence.mu.Lock()
	a, ok := b.presence.fresh[topic]
	b.presence.mu.Unlock()
	if ok && time.Since(a.at) < presenceFresh {
		return a.n, nil
	}
	n, err := b.requestPresence(ctx, topic)
	if err != nil {
		return n, err
	}
	b.presence.mu.Lock()
	defer b.presence.mu.Unlock()
	if b.presence.fresh == nil || len(b.presence.fresh) >= maxFresh {
		b.presence.fresh = make(map[string]presenceAnswer)
	}
	b.presence.fresh[topic] = presenceAnswer{n, time.Now()}
	return n, nil
}

func (b *Broker) requestPresence(ctx context.Context, topic string) (n int, err error) {
	b.nodes.mu.Lock()
	waiting := make(map[string]bool)
	for name := range b.nodes.alive() {
		waiting[name] = true
	}
	b.nodes.mu.Unlock()
	if len(waiting) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	inbox := b.nc.NewRespInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err == nil {
		defer sub.Unsubscribe()
		err = b.nc.PublishRequest(b.subject(presenceRequests), inbox, []byte(topic))
	}
	if err != nil {
		return 0, unavailable(err)
	}
	for len(waiting) > 0 {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return n, nil // the remaining nodes do not answer in time
		}
		count, name, _ := strings.Cut(string(m.Data), " ")
		if k, err := strconv.Atoi(count); err == nil && k >= 0 && waiting[name] {
			delete(waiting, name)
			n += k
		}
	}
	return n, nil
}
