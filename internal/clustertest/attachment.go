package clustertest

import (
	"goranch/protocol/pubsub"
)

// attachment is what a subscriber with positions knows.
type attachment struct {
	topic string
	begun bool
	at    pubsub.Position // of the last message, or where messages continue
	seen  map[pubsub.Position]bool
}

// checkAttachments checks what each subscription with positions has received.
func (c *checker) checkAttachments(events []Event) {
	all := map[int]*attachment{}
	for i := range events {
		e := &events[i]
		a := all[e.Attachment]
		if a == nil {
			a = &attachment{topic: e.Topic, seen: map[pubsub.Position]bool{}}
			all[e.Attachment] = a
		}
		switch e.Kind {
		case Subscribed:
			c.checkSubscribed(a, e)
		case Delivered:
			c.checkDelivered(a, e)
		case Attached:
			c.checkEnd(a, e)
		}
	}
}

// checkSubscribed checks the answer to a subscribe request, or the announcement of a gap.
func (c *checker) checkSubscribed(a *attachment, e *Event) {
	switch {
	case e.Since == nil && e.Recovered:
		c.fail(Recovery, "without a request: %v", e)
	case e.Since != nil && *e.Since != (pubsub.Position{}) && e.Recovered && *e.Since != e.Position:
		c.fail(Recovery, "%v", e)
	}
	a.begun, a.at = true, e.Position
}

// checkDelivered checks a message against the one before it, and against all that others know.
func (c *checker) checkDelivered(a *attachment, e *Event) {
	k := topicEpoch{e.Topic, e.Position.Epoch}
	switch {
	case a.seen[e.Position]:
		c.fail(Duplicate, "%v", e)
		return
	case !a.begun || a.at.Epoch != e.Position.Epoch:
		c.fail(SilentGap, "no frame says where the messages of the epoch begin: %v", e)
	case e.Position.Offset <= a.at.Offset:
		c.fail(Order, "after %d: %v", a.at.Offset, e)
	case e.Previous > a.at.Offset:
		c.fail(SilentGap, "after %d: %v", a.at.Offset, e)
	default:
		if missing := c.between(k, a.at.Offset, e.Position.Offset); len(missing) > 0 {
			c.fail(SilentGap, "%d after %d are missing: %v", missing, a.at.Offset, e)
		}
		// A client compares Previous with the last message that it has received.
		if missing := c.between(k, e.Previous, e.Position.Offset); len(missing) > 0 {
			c.fail(SilentGap, "%d are not named as previous: %v", missing, e)
		}
	}
	a.seen[e.Position], a.begun, a.at = true, true, e.Position
}

// checkEnd checks that an attachment has received the last message.
func (c *checker) checkEnd(a *attachment, e *Event) {
	if c.last == "" {
		return
	}
	if a.at.Epoch != c.last {
		c.fail(Converge, "attachment %d is at %v, want the epoch %s", e.Attachment, a.at, c.last)
		return
	}
	if missing := c.between(topicEpoch{e.Topic, c.last}, a.at.Offset, 1<<63); len(missing) > 0 {
		c.fail(Converge, "attachment %d to %s is at %d, and misses %d", e.Attachment, e.Topic, a.at.Offset, missing)
	}
}

// checkPlain checks that subscriptions without positions receive messages once and in order.
func (c *checker) checkPlain(events []Event) {
	type plain struct {
		seen map[string]bool
		last map[topicEpoch]place
	}
	all := map[int]*plain{}
	for i := range events {
		e := &events[i]
		if e.Kind != Plain {
			continue
		}
		p := all[e.Attachment]
		if p == nil {
			p = &plain{map[string]bool{}, map[topicEpoch]place{}}
			all[e.Attachment] = p
		}
		if c.deleted > 0 && c.uncertain[e.ID] {
			continue // it may also have been in a stream that was deleted, and received from there by this subscription only
		}
		if c.forgotten[e.ID] {
			continue // at one of two positions
		}
		epochs := c.placeOf[e.ID]
		if p.seen[e.ID] && len(epochs) < 2 {
			c.fail(Duplicate, "%v", e)
		}
		p.seen[e.ID] = true
		if len(epochs) != 1 { // a message in two epochs was published before and after the deletion
			continue
		}
		for epoch, at := range epochs {
			k := topicEpoch{at.topic, epoch}
			if before, ok := p.last[k]; ok && before.at.Offset > at.at.Offset {
				c.fail(Order, "after %v: %v, which is at %v", before, e, at)
			}
			p.last[k] = at
		}
	}
}
