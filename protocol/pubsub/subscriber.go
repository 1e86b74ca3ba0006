package pubsub

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"goranch/protocol"
	"goranch/protocol/session"
)

// state is what a session keeps.
type state struct {
	Topics []string
	live   *subscriber // nil: the session comes from the store, and nobody has attached yet
}

// subscriber is a session at work: what it has subscribed to, and over which connection it is
// reached, if it is. Its lock comes before those of topics, and those before that of the session.
type subscriber struct {
	s       *Server
	session *session.Session[state]

	mu     sync.Mutex
	peer   *protocol.Peer // nil: away
	topics []string
	gone   bool // the session has ended
}

// direct reports whether sub gets its messages through groups. sub.mu is held.
func (sub *subscriber) direct() bool { return !slices.ContainsFunc(sub.topics, isPattern) }

// usable returns why p can ask for nothing any more: the session has ended, or another connection has
// it now. sub.mu is held.
func (sub *subscriber) usable(p *protocol.Peer) error {
	switch {
	case sub.gone:
		return session.ErrUnknown
	case sub.peer != p:
		return ErrTakenOver
	}
	return nil
}

// subscribe adds a topic for p. answer is called when it has taken effect, before any of its messages
// is sent, with the history that was asked for.
func (sub *subscriber) subscribe(p *protocol.Peer, name string, past int, answer func(past [][]byte) error) error {
	s := sub.s
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if err := sub.usable(p); err != nil {
		return err
	}
	if slices.Contains(sub.topics, name) {
		return answer(s.past(name, past))
	}
	if len(sub.topics) >= s.opts.MaxSubscriptions {
		return limited("subscriptions of one client", s.opts.MaxSubscriptions)
	}
	before := sub.topics
	sub.topics = append(sub.topics, strings.Clone(name))
	if isPattern(name) && !slices.ContainsFunc(before, isPattern) {
		sub.move(before, p) // before the pattern can bring it something a second time
	}
	t, err := s.topics.make(name)
	if err != nil {
		sub.topics = before
		sub.move(before, p)
		return err
	}
	err = answer(t.past.last(past))
	t.join(sub, p, sub.direct())
	s.topics.release(t)
	return errors.Join(err, sub.save())
}

// save has the Store keep the topics.
func (sub *subscriber) save() error {
	if sub.s.opts.Store == nil {
		return nil
	}
	names := slices.Clone(sub.topics)
	return sub.session.Do(func(st *state) { st.Topics = names })
}

// unsubscribe takes a topic away; one that was not subscribed to does not matter.
func (sub *subscriber) unsubscribe(p *protocol.Peer, name string) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if err := sub.usable(p); err != nil {
		return err
	}
	i := slices.Index(sub.topics, name)
	if i < 0 {
		return nil
	}
	before := sub.direct()
	sub.topics = slices.Delete(sub.topics, i, i+1)
	sub.forsake(name)
	if sub.direct() != before {
		sub.move(sub.topics, p)
	}
	return sub.save()
}

// forsake leaves a topic. sub.mu is held.
func (sub *subscriber) forsake(name string) {
	if t := sub.s.topics.get(name); t != nil {
		t.leave(sub, sub.peer)
		sub.s.topics.release(t)
	}
}

// move puts sub where it belongs in these topics. It was reached over the peer was, nil if it
// was not. sub.mu is held.
func (sub *subscriber) move(names []string, was *protocol.Peer) {
	direct := sub.direct()
	for _, name := range names {
		t, err := sub.s.topics.make(name)
		if err != nil {
			continue // there were too many when it came back from the store
		}
		if sub.peer != nil {
			t.drain(was) // what was published before still arrives, and first
		}
		t.leave(sub, was)
		t.join(sub, sub.peer, direct)
		sub.s.topics.release(t)
	}
}

// attach has sub reached over p from now on, unless somebody else has attached since lease was given.
func (sub *subscriber) attach(p *protocol.Peer, lease *session.Session[state]) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.gone {
		return session.ErrUnknown
	}
	if err := lease.View(func(*state) {}); err != nil {
		return err
	}
	was := sub.peer
	sub.peer = p
	sub.move(sub.topics, was)
	return nil
}

// detach notes that p has gone, and leaves the session for another connection if it is worthwhile; else
// the session has to be ended.
func (sub *subscriber) detach(p *protocol.Peer, lease *session.Session[state]) (worthwhile bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.peer != p {
		return !errors.Is(lease.Detach(), session.ErrUnknown)
	}
	sub.peer = nil
	if len(sub.topics) == 0 || errors.Is(lease.Detach(), session.ErrUnknown) {
		return false
	}
	sub.move(sub.topics, p) // after Detach: what comes now is kept
	return true
}

// end leaves all topics.
func (sub *subscriber) end() {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for _, name := range sub.topics {
		sub.forsake(name)
	}
	sub.topics, sub.gone = nil, true
}
