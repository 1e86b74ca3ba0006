package faults_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// ledger is what is seen of a listener from outside: by its transport, its protocols and its
// observer. It contains nothing that the listener counts itself.
type ledger struct {
	name  string
	bare  bool // its transport does not report Close
	group *ceiling

	mu       sync.Mutex
	faults   *faultList
	cap      ceiling
	conns    map[uint64]*seen
	byNet    map[net.Conn]*seen
	byClient map[string]*seen // by the address of its client in the inner transport
	started  int
	ended    int // of started ones
	refused  int // that were never started
	reasons  map[conns.Reason]uint64
	last     ranch.ListenerInfo
}

// seen is a connection.
type seen struct {
	conn                  *transport.Conn
	kind                  string
	started, ended        bool
	counted               bool // by the cap, as far as can be seen
	served, left, removed bool
	sawEOF, lateWrites    bool
	killed                bool  // before its protocol had returned
	result                error // of its protocol
	panicked              bool
	end                   ranch.Event
	read, written         uint64 // at its end
}

// ceiling compares a number of connections with a cap that changes. While a change is in progress,
// and until all goroutines have blocked after it, the larger of both caps is allowed.
type ceiling struct {
	mu          sync.Mutex
	limit, most int
	live        int
}

func (c *ceiling) add(n int) (excess bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live += n
	return n > 0 && c.live > c.most
}

// change changes the cap by set.
func (c *ceiling) change(limit int, set func()) {
	c.mu.Lock()
	c.most = max(c.most, limit)
	c.limit = limit
	c.mu.Unlock()
	set()
}

// settle is called when all goroutines are blocked.
func (c *ceiling) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = c.limit
}

// faultList collects what is wrong.
type faultList struct {
	mu  sync.Mutex
	all []string
}

func (f *faultList) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) < 20 {
		f.all = append(f.all, fmt.Sprintf(format, args...))
	}
}

func newLedger(name string, bare bool, limit int, group *ceiling, faults *faultList) *ledger {
	return &ledger{
		name: name, bare: bare, group: group, faults: faults, cap: ceiling{limit: limit, most: limit},
		conns: map[uint64]*seen{}, byNet: map[net.Conn]*seen{}, byClient: map[string]*seen{}, reasons: map[conns.Reason]uint64{},
	}
}

func (l *ledger) wrong(format string, args ...any) {
	l.faults.add("listener %s: "+format, append([]any{l.name}, args...)...)
}

// get returns the record of a connection. l.mu is held.
func (l *ledger) get(c *transport.Conn) *seen {
	s := l.conns[c.ID()]
	if s == nil {
		s = &seen{conn: c}
		l.conns[c.ID()] = s
		l.byNet[c.NetConn()] = s
		l.byClient[clientOf(c)] = s
	}
	return s
}

// clientOf returns the address by which a client knows its connection.
func clientOf(c *transport.Conn) string {
	nc := c.NetConn()
	if w, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = w.NetConn()
	}
	return nc.RemoteAddr().String()
}

// observe is the observer of the listener.
func (l *ledger) observe(e ranch.Event) {
	if e.Conn == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.get(e.Conn)
	switch e.Kind {
	case ranch.ConnStarted:
		if s.started || s.ended {
			l.wrong("connection %d: got a start after start %v, end %v, want one start", e.Conn.ID(), s.started, s.ended)
		}
		l.started++
		s.started, s.counted = true, true
		if over := l.cap.add(1); over {
			l.wrong("got %d live connections, want at most %d", l.cap.live, l.cap.most)
		}
		if l.group != nil && l.group.add(1) {
			l.wrong("got %d live connections in the group, want at most %d", l.group.live, l.group.most)
		}
	case ranch.ConnEnded:
		l.end(s, e)
	}
}

// end records an end. l.mu is held.
func (l *ledger) end(s *seen, e ranch.Event) {
	id := e.Conn.ID()
	if s.ended {
		l.wrong("connection %d: got a second end (%v), want one", id, e.Reason)
	}
	s.ended, s.end = true, e
	st := e.Conn.Stats()
	s.read, s.written = st.BytesRead, st.BytesWritten
	l.reasons[e.Reason]++
	if s.started {
		l.ended++
	} else {
		l.refused++
		if !e.Reason.Refusal() {
			l.wrong("connection %d: got the end %v without a start, want a refusal", id, e.Reason)
		}
	}
	if s.killed && e.Reason < conns.Aborted && e.Reason != conns.Panicked {
		l.wrong("connection %d: got reason %v, %v, want killed", id, e.Reason, e.Err)
	}
	if s.served != e.Served {
		l.wrong("connection %d: got Served %v (%v, %v), want %v", id, e.Served, e.Reason, e.Err, s.served)
	}
	if s.served && !s.left {
		l.wrong("connection %d: got its end (%v, %v) before its protocol has returned", id, e.Reason, e.Err)
	}
	if s.served && s.panicked != (e.Reason == conns.Panicked) && !closePanicked(e.Err) {
		l.wrong("connection %d: got reason %v, %v, want panicked: %v", id, e.Reason, e.Err, s.panicked)
	}
	l.uncount(s)
}

func closePanicked(err error) bool {
	var p *protocol.PanicError
	return errors.As(err, &p) && p.Value == "faults: a panic of Close"
}

// uncount records that s needs no slot any more: before the slot is released. l.mu is held.
func (l *ledger) uncount(s *seen) {
	if !s.counted {
		return
	}
	s.counted = false
	l.cap.add(-1)
	if l.group != nil {
		l.group.add(-1)
	}
}

// closed is called by the transport before a connection is closed.
func (l *ledger) closed(nc net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.byNet[nc]; s != nil {
		l.uncount(s)
	}
}

// kill records that Kill has selected the connection with that id.
func (l *ledger) kill(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.conns[id]; s != nil && s.served && !s.left { // else it may have failed before, and is being closed
		s.killed = true
	}
}

// remove is called before RemoveConnection.
func (l *ledger) remove(s *seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uncount(s)
	s.removed = true
}

// enter and leave are called by protocols first and last.
func (l *ledger) enter(c *transport.Conn, kind string) *seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.get(c)
	if s.served || !s.started || s.ended {
		l.wrong("connection %d: got it served after start %v, service %v, end %v", c.ID(), s.started, s.served, s.ended)
	}
	s.served, s.kind = true, kind
	return s
}

func (l *ledger) leave(s *seen, result error, panicked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.left {
		l.wrong("connection %d: got its handler closed twice, want once", s.conn.ID())
	}
	s.left, s.result, s.panicked = true, result, panicked
	if l.bare {
		l.uncount(s)
	}
}

// pick returns a live connection; nil if there is none.
func (l *ledger) pick(n int) *seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	var live []*seen
	for _, s := range l.conns {
		if s.started && !s.ended {
			live = append(live, s)
		}
	}
	if len(live) == 0 {
		return nil
	}
	least := live[0]
	for _, s := range live { // maps have no order
		if (s.conn.ID()+uint64(n))%7 < (least.conn.ID()+uint64(n))%7 {
			least = s
		}
	}
	return least
}

// alive describes the connections that have not ended.
func (l *ledger) alive() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for id, s := range l.conns {
		if s.started && !s.ended {
			fmt.Fprintf(&b, "#%d of client %s, %s, removed %v, left %v, %+v; ", id, clientOf(s.conn), s.kind, s.removed, s.left, s.conn.Stats())
		}
	}
	return b.String()
}
