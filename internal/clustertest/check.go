package clustertest

import (
	"fmt"
	"slices"

	"goranch/protocol/pubsub"
)

// Rule is a promise that [Check] checks.
type Rule string

// The rules of topics.
const (
	Duplicate Rule = "a message is delivered once within an attachment"
	Order     Rule = "messages of a topic arrive in the order of their offsets"
	SilentGap Rule = "a missing message is announced"
	Recovery  Rule = "recovered: true continues at the position of the request"
	Agreement Rule = "a position has the same message for all"
	KeyOnce   Rule = "a key is published once"
	Ack       Rule = "an acknowledgement has the position of its message"
	Lost      Rule = "an acknowledged message is stored"
	RealTime  Rule = "a publish that begins after an answer is later in the order"
	Converge  Rule = "an attachment has received everything in the end"
	Phantom   Rule = "a message was published"
	Epochs    Rule = "the epoch changes only if the stream was deleted"
)

// Violation is a promise that was broken.
type Violation struct {
	Rule  Rule
	Text  string
	Event *Event // where it was found; nil if that is unknown
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s", v.Rule, v.Text) }

// Limits says what the schedule allows to be lost.
type Limits struct {
	// Keep is how many messages of a topic the stream keeps. 0 is all.
	Keep int
	// SessionsLost says that the sessions were deleted, so that their states may be lost.
	SessionsLost bool
	// Restarted says that a NATS server was started again. It then knows only the keys of messages
	// that the stream still has.
	Restarted bool
}

// place is a position of a topic.
type place struct {
	topic string
	at    pubsub.Position
}

type topicEpoch struct{ topic, epoch string }

// twice is a message with two positions in one epoch.
type twice struct {
	id           string
	first, other place
}

// checker holds what all events together say.
type checker struct {
	limits     Limits
	violations []Violation
	ids        map[place]string
	offsets    map[topicEpoch][]uint64 // of all known messages, in order
	placeOf    map[string]map[string]place
	twice      []twice
	forgotten  map[string]bool // ids of messages whose key was forgotten, so that they were stored twice
	published  map[string]bool
	uncertain  map[string]bool // ids of messages with an attempt that was not acknowledged, and may have been stored
	last       string          // the epoch of the stored messages
	stored     map[place]bool
	deleted    int
}

// Check returns the violations of the promises that docs/cluster.md makes for topics and sessions.
func Check(events []Event, limits Limits) []Violation {
	c := &checker{limits: limits, ids: map[place]string{}, offsets: map[topicEpoch][]uint64{},
		placeOf: map[string]map[string]place{}, forgotten: map[string]bool{}, published: map[string]bool{}, uncertain: map[string]bool{}, stored: map[place]bool{}}
	c.collect(events)
	c.checkEpochs(events)
	c.checkAcks(events)
	c.checkRealTime(events)
	c.checkAttachments(events)
	c.checkPlain(events)
	c.checkSessions(events)
	return c.violations
}

func (c *checker) fail(r Rule, format string, args ...any) {
	v := Violation{Rule: r, Text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if e, ok := a.(*Event); ok {
			v.Event = e
		}
	}
	c.violations = append(c.violations, v)
}

// collect records which messages exist.
func (c *checker) collect(events []Event) {
	byOffset := map[pubsub.Position]place{}
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case Published:
			c.published[e.ID] = true
			if e.Answer != Accepted {
				c.uncertain[e.ID] = true
			}
		case Deleted:
			c.deleted++
		case Stored:
			c.last, c.stored[place{e.Topic, e.Position}] = e.Position.Epoch, true
		}
		known := e.Kind == Delivered || e.Kind == Stored || e.Kind == Published && e.Answer == Accepted && e.Position.Epoch != ""
		if !known {
			continue
		}
		p := place{e.Topic, e.Position}
		rule := Agreement
		if e.Kind == Published {
			rule = Ack
		}
		if id, ok := c.ids[p]; ok && id != e.ID {
			c.fail(rule, "%v has %s and %s: %v", p, id, e.ID, e)
			continue
		}
		if other, ok := byOffset[e.Position]; ok && other != p {
			c.fail(rule, "%v and %v", other, p)
		}
		byOffset[e.Position], c.ids[p] = p, e.ID
		epochs := c.placeOf[e.ID]
		if epochs == nil {
			epochs = map[string]place{}
			c.placeOf[e.ID] = epochs
		}
		if other, ok := epochs[e.Position.Epoch]; ok && other != p {
			c.twice = append(c.twice, twice{e.ID, other, p})
		}
		epochs[e.Position.Epoch] = p
	}
	for p := range c.ids {
		k := topicEpoch{p.topic, p.at.Epoch}
		c.offsets[k] = append(c.offsets[k], p.at.Offset)
	}
	for _, o := range c.offsets {
		slices.Sort(o)
	}
	for _, t := range c.twice {
		c.checkTwice(t)
	}
}

