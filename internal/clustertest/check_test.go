package clustertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"goranch/protocol/pubsub"
)

// history makes a history without violations: two topics, publishers that repeat what is refused,
// subscribers that come, miss messages, recover them or are told, and a session that moves.
func history(r *rand.Rand) []Event {
	h := &historian{r: r, last: map[string]uint64{}}
	for at := range 6 {
		h.subs = append(h.subs, &historySub{attachment: at + 1, topic: []string{"a", "b"}[at%2]})
		h.subscribe(h.subs[at], pubsub.Position{})
	}
	for k := range 40 {
		h.publish([]string{"a", "b"}[r.IntN(2)], fmt.Sprint("m", k))
		if r.IntN(8) == 0 {
			h.reattach(h.subs[r.IntN(len(h.subs))])
		}
		if r.IntN(6) == 0 {
			h.useSession(k)
		}
	}
	h.useSession(98)
	h.useSession(99)
	h.publish("a", "last a")
	h.publish("b", "last b")
	for _, s := range h.subs {
		h.add(Event{Kind: Attached, Attachment: s.attachment, Topic: s.topic})
	}
	for _, e := range h.messages {
		e.Kind = Stored
		h.add(e)
	}
	h.add(Event{Kind: Holds, Session: "s"})
	return h.events
}

type historian struct {
	r        *rand.Rand
	events   []Event
	messages []Event // without Kind
	last     map[string]uint64
	offset   uint64
	subs     []*historySub
	log      []string
}

type historySub struct {
	attachment int
	topic      string
	at         pubsub.Position
}

func (h *historian) add(e Event) {
	e.At = time.Duration(len(h.events)+1) * 10
	h.events = append(h.events, e)
}

func (h *historian) now() time.Duration { return time.Duration(len(h.events))*10 + 5 }

func (h *historian) publish(topic, id string) {
	if h.r.IntN(4) == 0 {
		h.add(Event{Kind: Published, Topic: topic, ID: id, Answer: Refused, Begin: h.now()})
	}
	begin := h.now()
	h.offset += 1 + uint64(h.r.IntN(2))
	m := Event{Topic: topic, ID: id, Position: pubsub.Position{Epoch: "e", Offset: h.offset}, Previous: h.last[topic]}
	h.last[topic] = h.offset
	h.messages = append(h.messages, m)
	m.Kind, m.Answer, m.Begin = Published, Accepted, begin
	h.add(m)
	for _, s := range h.subs {
		if s.topic == topic {
			h.deliver(s, m)
		}
	}
	h.add(Event{Kind: Plain, Attachment: 1000, Topic: topic, ID: id})
}

func (h *historian) deliver(s *historySub, m Event) {
	m.Kind, m.Attachment, m.Answer, m.Begin = Delivered, s.attachment, "", 0
	if s.at.Offset > m.Previous {
		m.Previous = s.at.Offset
	}
	s.at = m.Position
	h.add(m)
}

func (h *historian) subscribe(s *historySub, since pubsub.Position) {
	s.at = pubsub.Position{Epoch: "e", Offset: since.Offset}
	if since == (pubsub.Position{}) {
		s.at.Offset = h.offset
	}
	h.add(Event{Kind: Subscribed, Attachment: s.attachment, Topic: s.topic, Since: &since, Position: s.at, Recovered: true})
}

// reattach continues over another connection: with all that was missed, or with an announced gap.
func (h *historian) reattach(s *historySub) {
	since := s.at
	since.Offset -= min(since.Offset, uint64(h.r.IntN(3)))
	s.attachment += 10
	if h.r.IntN(3) > 0 {
		h.subscribe(s, since)
	} else {
		s.at.Offset = h.offset
		h.add(Event{Kind: Subscribed, Attachment: s.attachment, Topic: s.topic, Since: &since, Position: s.at})
	}
	for _, m := range h.messages {
		if m.Topic == s.topic && m.Position.Offset > s.at.Offset {
			h.deliver(s, m)
		}
	}
}

func (h *historian) useSession(k int) {
	begin := h.now()
	h.add(Event{Kind: Taken, Session: "s", Generation: uint64(k)})
	h.add(Event{Kind: Read, Session: "s", Log: slices.Clone(h.log), Begin: begin})
	h.log = append(h.log, fmt.Sprint("t", k))
	h.add(Event{Kind: Wrote, Session: "s", Log: slices.Clone(h.log), Answer: Accepted, Begin: begin})
}

