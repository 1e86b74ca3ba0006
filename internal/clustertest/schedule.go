package clustertest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Op is what an [Action] does.
type Op string

// The operations. Those with a time of For end then.
const (
	Kill           Op = "kill"            // a node; it is started again after For, with its disk
	Wipe           Op = "wipe"            // a node, and its disk; it is started again after For
	Engine         Op = "engine"          // restarts the engine of a node, which is away for For
	Pause          Op = "pause"           // a node: nothing that it sends or receives arrives for For
	Isolate        Op = "isolate"         // a node from the others, for For
	CutLink        Op = "cut-link"        // between two nodes, for For
	HalfOpen       Op = "half-open"       // what a node sends to another one does not arrive, for For
	Slow           Op = "slow"            // delays what two nodes exchange, for For
	StepDown       Op = "step-down"       // the leaders of the stream and the bucket change
	DeleteStream   Op = "delete-stream"   // of the topics
	DeleteSessions Op = "delete-sessions" // the bucket of the sessions
	FullBucket     Op = "full-bucket"     // new sessions and growing states are refused, for For
	Claim          Op = "claim"           // all nodes claim each session at once
	Move           Op = "move"            // all subscribers connect to another node
	OldRecord      Op = "old-record"      // a record of another format is in the bucket
)

// Action is a step of a schedule.
type Action struct {
	After time.Duration // the time since the action before it
	Op    Op
	Node  int // the first node
	Other int // the other node of a link
	For   time.Duration
}

// String describes the action in one line.
func (a Action) String() string {
	s := fmt.Sprintf("+%v %s node %d", a.After, a.Op, a.Node)
	switch a.Op {
	case CutLink, HalfOpen, Slow:
		s += fmt.Sprintf(" to %d", a.Other)
	case StepDown, DeleteStream, DeleteSessions, Claim, Move, OldRecord:
		return fmt.Sprintf("+%v %s", a.After, a.Op)
	}
	return fmt.Sprintf("%s for %v", s, a.For)
}

// Schedule is a sequence of faults of three nodes.
type Schedule struct {
	Seed    uint64
	Keep    int // messages of each topic in the stream
	History int // of each topic in a node
	Actions []Action
}

// String describes the schedule, with a line for each action.
func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: the stream keeps %d messages of a topic, a node %d\n", s.Seed, s.Keep, s.History)
	for _, a := range s.Actions {
		b.WriteString("  " + a.String() + "\n")
	}
	return b.String()
}

// Has reports whether the schedule contains an operation.
func (s Schedule) Has(ops ...Op) bool {
	for _, a := range s.Actions {
		for _, op := range ops {
			if a.Op == op {
				return true
			}
		}
	}
	return false
}

// weighted are the operations as often as they occur. A wiped disk is at most one in a schedule,
// because an acknowledged message is kept only while a majority of the disks is.
var weighted = []Op{
	Kill, Kill, Kill, Kill, Engine, Engine, Engine, Pause, Pause, Pause, Isolate, Isolate, Isolate,
	CutLink, CutLink, HalfOpen, HalfOpen, Slow, Slow, StepDown, StepDown, DeleteStream, DeleteSessions, FullBucket,
	Claim, Claim, Claim, Move, Move, Move, OldRecord,
}

// NewSchedule returns the schedule of a seed. Times are multiples of unit.
func NewSchedule(seed uint64, unit time.Duration) Schedule {
	r := rand.New(rand.NewPCG(seed, seed))
	s := Schedule{Seed: seed, Keep: 100_000, History: 10_000}
	if seed%4 == 3 { // what clients have missed is lost, and announced
		s.Keep, s.History = 16, 8
	}
	ops := weighted
	if seed%16 == 5 {
		ops = append([]Op{Wipe}, ops...)
	}
	for range 3 + r.IntN(6) {
		op := ops[r.IntN(len(ops))]
		if op == Wipe {
			ops = ops[1:]
		}
		a := Action{Op: op, After: times(r, unit, 4), Node: r.IntN(3), For: times(r, unit, 8)}
		a.Other = (a.Node + 1 + r.IntN(2)) % 3
		s.Actions = append(s.Actions, a)
	}
	return s
}

// times returns 1 to n units.
func times(r *rand.Rand, unit time.Duration, n int) time.Duration {
	return time.Duration(1+r.IntN(n)) * unit
}
