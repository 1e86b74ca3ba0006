package pubsub_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"goranch/protocol/pubsub"
)

// modelSession is what the model expects of a session.
type modelSession struct {
	client  *testClient // nil while detached
	token   string
	topics  []string
	pending []string // messages to be received, each as "topic data"
}

// model holds the expected sessions, their subscriptions and their messages.
type model struct {
	t        *rapid.T
	srv      *testServer
	sessions []*modelSession
	sent     int
}

var modelNames = []string{"a.b", "a.c", "b.b", "x", "a.*", "a.>", "*.b", ">"}

// matches is a straightforward implementation of patterns.
func matches(pattern, name string) bool {
	p, n := strings.Split(pattern, "."), strings.Split(name, ".")
	for i, token := range p {
		if token == ">" && i == len(p)-1 {
			return len(n) > i
		}
		if i >= len(n) || token != "*" && token != n[i] {
			return false
		}
	}
	return len(p) == len(n)
}

// receive reads the pending messages of s, each topic's in order, and the frames in last, in order,
// which may come before messages that are still in flight. It fails if there is anything else.
func (m *model) receive(s *modelSession, last ...string) {
	for len(s.pending)+len(last) > 0 {
		f := s.client.frame()
		var msg struct {
			Topic string
			Data  int
		}
		if json.Unmarshal([]byte(f), &msg) != nil || msg.Topic == "" {
			if len(last) == 0 || f != last[0] {
				m.t.Fatalf("%s: got %q, want %q and then %q", s.token, f, s.pending, last)
			}
			last = last[1:]
			continue
		}
		i := slices.IndexFunc(s.pending, func(p string) bool { return strings.HasPrefix(p, msg.Topic+" ") })
		if i < 0 || s.pending[i] != fmt.Sprint(msg.Topic, " ", msg.Data) {
			m.t.Fatalf("%s: got %q, want %q and then %q", s.token, f, s.pending, last)
		}
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	if len(s.client.in) > 0 {
		m.t.Fatalf("%s: got %q in addition, want nothing", s.token, s.client.in)
	}
}

// draw picks a session that is attached, or detached.
func (m *model) draw(attached bool) *modelSession {
	var candidates []*modelSession
	for _, s := range m.sessions {
		if (s.client != nil) == attached {
			candidates = append(candidates, s)
		}
	}
	if len(candidates) == 0 {
		m.t.Skip("no such session")
	}
	return rapid.SampledFrom(candidates).Draw(m.t, "session")
}

func (m *model) remove(s *modelSession) {
	m.sessions = slices.DeleteFunc(m.sessions, func(other *modelSession) bool { return other == s })
}

func (m *model) connect(*rapid.T) {
	if len(m.sessions) > 6 {
		m.t.Skip("enough sessions")
	}
	c := m.srv.client()
	m.sessions = append(m.sessions, &modelSession{client: c, token: c.token})
}

func (m *model) subscribe(*rapid.T) {
	s, name := m.draw(true), rapid.SampledFrom(modelNames).Draw(m.t, "topic")
	s.client.request("subscribe", name)
	m.receive(s, "ACK")
	if !slices.Contains(s.topics, name) {
		s.topics = append(s.topics, name)
	}
}

func (m *model) unsubscribe(*rapid.T) {
	s, name := m.draw(true), rapid.SampledFrom(modelNames).Draw(m.t, "topic")
	s.client.request("unsubscribe", name)
	synctest.Wait()
	s.topics = slices.DeleteFunc(s.topics, func(t string) bool { return t == name })
}

func (m *model) publish(*rapid.T) {
	for range rapid.IntRange(1, 5).Draw(m.t, "times") {
		name := rapid.SampledFrom(modelNames[:4]).Draw(m.t, "topic")
		m.sent++
		n := 0
		for _, s := range m.sessions {
			if slices.ContainsFunc(s.topics, func(t string) bool { return matches(t, name) }) {
				s.pending = append(s.pending, fmt.Sprint(name, " ", m.sent))
				n++
			}
		}
		if got, err := m.srv.Publish(name, "e", "", m.sent); err != nil || got != n {
			m.t.Fatalf("Publish to %s: got %d, %v, want %d", name, got, err, n)
		}
	}
}

func (m *model) detach(*rapid.T) {
	s := m.draw(true)
	m.receive(s) // messages in flight would be lost
	s.client.nc.Close()
	synctest.Wait()
	if s.client = nil; len(s.topics) == 0 {
		m.remove(s)
	}
}

func (m *model) attach(*rapid.T) { m.resume(m.draw(false)) }

func (m *model) takeOver(*rapid.T) {
	s := m.draw(true)
	m.receive(s)
	old := s.client
	m.resume(s)
	old.expect(`{"error":"the session was attached to another connection"}`, "EOF")
}

func (m *model) resume(s *modelSession) {
	s.client = m.srv.client()
	s.client.request("attach", s.token)
	m.receive(s, "ACK")
}

func (m *model) end(*rapid.T) {
	s := m.draw(rapid.Bool().Draw(m.t, "attached"))
	if err := m.srv.EndSession(s.token); err != nil {
		m.t.Fatalf("EndSession: got %v, want no error", err)
	}
	if s.client != nil {
		m.receive(s, `{"error":"unknown or expired session"}`, "EOF")
	}
	synctest.Wait()
	m.remove(s)
}

func (m *model) check(*rapid.T) {
	synctest.Wait()
	topics := map[string]int{}
	attached := 0
	for _, s := range m.sessions {
		for _, name := range s.topics {
			topics[name]++
		}
		if s.client != nil {
			attached++
		}
	}
	for _, name := range modelNames {
		if n := m.srv.Subscribers(name); n != topics[name] {
			m.t.Fatalf("Subscribers of %s: got %d, want %d", name, n, topics[name])
		}
	}
	st := m.srv.Stats()
	if st.Clients != attached || st.Topics != len(topics) || st.Sessions.Attached != attached || st.Sessions.Detached != len(m.sessions)-attached {
		m.t.Fatalf("got %+v, want %d clients, %d topics and %d sessions", st, attached, len(topics), len(m.sessions))
	}
}

// Random actions of several clients: each session receives what the model expects, in order and
// once, and unused topics and sessions are removed.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			m := &model{t: rt, srv: newTestServer(t, pubsub.Options{History: -1, Heartbeat: -1, SessionTTL: -1})}
			rt.Repeat(map[string]func(*rapid.T){
				"connect": m.connect, "subscribe": m.subscribe, "unsubscribe": m.unsubscribe, "publish": m.publish,
				"detach": m.detach, "attach": m.attach, "takeOver": m.takeOver, "end": m.end, "": m.check,
			})
			for _, s := range m.sessions {
				if s.client != nil {
					m.receive(s)
				}
				m.srv.EndSession(s.token)
			}
			time.Sleep(time.Second)
			if st := m.srv.Stats(); st.Topics+st.Clients+st.Sessions.Attached+st.Sessions.Detached != 0 {
				rt.Fatalf("at the end: got %+v, want no topics, clients and sessions", st)
			}
		})
	})
}