// breaks are ways to break a promise. They return the changed history, nil if it has no place for
// it.
var breaks = map[Rule]func(events []Event, r *rand.Rand) []Event{
	Duplicate: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Delivered || e.Kind == Plain })
		return slices.Insert(events, i+1, events[i])
	},
	Order: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Plain })
		for j := i + 1; i >= 0 && j < len(events); j++ {
			if events[j].Kind == Plain && events[j].Topic == events[i].Topic {
				events[i], events[j] = events[j], events[i]
				return events
			}
		}
		return nil
	},
	SilentGap: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Delivered })
		for _, e := range events[i+1:] {
			if e.Kind == Delivered && e.Attachment == events[i].Attachment {
				return slices.Delete(events, i, i+1)
			}
		}
		return nil
	},
	Recovery: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Subscribed && !e.Recovered })
		if i >= 0 && *events[i].Since != events[i].Position {
			events[i].Recovered = true
			return events
		}
		return nil
	},
	Agreement: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Delivered })
		events[i].ID = "m0"
		if events[i].Position == pickID(events, "m0").Position {
			return nil
		}
		return events
	},
	KeyOnce: func(events []Event, r *rand.Rand) []Event {
		m := pickID(events, "m1")
		m.Kind, m.Position.Offset = Stored, m.Position.Offset+100_000
		return append(events, m)
	},
	Ack: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Published && e.Answer == Accepted && e.ID != "m1" })
		events[i].Position = pickID(events, "m1").Position
		return events
	},
	Lost: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Stored })
		return slices.Delete(events, i, i+1)
	},
	RealTime: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Published && e.ID != "m0" && e.Answer == Accepted })
		first := pickID(events, "m0")
		if events[i].Topic != first.Topic { // the first message was published after the answer to a later one
			return nil
		}
		for j := range events {
			if events[j].Kind == Published && events[j].ID == "m0" {
				events[j].Begin, events[j].At = events[i].At+1, events[i].At+2
			}
		}
		return events
	},
	Converge: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Delivered && (e.ID == "last a" || e.ID == "last b") })
		return slices.Delete(events, i, i+1)
	},
	Phantom: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Plain })
		events[i].ID = "never"
		return events
	},
	Epochs: func(events []Event, r *rand.Rand) []Event {
		return append(events, Event{Kind: Subscribed, Attachment: 5000, Since: new(pubsub.Position), Position: pubsub.Position{Epoch: "f"}})
	},
	StateLost: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Read && len(e.Log) > 0 })
		events[i].Log = events[i].Log[:len(events[i].Log)-1]
		return events
	},
	OneChain: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Wrote })
		fork := events[i]
		fork.Log = append(slices.Clone(fork.Log[:len(fork.Log)-1]), "fork")
		return append(events, fork)
	},
	OneOwner: func(events []Event, r *rand.Rand) []Event {
		i := pick(events, r, func(e *Event) bool { return e.Kind == Taken })
		return append(events, events[i])
	},
	OneClient: func(events []Event, r *rand.Rand) []Event { return append(events, Event{Kind: Holds, Session: "s"}) },
}

// pick returns the index of an event, -1 if there is none.
func pick(events []Event, r *rand.Rand, f func(*Event) bool) int {
	var all []int
	for i := range events {
		if f(&events[i]) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return -1
	}
	return all[r.IntN(len(all))]
}

func pickID(events []Event, id string) Event {
	return events[slices.IndexFunc(events, func(e Event) bool { return e.ID == id && e.Answer == Accepted })]
}

// The checker finds nothing in histories without violations, and each way to break a promise.
func TestCheck(t *testing.T) {
	for seed := range uint64(20) {
		checkBreaks(t, seed)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkBreaks(t, seed) })
}

func checkBreaks(t *testing.T, seed uint64) {
	t.Helper()
	events := func() []Event { return history(rand.New(rand.NewPCG(seed, 0))) }
	if got := Check(events(), Limits{}); len(got) > 0 {
		t.Fatalf("seed %d: got violations, want none:\n%s", seed, Describe(got, nil))
	}
	for rule, f := range breaks {
		broken := f(events(), rand.New(rand.NewPCG(seed, 1)))
		if broken == nil {
			continue
		}
		got := Check(broken, Limits{})
		if !slices.ContainsFunc(got, func(v Violation) bool { return v.Rule == rule }) {
			t.Errorf("seed %d: %s: got %d violations, want this one:\n%s", seed, rule, len(got), Describe(got, nil))
		}
	}
}

