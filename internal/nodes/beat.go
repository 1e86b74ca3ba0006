package nodes

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Kinds of heartbeats.
const (
	arriving = "arriving" // others answer with a heartbeat
	alive    = "alive"
	leaving  = "leaving"
)

const maxVersion = 256

// beat is a heartbeat.
type beat struct {
	Load
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Kind     string    `json:"kind"`
	Name     string    `json:"name"`
	Instance string    `json:"instance"` // of the process
	Seq      uint64    `json:"seq"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Time     time.Time `json:"time"` // of the clock of the node
}

// ValidName reports whether a node can have the name: 1 to 64 letters of ASCII, digits, and . _ -,
// not beginning with "-", and other than "all".
func ValidName(s string) bool {
	return s != "" && len(s) <= 64 && s != everyNode && s[0] != '-' && strings.Trim(s, plain+".") == ""
}

// parseBeat decodes and checks a heartbeat. Its texts are not escaped yet: the shell escapes them.
func parseBeat(b []byte) (beat, error) {
	var h beat
	if len(b) > maxBeat {
		return h, fmt.Errorf("a heartbeat of %d bytes: at most %d are allowed", len(b), maxBeat)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, err
	}
	texts := []string{h.Kind, h.Instance, h.Reason, string(h.State)}
	for _, l := range h.Listeners {
		texts = append(texts, l.Name, l.Address)
	}
	switch {
	case !ValidName(h.Name):
		return h, fmt.Errorf("a heartbeat with the name %.80q", h.Name)
	case len(h.Listeners) > maxListeners || len(h.Version) > maxVersion || slices.ContainsFunc(texts, func(s string) bool { return len(s) > maxText }):
		return h, fmt.Errorf("a heartbeat of %q with values that are too long", h.Name)
	case min(h.Connections, h.Sessions, h.Subscribers) < 0:
		return h, fmt.Errorf("a heartbeat of %q with negative numbers", h.Name)
	}
	if !slices.Contains(States[:4], h.State) { // of a newer version
		h.Reason, h.State = string(h.State), Degraded
	}
	return h, nil
}

// self describes this node.
func (n *Nodes) self() Node {
	l := n.opts.Load()
	l.Listeners = slices.Clone(l.Listeners[:min(len(l.Listeners), maxListeners)])
	for i := range l.Listeners {
		l.Listeners[i] = Listener{cut(l.Listeners[i].Name), cut(l.Listeners[i].Address)}
	}
	node := Node{Load: l, Name: n.opts.Name, Version: n.opts.Version, Started: n.opts.Started, IsSelf: true}
	node.State, node.Reason = n.state()
	return node
}

// state returns the state of this node.
func (n *Nodes) state() (State, string) {
	s, reason := n.opts.State()
	if s == Ready && n.duplicate.confirmed(time.Now()) {
		return Degraded, "another node has the same name"
	}
	return s, cut(reason)
}

// cut limits a text to what a heartbeat may have.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// beat sends heartbeats until Close.
func (n *Nodes) beat() {
	last := n.send(arriving)
	next := time.NewTimer(jitter())
	defer next.Stop()
	state := time.NewTicker(stateInterval)
	defer state.Stop()
	for {
		select {
		case <-next.C:
		case <-n.answerSoon: // the delay is random, because all nodes answer a node that arrives
			next.Reset(rand.N(answerDelay))
			continue
		case <-state.C:
			if s, reason := n.state(); s == last.State && reason == last.Reason {
				continue
			}
		case <-n.ctx.Done():
			if n.nc.IsConnected() {
				n.send(leaving)
				n.nc.FlushTimeout(time.Second) // without this heartbeat the node is gone after 15 s
			}
			return
		}
		last = n.send(alive)
		next.Reset(jitter())
	}
}

// jitter returns the time until the next heartbeat.
func jitter() time.Duration { return beatInterval*4/5 + rand.N(beatInterval*2/5) }

// send sends a heartbeat and returns what it says.
func (n *Nodes) send(kind string) Node {
	n.sending.Lock()
	defer n.sending.Unlock()
	n.seq++
	s := n.self()
	b, err := json.Marshal(beat{
		Load: s.Load, State: s.State, Reason: s.Reason, Kind: kind, Name: s.Name, Instance: n.instance, Seq: n.seq,
		Version: s.Version, Started: s.Started, Time: time.Now(),
	})
	if err == nil {
		err = n.nc.Publish(n.subject(beats), b) // without a connection the next one follows
	}
	if err != nil {
		n.opts.Logger.Debug("sending a heartbeat failed", "err", err)
	}
	return s
}

// receiveBeat handles a heartbeat.
func (n *Nodes) receiveBeat(m *nats.Msg) {
	b, err := parseBeat(m.Data)
	switch {
	case err != nil:
		n.reject(err)
	case b.Name == n.opts.Name:
		if b.Instance != n.instance && b.Kind != leaving && n.duplicate.record(time.Now()) {
			n.opts.Logger.Error("another node has the same name", "name", b.Name, "started", b.Started)
		}
	case !n.dir.record(b, time.Now()):
		n.reject(fmt.Errorf("a heartbeat of %q: %d nodes are known already", b.Name, maxNodes))
	case b.Kind == arriving:
		select {
		case n.answerSoon <- struct{}{}:
		default:
		}
	}
}

// duplicate records the heartbeats of another node with the name of this one.
type duplicate struct {
	mu          sync.Mutex
	first, last time.Time
	logged      bool
}

// record records a heartbeat. It returns true once, when heartbeats have arrived for so long that
// the other node is no predecessor or successor of this process.
func (d *duplicate) record(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.last) > goneAfter {
		d.first = now
	}
	d.last = now
	if d.logged || now.Sub(d.first) < duplicateAfter {
		return false
	}
	d.logged = true
	return true
}

// confirmed reports whether the heartbeats of the other node have lasted longer than an upgrade.
func (d *duplicate) confirmed(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Sub(d.last) <= goneAfter && d.last.Sub(d.first) >= duplicateAfter
}

// reject counts a message that is not valid or exceeds a limit.
func (n *Nodes) reject(err error) {
	n.counters.rejected.Add(1)
	n.opts.Logger.Debug("a message of a node is rejected", "err", err)
}