// checkTwice reports a message with two positions, unless the server may have forgotten its key
// because the stream no longer has the first copy.
func (c *checker) checkTwice(t twice) {
	from, to := t.first.at.Offset, t.other.at.Offset
	later := c.between(topicEpoch{t.first.topic, t.first.at.Epoch}, min(from, to), max(from, to))
	if keep := c.limits.Keep; c.limits.Restarted && keep > 0 && len(later) >= keep && t.first.topic == t.other.topic {
		c.forgotten[t.id] = true
	} else {
		c.fail(KeyOnce, "%s is at %v and %v", t.id, t.first, t.other)
	}
}

// between returns the known offsets after one and before another one.
func (c *checker) between(k topicEpoch, after, before uint64) []uint64 {
	all := c.offsets[k]
	from, _ := slices.BinarySearch(all, after+1)
	to, _ := slices.BinarySearch(all, before)
	return all[min(from, to):to]
}

// checkEpochs checks that there are not more epochs than streams, and that messages were published.
func (c *checker) checkEpochs(events []Event) {
	epochs := map[string]bool{}
	for i := range events {
		e := &events[i]
		if e.Position.Epoch != "" {
			epochs[e.Position.Epoch] = true
		}
		if (e.Kind == Delivered || e.Kind == Stored || e.Kind == Plain) && !c.published[e.ID] {
			c.fail(Phantom, "%v", e)
		}
	}
	if len(epochs) > 1+c.deleted {
		c.fail(Epochs, "got %d epochs, want at most %d", len(epochs), 1+c.deleted)
	}
}

// checkAcks checks that acknowledged messages are stored, unless newer ones have replaced them.
func (c *checker) checkAcks(events []Event) {
	if len(c.stored) == 0 {
		return
	}
	for i := range events {
		e := &events[i]
		if e.Kind != Published || e.Answer != Accepted || e.Position.Epoch != c.last || c.stored[place{e.Topic, e.Position}] {
			continue
		}
		later := c.between(topicEpoch{e.Topic, c.last}, e.Position.Offset, 1<<63)
		if c.limits.Keep == 0 || len(later) < c.limits.Keep {
			c.fail(Lost, "%v", e)
		}
	}
}

// checkRealTime checks that the order does not contradict the times of requests and answers.
func (c *checker) checkRealTime(events []Event) {
	type interval struct {
		e          *Event
		begin, end int64
	}
	first := map[string]int64{} // begin of the first attempt
	byTopic := map[topicEpoch][]interval{}
	for i := range events {
		e := &events[i]
		if e.Kind != Published {
			continue
		}
		if b, ok := first[e.ID]; !ok || int64(e.Begin) < b {
			first[e.ID] = int64(e.Begin)
		}
		if e.Answer == Accepted && e.Position.Epoch != "" {
			k := topicEpoch{e.Topic, e.Position.Epoch}
			byTopic[k] = append(byTopic[k], interval{e: e, end: int64(e.At)})
		}
	}
	for _, all := range byTopic {
		byEnd := slices.Clone(all)
		for i := range all {
			all[i].begin = first[all[i].e.ID]
		}
		slices.SortFunc(all, func(a, b interval) int { return int(a.begin - b.begin) })
		slices.SortFunc(byEnd, func(a, b interval) int { return int(a.end - b.end) })
		var before *Event // of those answered before the next one begins, the last in the order
		for _, a := range all {
			for len(byEnd) > 0 && byEnd[0].end < a.begin {
				if e := byEnd[0].e; before == nil || e.Position.Offset > before.Position.Offset {
					before = e
				}
				byEnd = byEnd[1:]
			}
			if before != nil && a.e.Position.Offset < before.Position.Offset {
				c.fail(RealTime, "%v, answered before the begin of %v", before, a.e)
			}
		}
	}
}
