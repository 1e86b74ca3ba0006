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

// person is a session of the model.
type person struct {
	b       *bot // nil: away
	token   string
	topics  []string
	waiting []string // what it is to get next, "topic data" each
}

// world is the model: who has subscribed to what, and what they are to get.
type world struct {
	t      *rapid.T
	tn     *town
	people []*person
	sent   int
}

var modelNames = []string{"a.b", "a.c", "b.b", "x", "a.*", "a.>", "*.b", ">"}

// covers is what patterns mean.
func covers(pattern, name string) bool {
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

// receive reads what p is to have got, each topic's messages in order, and what comes last but for messages that
// are still under way, and nothing else.
func (w *world) receive(p *person, last ...string) {
	for len(p.waiting)+len(last) > 0 {
		f := p.b.frame()
		var m struct {
			Topic string
			Data  int
		}
		if json.Unmarshal([]byte(f), &m) != nil || m.Topic == "" {
			if len(last) == 0 || f != last[0] {
				w.t.Fatalf("%s: got %q, want %q and then %q", p.token, f, p.waiting, last)
			}
			last = last[1:]
			continue
		}
		i := slices.IndexFunc(p.waiting, func(s string) bool { return strings.HasPrefix(s, m.Topic+" ") })
		if i < 0 || p.waiting[i] != fmt.Sprint(m.Topic, " ", m.Data) {
			w.t.Fatalf("%s: got %q, want %q and then %q", p.token, f, p.waiting, last)
		}
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	if len(p.b.in) > 0 {
		w.t.Fatalf("%s: %q too much", p.token, p.b.in)
	}
}

func (w *world) some(label string, here bool) *person {
	var of []*person
	for _, p := range w.people {
		if (p.b != nil) == here {
			of = append(of, p)
		}
	}
	if len(of) == 0 {
		w.t.Skip("nobody")
	}
	return rapid.SampledFrom(of).Draw(w.t, label)
}

func (w *world) connect(*rapid.T) {
	if len(w.people) > 6 {
		w.t.Skip("enough")
	}
	b := w.tn.bot()
	w.people = append(w.people, &person{b: b, token: b.token})
}

func (w *world) subscribe(*rapid.T) {
	p, name := w.some("who", true), rapid.SampledFrom(modelNames).Draw(w.t, "topic")
	p.b.asks("subscribe", name)
	w.receive(p, "ACK")
	if !slices.Contains(p.topics, name) {
		p.topics = append(p.topics, name)
	}
}

func (w *world) unsubscribe(*rapid.T) {
	p, name := w.some("who", true), rapid.SampledFrom(modelNames).Draw(w.t, "topic")
	p.b.asks("unsubscribe", name)
	synctest.Wait()
	p.topics = slices.DeleteFunc(p.topics, func(s string) bool { return s == name })
}

func (w *world) publish(*rapid.T) {
	for range rapid.IntRange(1, 5).Draw(w.t, "times") {
		name := rapid.SampledFrom(modelNames[:4]).Draw(w.t, "topic")
		w.sent++
		n := 0
		for _, p := range w.people {
			if slices.ContainsFunc(p.topics, func(s string) bool { return covers(s, name) }) {
				p.waiting = append(p.waiting, fmt.Sprint(name, " ", w.sent))
				n++
			}
		}
		if got, err := w.tn.s.Publish(name, "e", "", w.sent); err != nil || got != n {
			w.t.Fatalf("%s: to %d, want %d: %v", name, got, n, err)
		}
	}
}

func (w *world) detach(*rapid.T) {
	p := w.some("who", true)
	w.receive(p) // else it may be lost on its way
	p.b.nc.Close()
	synctest.Wait()
	if p.b = nil; len(p.topics) == 0 {
		w.people = slices.DeleteFunc(w.people, func(q *person) bool { return p == q })
	}
}

func (w *world) attach(*rapid.T) { w.resume(w.some("who", false)) }

func (w *world) takeOver(*rapid.T) {
	p := w.some("who", true)
	w.receive(p)
	old := p.b
	w.resume(p)
	old.expects(`{"error":"the session was attached to another connection"}`, "EOF")
}

func (w *world) resume(p *person) {
	p.b = w.tn.bot()
	p.b.asks("attach", p.token)
	w.receive(p, "ACK")
}

func (w *world) end(*rapid.T) {
	p := w.some("who", rapid.Bool().Draw(w.t, "here"))
	if err := w.tn.s.EndSession(p.token); err != nil {
		w.t.Fatal(err)
	}
	if p.b != nil {
		w.receive(p, `{"error":"unknown or expired session"}`, "EOF")
	}
	synctest.Wait()
	w.people = slices.DeleteFunc(w.people, func(q *person) bool { return p == q })
}

func (w *world) check(*rapid.T) {
	synctest.Wait()
	topics := map[string]int{}
	here := 0
	for _, p := range w.people {
		for _, name := range p.topics {
			topics[name]++
		}
		if p.b != nil {
			here++
		}
	}
	for _, name := range modelNames {
		if n := w.tn.s.Count(name); n != topics[name] {
			w.t.Fatalf("%s: %d subscribers, want %d", name, n, topics[name])
		}
	}
	st := w.tn.s.Stats()
	if st.Clients != here || st.Topics != len(topics) || st.Sessions.Attached != here || st.Sessions.Detached != len(w.people)-here {
		w.t.Fatalf("%+v, want %d clients, %d topics and %d sessions", st, here, len(topics), len(w.people))
	}
}

// Clients that do this and that get what the model says, in order and once; what nobody uses goes.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: rt, tn: found(t, pubsub.Options{History: -1, Heartbeat: -1, SessionTTL: -1})}
			rt.Repeat(map[string]func(*rapid.T){
				"connect": w.connect, "subscribe": w.subscribe, "unsubscribe": w.unsubscribe, "publish": w.publish,
				"detach": w.detach, "attach": w.attach, "takeOver": w.takeOver, "end": w.end, "": w.check,
			})
			for _, p := range w.people {
				if p.b != nil {
					w.receive(p)
				}
				w.tn.s.EndSession(p.token)
			}
			time.Sleep(time.Second)
			if st := w.tn.s.Stats(); st.Topics+st.Clients+st.Sessions.Attached+st.Sessions.Detached != 0 {
				rt.Fatalf("left: %+v", st)
			}
		})
	})
}
