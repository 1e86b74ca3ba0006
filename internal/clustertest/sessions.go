package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The rules of sessions.
const (
	StateLost Rule = "an acknowledged state of a session is kept"
	OneOwner  Rule = "one node gets each generation of a session"
	OneClient Rule = "one client has a session in the end"
	OneChain  Rule = "acknowledged states of a session follow each other"
)

// checkSessions checks the states and owners of sessions.
func (c *checker) checkSessions(events []Event) {
	bySession := map[string][]*Event{}
	for i := range events {
		if e := &events[i]; e.Session != "" {
			bySession[e.Session] = append(bySession[e.Session], e)
		}
	}
	for _, all := range bySession {
		c.checkOwners(all)
		if !c.limits.SessionsLost {
			c.checkStates(all)
		}
	}
}

func (c *checker) checkOwners(events []*Event) {
	owner := map[uint64]*Event{}
	holds, resumed := 0, false
	for _, e := range events {
		switch e.Kind {
		case Taken:
			if other := owner[e.Generation]; other != nil && !c.limits.SessionsLost {
				c.fail(OneOwner, "%v and %v", other, e)
			}
			owner[e.Generation] = e
		case Resumed:
			resumed = true
		case Forgotten:
			if resumed && !c.limits.SessionsLost {
				c.fail(StateLost, "%v", e)
			}
		case Holds:
			if holds++; holds == 2 {
				c.fail(OneClient, "%v", e)
			}
		}
	}
}

// checkStates checks that what was written with an acknowledgement is found by later attachments,
// and that acknowledged states are prefixes of each other.
func (c *checker) checkStates(events []*Event) {
	var acked []*Event
	for _, e := range events {
		if e.Kind == Wrote && e.Answer == Accepted {
			acked = append(acked, e)
		}
	}
	slices.SortStableFunc(acked, func(a, b *Event) int { return len(a.Log) - len(b.Log) })
	for i := 1; i < len(acked); i++ {
		if a, b := acked[i-1], acked[i]; !isPrefix(a.Log, b.Log) {
			c.fail(OneChain, "%v and %v", a, b)
		}
	}
	slices.SortStableFunc(acked, func(a, b *Event) int { return int(a.At - b.At) })
	for _, e := range events {
		if e.Kind != Read {
			continue
		}
		if before := lastBefore(acked, e.Begin); before != nil && !isPrefix(before.Log, e.Log) {
			c.fail(StateLost, "%v, and later %v", before, e)
		}
	}
}

// lastBefore returns the longest state that was acknowledged before a time.
func lastBefore(acked []*Event, t time.Duration) (last *Event) {
	for _, e := range acked {
		if e.At < t && (last == nil || len(e.Log) > len(last.Log)) {
			last = e
		}
	}
	return last
}

func isPrefix(a, b []string) bool { return len(a) <= len(b) && slices.Equal(a, b[:len(a)]) }

// Summary counts what has happened.
func Summary(events []Event) string {
	counts := map[string]int{}
	for _, e := range events {
		counts[string(e.Kind)]++
		if e.Answer != "" {
			counts[string(e.Kind)+" "+string(e.Answer)]++
		}
		if e.Kind == Subscribed && !e.Recovered {
			counts["gaps announced"]++
		}
	}
	return fmt.Sprint(counts)
}

// Describe returns the violations, and what the attachment or session of the first one has observed
// until then.
func Describe(violations []Violation, events []Event) string {
	var b strings.Builder
	for i, v := range violations {
		if i == 20 {
			fmt.Fprintf(&b, "… %d in all\n", len(violations))
			break
		}
		b.WriteString(v.String() + "\n")
	}
	if len(violations) == 0 || violations[0].Event == nil {
		return b.String()
	}
	last := violations[0].Event
	var before []string
	for i := range events {
		e := &events[i]
		if e.At <= last.At && e.Attachment == last.Attachment && e.Session == last.Session && (e.Attachment > 0 || e.Session != "") {
			before = append(before, "  "+e.String()+"\n")
		}
	}
	for _, line := range before[max(0, len(before)-20):] {
		b.WriteString(line)
	}
	return b.String()
}
