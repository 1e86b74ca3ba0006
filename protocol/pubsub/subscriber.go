package pubsub

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"goranch/internal/topicname"
	"goranch/protocol"
	"goranch/protocol/session"
)

// sessionState is what a session stores. Store encodes the exported fields.
type sessionState struct {
	Topics     topicNames
	subscriber *subscriber // nil for a session from the store to which no client has attached yet
}

// size returns the memory of the session's subscriptions, in bytes.
func (st *sessionState) size() int {
	if st.subscriber != nil {
		return int(st.subscriber.bytes.Load())
	}
	return st.Topics.size()
}

// topicNames is a set that is encoded as an array.
type topicNames map[string]struct{}

// size returns the memory of subscriptions to the topics, in bytes.
func (n topicNames) size() (bytes int) {
	for name := range n {
		bytes += subscriptionBytes(name)
	}
	return bytes
}

func (n topicNames) MarshalJSON() ([]byte, error) {
	return json.Marshal(slices.Sorted(maps.Keys(n)))
}

func (n *topicNames) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return err
	}
	*n = make(topicNames, len(names))
	for _, name := range names {
		(*n)[name] = struct{}{}
	}
	return nil
}

// maxGroups limits the topics whose group a session joins. Joining and leaving a group takes time
// that grows with the number of a peer's groups.
const maxGroups = 32

// subscriber is the running side of a session: its subscriptions, and the connection through which
// it is reached. Locks are taken in the order subscriber, topic, session.
type subscriber struct {
	server  *Server
	session *session.Session[sessionState]
	bytes   atomic.Int64 // memory of the subscriptions

	mu       sync.Mutex
	peer     *protocol.Peer // nil while detached
	account  *account       // of the peer; charged with bytes
	topics   subscriptionSet
	restore  topicNames // from the store, to subscribe to when a client attaches
	rareBy   *account   // charged with rare, while that is not 0
	patterns int32      // among topics
	rare     int32      // among patterns, those of a rare shape
	grouped  int32      // among topics, those whose grouped is set
	// viaSession is set by the first pattern. It stays set until the session has no subscriptions
	// or is attached again, so that a client cannot move its subscriptions back and forth.
	viaSession bool
	ended      bool // the session has ended
}

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

// subscribe adds a subscription for p, whose messages have offsets if numbered is set, unless
// answer returns errNotJoined. It calls answer with the locked topic when the subscription is in
// effect and before any new message is delivered.
func (sub *subscriber) subscribe(p *protocol.Peer, name string, numbered bool, answer answerFunc) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if err := sub.checkPeer(p); err != nil {
		return err
	}
	if sn := sub.topics.get(name); sn != nil {
		sn.topic.mu.Lock()
		defer sn.topic.mu.Unlock()
		if numbered {
			sub.number(sn)
		}
		after, err := answer(sn.topic)
		if numbered && err == nil {
			sn.topic.history.setAhead(sn, after)
		}
		return err
	}
	if limit := sub.server.opts.MaxSubscriptions; sub.topics.len() >= limit {
		return limitError("subscriptions per session", limit)
	}
	if err := sub.account.chargeSubscriptions(subscriptionBytes(name)); err != nil {
		return err
	}
	if err := sub.add(name, numbered, answer); err != nil {
		return err
	}
	return sub.save(func(names topicNames) { names[name] = struct{}{} })
}

// answerFunc answers a subscribe request. It returns the position up to which it has sent the
// messages of a subscription with positions.
type answerFunc func(*topic) (after Position, err error)

// add adds a subscription, whose bytes the account is charged with. It calls answer, unless that is
// nil, while the topic is locked; after an error of answer other than errNotJoined the subscription
// exists. sub.mu is held.
func (sub *subscriber) add(name string, numbered bool, answer answerFunc) error {
	s, pattern := sub.server, topicname.IsPattern(name)
	if pattern && !sub.viaSession {
		sub.viaSession = true
		sub.regroup(sub.peer) // out of the groups, before the pattern can deliver a second time
	}
	t, err := s.topics.lockToSubscribe(name, sub.account, cmp.Or(sub.rareBy, sub.account))
	if err != nil {
		sub.account.releaseSubscriptions(subscriptionBytes(name))
		return err
	}
	sn := &subscription{sub: sub, topic: t, numbered: numbered}
	var after Position
	if answer != nil {
		after, err = answer(t)
	}
	if err == errNotJoined {
		sub.account.releaseSubscriptions(subscriptionBytes(name))
		s.topics.release(t)
		return err
	}
	if numbered && err == nil {
		t.history.setAhead(sn, after)
	}
	grouped := !numbered && !sub.viaSession && sub.grouped < maxGroups
	t.add(sn, sub.peer, grouped)
	if grouped {
		sn.grouped = true
		sub.grouped++
	}
	sub.topics.add(sn)
	if pattern {
		sub.patterns++
		sub.addRare(name, 1)
	}
	sub.bytes.Add(int64(subscriptionBytes(name)))
	s.topics.release(t)
	return err
}

// number makes the messages of a subscription have offsets from now on. sub.mu and the topic's lock
// are held.
func (sub *subscriber) number(sn *subscription) {
	if sub.ungroup(sn) {
		sn.topic.flushGroup(sub.peer) // earlier messages must arrive first
		sn.topic.remove(sn, sub.peer)
		sn.topic.add(sn, sub.peer, false)
	}
	sn.numbered = true
}

// ungroup clears grouped, and reports whether it was set. sub.mu is held.
func (sub *subscriber) ungroup(sn *subscription) bool {
	if !sn.grouped {
		return false
	}
	sn.grouped = false
	sub.grouped--
	return true
}

