// Package clustertest records what clients of several topic servers and session managers observe,
// and checks it against the promises of docs/cluster.md. It also provides replayable schedules of
// faults, and proxies that cut, stall and delay connections.
package clustertest

import (
	"fmt"
	"sync"
	"time"

	"goranch/protocol/pubsub"
)

// Kind is the kind of an [Event].
type Kind string

// The kinds, with the fields that they use besides Kind and At.
const (
	// Published is an attempt to publish: Topic, ID, Answer, Begin, and Position if the answer has
	// one.
	Published Kind = "published"
	// Subscribed says where the messages of an attachment continue: Attachment, Topic, Position,
	// Recovered, and Since if it answers a request. Without Since it is a gap that the server
	// announces.
	Subscribed Kind = "subscribed"
	// Delivered is a message: Attachment, Topic, ID, Position, Previous.
	Delivered Kind = "delivered"
	// Plain is a message to a subscription without positions: Attachment, Topic, ID.
	Plain Kind = "plain"
	// Attached says that an attachment still exists at the end, after everything was repaired:
	// Attachment, Topic.
	Attached Kind = "attached"
	// Stored is a message that the stream has at the end: Topic, ID, Position.
	Stored Kind = "stored"
	// Deleted says that the stream was deleted.
	Deleted Kind = "deleted"

	// Read is the state that an attachment to a session has found: Session, Log, Begin.
	Read Kind = "read"
	// Wrote is a change of a session: Session, Log after the change, Answer, Begin.
	Wrote Kind = "wrote"
	// Taken is a takeover: Session, Node, Generation.
	Taken Kind = "taken"
	// Resumed and Forgotten say that an attachment to a session has succeeded, or that the session
	// was unknown: Session.
	Resumed   Kind = "resumed"
	Forgotten Kind = "forgotten"
	// Holds says that a client has the session at the end: Session.
	Holds Kind = "holds"
)

// Answer is the outcome of a request.
type Answer string

// The answers.
const (
	Accepted Answer = "accepted"
	Refused  Answer = "refused"
	Unknown  Answer = "unknown" // the connection has ended before the answer, or the time
)

// Event is what a client has observed. Times are those since the start of the recorder.
type Event struct {
	Kind      Kind
	Begin, At time.Duration // of the request, and of the answer or arrival
	// Attachment identifies a subscription to one topic over one connection.
	Attachment int
	Node       string
	Topic, ID  string
	Since      *pubsub.Position
	Position   pubsub.Position
	Previous   uint64
	Recovered  bool
	Answer     Answer

	Session    string
	Log        []string
	Generation uint64
}

// String describes an event in one line.
func (e *Event) String() string {
	s := fmt.Sprintf("%8.3fs %s", e.At.Seconds(), e.Kind)
	for _, f := range []struct {
		name string
		v    any
		set  bool
	}{
		{"begun", e.Begin, e.Begin > 0}, {"attachment", e.Attachment, e.Attachment != 0}, {"node", e.Node, e.Node != ""},
		{"topic", e.Topic, e.Topic != ""}, {"id", e.ID, e.ID != ""},
		{"position", e.Position, e.Position != (pubsub.Position{})}, {"previous", e.Previous, e.Kind == Delivered},
		{"recovered", e.Recovered, e.Kind == Subscribed}, {"answer", e.Answer, e.Answer != ""},
		{"session", e.Session, e.Session != ""}, {"log", e.Log, e.Log != nil}, {"generation", e.Generation, e.Generation > 0},
	} {
		if f.set {
			s += fmt.Sprintf(" %s=%v", f.name, f.v)
		}
	}
	if e.Since != nil {
		s += fmt.Sprintf(" since=%v", *e.Since)
	}
	return s
}

// Recorder collects events. All methods may be called from any goroutine.
type Recorder struct {
	start time.Time

	mu          sync.Mutex
	events      []Event
	attachments int
}

// NewRecorder returns a recorder whose time begins now.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Now returns the time since the start.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Add records an event, whose time At it sets.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.start)
	r.events = append(r.events, e)
}

// NewAttachment returns a number for an attachment, from 1.
func (r *Recorder) NewAttachment() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attachments++
	return r.attachments
}

// Events returns the events so far.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}
