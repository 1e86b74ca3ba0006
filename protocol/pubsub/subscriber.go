package pubsub

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"goranch/protocol"
	"goranch/protocol/session"
)

// sessionState is what a session stores. Store encodes the exported fields.
type sessionState struct {
	Topics     []string
	subscriber *subscriber // nil for a session from the store to which no client has attached yet
}

// subscriber is the running side of a session: its subscriptions, and the connection through which
// it is reached. Locks are taken in the order subscriber, topic, session.
type subscriber struct {
	server  *Server
	session *session.Session[sessionState]

	mu     sync.Mutex
	peer   *protocol.Peer // nil while detached
	topics []string
	ended  bool // the session has ended
}

// usesGroups reports whether sub receives its messages through the groups of its topics. sub.mu is
// held.
func (sub *subscriber) usesGroups() bool { return !slices.ContainsFunc(sub.topics, isPattern) }

// checkPeer returns an error if p may make no more requests, because the session has ended or
// another connection has attached to it. sub.mu is held.
func (sub *subscriber) checkPeer(p *protocol.Peer) error {
	switch {
	case sub.ended:
		return session.ErrUnknown
	case sub.peer != p:
		return ErrTakenOver
	}
	return nil
}

// subscribe adds a subscription on behalf of p. It calls answer with the last messages of the
// topic, at most history of them, when the subscription is in effect and before any new message is
// delivered.
func (sub *subscriber) subscribe(p *protocol.Peer, name string, history int, answer func(recent [][]byte) error) error {
	s := sub.server
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if err := sub.checkPeer(p); err != nil {
		return err
	}
	if slices.Contains(sub.topics, name) {
		return answer(s.recent(name, history))
	}
	if len(sub.topics) >= s.opts.MaxSubscriptions {
		return limitError("subscriptions per session", s.opts.MaxSubscriptions)
	}
	before := sub.topics
	sub.topics = append(sub.topics, strings.Clone(name))
	if isPattern(name) && !slices.ContainsFunc(before, isPattern) {
		sub.rejoin(before, p) // out of the groups, before the pattern can deliver a second time
	}
	t, err := s.topics.lockOrCreate(name)
	if err != nil {
		sub.topics = before
		sub.rejoin(before, p)
		return err
	}
	err = answer(t.history.last(history))
	t.add(sub, p, sub.usesGroups())
	s.topics.release(t)
	return errors.Join(err, sub.save())
}

// save updates the topics in the session's state, if there is a store.
func (sub *subscriber) save() error {
	if sub.server.opts.Store == nil {
		return nil
	}
	names := slices.Clone(sub.topics)
	return sub.session.Do(func(st *sessionState) { st.Topics = names })
}

// unsubscribe removes a subscription. It ignores a name that is not subscribed to.
func (sub *subscriber) unsubscribe(p *protocol.Peer, name string) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if err := sub.checkPeer(p); err != nil {
		return err
	}
	i := slices.Index(sub.topics, name)
	if i < 0 {
		return nil
	}
	before := sub.usesGroups()
	sub.topics = slices.Delete(sub.topics, i, i+1)
	sub.leave(name)
	if sub.usesGroups() != before {
		sub.rejoin(sub.topics, p)
	}
	return sub.save()
}

// leave removes sub from a topic. sub.mu is held.
func (sub *subscriber) leave(name string) {
	if t := sub.server.topics.lock(name); t != nil {
		t.remove(sub, sub.peer)
		sub.server.topics.release(t)
	}
}

// rejoin moves sub to where it belongs in the named topics, the group or viaSessions, after its
// connection or usesGroups has changed. old is its connection before that, or nil. sub.mu is held.
func (sub *subscriber) rejoin(names []string, old *protocol.Peer) {
	viaGroup := sub.usesGroups()
	for _, name := range names {
		t, err := sub.server.topics.lockOrCreate(name)
		if err != nil {
			continue // MaxTopics was reached before this session attached after a restart
		}
		if sub.peer != nil {
			t.flushGroup(old) // earlier messages must arrive first
		}
		t.remove(sub, old)
		t.add(sub, sub.peer, viaGroup)
		sub.server.topics.release(t)
	}
}

// attach makes p the connection of sub, unless another one has attached since lease was granted.
func (sub *subscriber) attach(p *protocol.Peer, lease *session.Session[sessionState]) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.ended {
		return session.ErrUnknown
	}
	if err := lease.View(func(*sessionState) {}); err != nil {
		return err
	}
	old := sub.peer
	sub.peer = p
	sub.rejoin(sub.topics, old)
	return nil
}

// detach detaches p from the session, which is kept for a later attach. It reports false if the
// caller has to end the session instead, because it has no subscriptions or has ended.
func (sub *subscriber) detach(p *protocol.Peer, lease *session.Session[sessionState]) (kept bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.peer != p {
		return !errors.Is(lease.Detach(), session.ErrUnknown)
	}
	sub.peer = nil
	if len(sub.topics) == 0 || errors.Is(lease.Detach(), session.ErrUnknown) {
		return false
	}
	sub.rejoin(sub.topics, p) // after Detach, so that the session buffers what follows
	return true
}

// end removes all subscriptions when the session has ended.
func (sub *subscriber) end() {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for _, name := range sub.topics {
		sub.leave(name)
	}
	sub.topics, sub.ended = nil, true
}
