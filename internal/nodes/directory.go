package nodes

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// State is the state of a node.
type State string

// States of nodes. A node reports the first four of itself.
const (
	Starting State = "starting" // it does not serve yet
	Ready    State = "ready"
	Degraded State = "degraded" // it cannot keep all promises; Reason says why
	Draining State = "draining" // its listeners are stopping or have stopped
	Stopped  State = "stopped"  // it has announced that it stops
	Gone     State = "gone"     // its last heartbeat is older than 15 s
)

// States are all states.
var States = []State{Starting, Ready, Degraded, Draining, Stopped, Gone}

// Load holds the numbers that describe the load of a node.
type Load struct {
	Connections int        `json:"connections"`
	Sessions    int        `json:"sessions"`
	Subscribers int        `json:"subscribers"` // connected clients of topics
	Listeners   []Listener `json:"listeners,omitempty"`
}

// Listener is a listener of a node.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Node is a node as this one sees it.
type Node struct {
	Load
	State   State
	Reason  string // of the state; "" is none
	Name    string
	Version string
	Started time.Time
	IsSelf  bool
	// Offset is the time of the node's clock minus that of this one. It includes the delay of a
	// heartbeat.
	Offset time.Duration
	// Heard is the time since the last heartbeat.
	Heard time.Duration
}

// alive reports whether the node can answer.
func (n Node) alive() bool { return n.State != Gone && n.State != Stopped }

// directory holds the other nodes. The zero value is empty.
type directory struct {
	mu     sync.Mutex
	nodes  map[string]*entry
	missed uint64
}

type entry struct {
	beat
	offset  time.Duration
	heard   time.Time
	stopped bool
}

// record records a valid heartbeat of another node. It returns false if there are too many nodes.
func (d *directory) record(b beat, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.nodes[b.Name]
	if e == nil && len(d.nodes) >= maxNodes {
		d.forget(now)
	}
	switch {
	case e == nil && len(d.nodes) >= maxNodes:
		return false
	case e == nil:
		if d.nodes == nil {
			d.nodes = make(map[string]*entry)
		}
		e = new(entry)
		d.nodes[b.Name] = e
	case b.Kind == leaving && b.Instance != e.Instance: // of a predecessor
		return true
	case b.Instance == e.Instance && b.Seq > e.Seq+1:
		d.missed += min(b.Seq-e.Seq-1, maxMissed)
	}
	*e = entry{beat: b, offset: b.Time.Sub(now).Round(time.Millisecond), heard: now, stopped: b.Kind == leaving}
	return true
}

// maxMissed limits what one heartbeat adds to the count.
const maxMissed = 1000

// forget removes nodes that stopped or were lost long ago. d.mu is held.
func (d *directory) forget(now time.Time) {
	for name, e := range d.nodes {
		if now.Sub(e.heard) > forgetAfter {
			delete(d.nodes, name)
		}
	}
}

func (d *directory) missedBeats() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.missed
}

// alive reports whether another node is neither gone nor stopped.
func (d *directory) alive(name string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.nodes[name]
	return e != nil && e.node(now).alive()
}

// instance returns the process that has sent the last heartbeat with the name; "" if there is none.
func (d *directory) instance(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.nodes[name]; e != nil {
		return e.Instance
	}
	return ""
}

// list returns the other nodes and self, sorted by name.
func (d *directory) list(now time.Time, self Node) []Node {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget(now)
	all := append(make([]Node, 0, len(d.nodes)+1), self)
	for _, e := range d.nodes {
		all = append(all, e.node(now))
	}
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// node describes the node.
func (e *entry) node(now time.Time) Node {
	n := Node{Load: e.Load, State: e.State, Reason: e.Reason, Name: e.Name, Version: e.Version, Started: e.Started, Offset: e.offset, Heard: now.Sub(e.heard)}
	switch {
	case e.stopped:
		n.State, n.Reason = Stopped, ""
	case n.Heard > goneAfter:
		n.State, n.Reason = Gone, ""
	}
	if !n.alive() {
		n.Connections, n.Sessions, n.Subscribers = 0, 0, 0
	}
	return n
}