// save changes the topics in the session's state, if there is a store.
func (sub *subscriber) save(change func(topicNames)) error {
	if sub.server.opts.Store == nil {
		return nil
	}
	return sub.session.Do(func(st *sessionState) {
		if st.Topics == nil {
			st.Topics = make(topicNames)
		}
		change(st.Topics)
	})
}

// unsubscribe removes a subscription. It ignores a name that is not subscribed to.
func (sub *subscriber) unsubscribe(p *protocol.Peer, name string) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if err := sub.checkPeer(p); err != nil {
		return err
	}
	sn := sub.topics.get(name)
	if sn == nil {
		return nil
	}
	sub.topics.remove(name)
	sub.ungroup(sn)
	if sn.topic.pattern != nil {
		sub.patterns--
	}
	if sub.topics.len() == 0 {
		sub.viaSession = false
	}
	sub.leave(sn)
	return sub.save(func(names topicNames) { delete(names, name) })
}

// leave removes sub from a topic. sub.mu is held.
func (sub *subscriber) leave(sn *subscription) {
	n := subscriptionBytes(sn.topic.name)
	sub.account.releaseSubscriptions(n)
	sub.bytes.Add(-int64(n))
	if sn.topic.pattern != nil {
		sub.addRare(sn.topic.name, -1)
	}
	sn.topic.mu.Lock()
	sn.topic.remove(sn, sub.peer)
	sub.server.topics.release(sn.topic)
}

// regroup moves the grouped subscriptions to where they belong, the group or the session, after
// the connection or viaSession has changed. old is the connection before that, or nil. sub.mu is
// held.
func (sub *subscriber) regroup(old *protocol.Peer) {
	if sub.grouped == 0 {
		return
	}
	for sn := range sub.topics.all() {
		if !sn.grouped {
			continue
		}
		t := sn.topic
		t.mu.Lock()
		if sub.peer != nil {
			t.flushGroup(old) // earlier messages must arrive first
		}
		t.remove(sn, old)
		t.add(sn, sub.peer, !sub.viaSession)
		t.mu.Unlock()
	}
}

// attach makes p the connection of sub, unless another one has attached since lease was granted.
func (sub *subscriber) attach(p *protocol.Peer, a *account, lease *session.Session[sessionState]) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.ended {
		return session.ErrUnknown
	}
	if err := lease.View(func(*sessionState) {}); err != nil {
		return err
	}
	maps.DeleteFunc(sub.restore, func(name string, _ struct{}) bool {
		return checkTopic(name, sub.server.opts.MaxTopic) != nil
	})
	if err := sub.chargeAttached(a); err != nil {
		return err
	}
	old := sub.peer
	sub.setPeer(p, a)
	sub.viaSession = sub.patterns > 0
	sub.regroup(old)
	for name := range sub.restore {
		sub.add(name, false, nil) // MaxTopics may have been reached since the restart
	}
	sub.restore = nil
	return nil
}

// chargeAttached charges the account of a connection that attaches with all subscriptions. It does
// not refuse a session of the same address, which setPeer releases afterwards. sub.mu is held.
func (sub *subscriber) chargeAttached(a *account) error {
	attached := int(sub.bytes.Load()) // of a session in use; setPeer releases them
	if sub.account == a {
		a.add(&a.subscriptions, attached)
		return nil
	}
	return a.chargeSubscriptions(attached + sub.restore.size()) // one of them is 0
}

// setPeer changes the connection. Its account is charged with the bytes of the subscriptions
// already, and releases those of the one before. sub.mu is held.
func (sub *subscriber) setPeer(p *protocol.Peer, a *account) {
	sub.account.releaseSubscriptions(int(sub.bytes.Load()))
	sub.peer, sub.account = p, a
}

// addRare counts a subscription to a pattern of a rare shape, whose number is limited for each
// source address. The account stays charged while the session is detached. sub.mu is held.
func (sub *subscriber) addRare(name string, n int) {
	if !isRare(name) {
		return
	}
	if sub.rare == 0 {
		sub.rareBy = sub.account
		sub.rareBy.retain()
	}
	sub.rare += int32(n)
	sub.rareBy.rare.Add(int64(n))
	if sub.rare == 0 {
		sub.rareBy.close()
		sub.rareBy = nil
	}
}

// detach detaches p from the session, which is kept for a later attach. It reports false if the
// caller has to end the session instead, because it has no subscriptions or has ended.
func (sub *subscriber) detach(p *protocol.Peer, lease *session.Session[sessionState]) (kept bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.peer != p {
		return !errors.Is(lease.Detach(), session.ErrUnknown)
	}
	if sub.topics.len() == 0 || errors.Is(lease.Detach(), session.ErrUnknown) {
		return false // end needs the peer to leave its groups
	}
	sub.setPeer(nil, nil)
	sub.regroup(p) // after Detach, so that the session buffers what follows
	return true
}

// end removes all subscriptions when the session has ended.
func (sub *subscriber) end() {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for sn := range sub.topics.all() {
		sub.leave(sn)
	}
	sub.topics, sub.grouped, sub.patterns, sub.ended = subscriptionSet{}, 0, 0, true
	sub.setPeer(nil, nil)
}

// endQueue ends subscribers in a goroutine of its own: a session may be evicted while locks are
// held that end needs, such as that of a topic that delivers to another session.
type endQueue struct {
	mu      sync.Mutex
	pending []*subscriber
	running bool
	done    sync.WaitGroup
}

func (q *endQueue) add(sub *subscriber) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = append(q.pending, sub)
	if !q.running {
		q.running = true
		q.done.Go(q.run)
	}
}

func (q *endQueue) run() {
	for {
		q.mu.Lock()
		batch := q.pending
		q.pending = nil
		q.running = len(batch) > 0
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, sub := range batch {
			sub.end()
		}
	}
}