// What docs/cluster.md allows is no violation.
func TestCheckAllows(t *testing.T) {
	at := func(epoch string, offset uint64) pubsub.Position {
		return pubsub.Position{Epoch: epoch, Offset: offset}
	}
	for name, events := range map[string][]Event{
		"an announced gap": {
			{Kind: Published, Topic: "t", ID: "1", Answer: Accepted, Position: at("e", 1)},
			{Kind: Published, Topic: "t", ID: "2", Answer: Accepted, Position: at("e", 2)},
			{Kind: Subscribed, Attachment: 1, Topic: "t", Position: at("e", 0), Since: new(pubsub.Position), Recovered: true},
			{Kind: Subscribed, Attachment: 1, Topic: "t", Position: at("e", 1)},
			{Kind: Delivered, Attachment: 1, Topic: "t", ID: "2", Position: at("e", 2), Previous: 1},
		},
		"a message without an answer in a stream that was deleted, which only a subscription without positions has received": {
			{Kind: Published, Topic: "t", ID: "1", Answer: Unknown},
			{Kind: Plain, Attachment: 1, Topic: "t", ID: "1"},
			{Kind: Deleted},
			{Kind: Published, Topic: "t", ID: "2", Answer: Accepted, Position: at("f", 1)},
			{Kind: Published, Topic: "t", ID: "1", Answer: Accepted, Position: at("f", 2)},
			{Kind: Plain, Attachment: 1, Topic: "t", ID: "2"},
			{Kind: Plain, Attachment: 1, Topic: "t", ID: "1"},
		},
		"a refused message that was stored": {
			{Kind: Published, Topic: "t", ID: "1", Answer: Refused},
			{Kind: Stored, Topic: "t", ID: "1", Position: at("e", 1)},
		},
		"a key in two streams, one of which was deleted": {
			{Kind: Published, Topic: "t", ID: "1", Answer: Unknown},
			{Kind: Plain, Attachment: 2, Topic: "t", ID: "1"},
			{Kind: Delivered, Attachment: 1, Topic: "t", ID: "1", Position: at("e", 1)},
			{Kind: Deleted},
			{Kind: Plain, Attachment: 2, Topic: "t", ID: "1"},
			{Kind: Stored, Topic: "t", ID: "1", Position: at("f", 1)},
		},
	} {
		if name == "a key in two streams, one of which was deleted" {
			events = slices.Insert(events, 0, Event{Kind: Subscribed, Attachment: 1, Topic: "t", Position: at("e", 0), Since: new(pubsub.Position), Recovered: true})
		}
		if got := Check(events, Limits{}); len(got) > 0 {
			t.Errorf("%s: got violations, want none:\n%s", name, Describe(got, nil))
		}
	}
}

// Limits allow that old messages are replaced.
func TestCheckKeep(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	events := history(r)
	i := slices.IndexFunc(events, func(e Event) bool { return e.Kind == Stored })
	events = slices.Delete(events, i, i+1)
	if got := Check(events, Limits{Keep: 1}); len(got) > 0 {
		t.Errorf("got violations, want none:\n%s", Describe(got, nil))
	}
}

// A key is forgotten if the stream does not keep its message any more and a NATS server starts
// again.
func TestCheckForgottenKey(t *testing.T) {
	at := func(offset uint64) pubsub.Position { return pubsub.Position{Epoch: "e", Offset: offset} }
	events := []Event{
		{Kind: Published, Topic: "t", ID: "1", Answer: Unknown},
		{Kind: Plain, Attachment: 2, Topic: "t", ID: "1"},
		{Kind: Published, Topic: "t", ID: "2", Answer: Accepted, Position: at(2)},
		{Kind: Plain, Attachment: 2, Topic: "t", ID: "2"},
		{Kind: Subscribed, Attachment: 1, Topic: "t", Position: at(0), Since: new(pubsub.Position), Recovered: true},
		{Kind: Delivered, Attachment: 1, Topic: "t", ID: "1", Position: at(1)},
		{Kind: Delivered, Attachment: 1, Topic: "t", ID: "2", Position: at(2), Previous: 1},
		{Kind: Published, Topic: "t", ID: "1", Answer: Accepted, Position: at(3)},
		{Kind: Plain, Attachment: 2, Topic: "t", ID: "1"},
		{Kind: Delivered, Attachment: 1, Topic: "t", ID: "1", Position: at(3), Previous: 2},
	}
	for _, tc := range []struct {
		limits Limits
		want   bool
	}{
		{Limits{Keep: 1, Restarted: true}, true},
		{Limits{Keep: 2, Restarted: true}, false}, // the message was still there
		{Limits{Keep: 1}, false},
		{Limits{Restarted: true}, false},
	} {
		got := Check(events, tc.limits)
		if allowed := !slices.ContainsFunc(got, func(v Violation) bool { return v.Rule == KeyOnce }); allowed != tc.want || tc.want && len(got) > 0 {
			t.Errorf("%+v: got %v allowed, want %v; violations:\n%s", tc.limits, allowed, tc.want, Describe(got, nil))
		}
	}
}

// A schedule depends on its seed only, and all operations occur.
func TestSchedule(t *testing.T) {
	seen := map[Op]bool{}
	for seed := range uint64(300) {
		s := NewSchedule(seed, time.Second)
		if got := NewSchedule(seed, time.Second).String(); got != s.String() {
			t.Fatalf("schedule: got\n%swant\n%s", got, s)
		}
		wiped := 0
		for _, a := range s.Actions {
			seen[a.Op] = true
			if a.Op == Wipe {
				wiped++
			}
			if a.Node == a.Other || a.Other > 2 {
				t.Errorf("seed %d: got a link of node %d to %d", seed, a.Node, a.Other)
			}
		}
		if wiped > 1 {
			t.Errorf("seed %d: got %d wiped disks, want at most 1", seed, wiped)
		}
	}
	for _, op := range append(weighted, Wipe) {
		if !seen[op] {
			t.Errorf("got no %s in 300 schedules, want it", op)
		}
	}
}
