package pubsub

import (
	"slices"
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

// subscribe adds a topic. answer is called when it has taken effect, before any of its messages
// is sent, with the history that was asked for.
func (sub *subscriber) subscribe(name string, past int, answer func(past [][]byte)) error {
	s := sub.s
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if slices.Contains(sub.topics, name) {
		answer(s.past(name, past))
		return nil
	}
	if len(sub.topics) >= s.opts.MaxSubscriptions {
		return limited("subscriptions of one client", s.opts.MaxSubscriptions)
	}
	if isPattern(name) && sub.direct() {
		sub.topics = append(sub.topics, name)
		sub.place(sub.peer)
		sub.topics = sub.topics[:len(sub.topics)-1]
	}
	t, err := s.topics.make(name)
	if err != nil {
		return err
	}
	answer(t.past.last(past))
	sub.topics = append(sub.topics, t.name)
	t.join(sub, sub.peer, sub.direct())
	s.topics.release(t)
	return sub.save()
}

func (sub *subscriber) save() error {
	names := slices.Clone(sub.topics)
	return sub.session.Do(func(st *state) { st.Topics = names })
}

// unsubscribe takes a topic away; one that was not subscribed to does not matter.
func (sub *subscriber) unsubscribe(name string) error {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	i := slices.Index(sub.topics, name)
	if i < 0 {
		return nil
	}
	before := sub.direct()
	sub.topics = slices.Delete(sub.topics, i, i+1)
	sub.forsake(name)
	if sub.direct() != before {
		sub.place(sub.peer)
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

// place puts sub where it belongs in all its topics. It was reached over the peer was, nil if it
// was not. sub.mu is held.
func (sub *subscriber) place(was *protocol.Peer) {
	direct := sub.direct()
	for _, name := range sub.topics {
		t, err := sub.s.topics.make(name)
		if err != nil {
			continue // there were too many when it came back from the store
		}
		t.leave(sub, was)
		t.join(sub, sub.peer, direct)
		sub.s.topics.release(t)
	}
}

// attach has sub reached over p from now on.
func (sub *subscriber) attach(p *protocol.Peer) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	was := sub.peer
	sub.peer = p
	sub.place(was)
}

// detach notes that p has gone. It reports whether sub was reached over it, and whether anything is
// left for it to come back to.
func (sub *subscriber) detach(p *protocol.Peer) (was, worthwhile bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.peer != p {
		return false, false
	}
	sub.peer = nil
	sub.place(p)
	return true, len(sub.topics) > 0
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
