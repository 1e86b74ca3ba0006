package faults_test

import (
	"fmt"
	"strings"

	"goranch/conns"
	"goranch/ranch"
)

// checkSums compares the counters of one Info with each other and with those of an earlier one.
func (l *ledger) checkSums(i ranch.ListenerInfo) {
	var reasons uint64
	for r, n := range i.Reasons {
		reasons += n
		if strings.HasPrefix(r.Error(), "Reason(") {
			l.wrong("got %d ends for the reason %v, want a known reason", n, r)
		}
	}
	var failures uint64
	for _, n := range i.HandshakeFailures {
		failures += n
	}
	for _, c := range []struct {
		what      string
		got, want uint64
	}{
		{"Accepted", i.Accepted, i.Terminated + uint64(i.AllConnections)},
		{"Terminated", i.Terminated, i.Served + i.HandshakeFailed + i.Refused},
		{"Reasons", reasons, i.Terminated},
		{"HandshakeFailures", failures, i.HandshakeFailed},
		{"AllConnections", uint64(i.AllConnections), uint64(i.Handshaking + i.Serving + i.Parked + i.Ending)},
	} {
		if c.got != c.want {
			l.wrong("%s: got %d, want %d", c.what, c.got, c.want)
		}
	}
	if i.ActiveConnections < 0 || i.PendingConnections < 0 || i.WaitingAcceptors > i.NumAcceptors {
		l.wrong("got %d active, %d pending connections, %d of %d acceptors waiting",
			i.ActiveConnections, i.PendingConnections, i.WaitingAcceptors, i.NumAcceptors)
	}
}

// checkMonotonic is checkSums, and compares i with the last argument. Only one goroutine calls it.
func (l *ledger) checkMonotonic(i ranch.ListenerInfo) {
	l.checkSums(i)
	p := &l.last
	for _, c := range []struct {
		what        string
		before, now uint64
	}{
		{"Accepted", p.Accepted, i.Accepted}, {"Terminated", p.Terminated, i.Terminated}, {"Served", p.Served, i.Served},
		{"BytesRead", p.BytesRead, i.BytesRead}, {"BytesWritten", p.BytesWritten, i.BytesWritten}, {"AcceptErrors", p.AcceptErrors, i.AcceptErrors},
		{"PeakConnections", uint64(p.PeakConnections), uint64(i.PeakConnections)},
	} {
		if c.now < c.before {
			l.wrong("%s: got %d after %d, want no decrease", c.what, c.now, c.before)
		}
	}
	*p = i
}

// checkSettled compares the counters with what was seen, when all goroutines are blocked.
func (l *ledger) checkSettled(i ranch.ListenerInfo, accepted uint64, limit int) {
	l.checkMonotonic(i)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cap.settle()
	live, active := l.started-l.ended, 0
	for _, s := range l.conns {
		if s.started && !s.ended && !s.removed {
			active++
		}
	}
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"AllConnections", i.AllConnections, live},
		{"ActiveConnections", i.ActiveConnections, active},
		{"Terminated", int(i.Terminated), l.ended + l.refused},
		{"Accepted and pending", int(i.Accepted) + i.PendingConnections, int(accepted)},
		{"MaxConnections", i.MaxConnections, limit},
	} {
		if c.got != c.want {
			l.wrong("%s: got %d, want %d; %+v", c.what, c.got, c.want, i)
		}
	}
	for r, n := range l.reasons {
		if i.Reasons[r] != n {
			l.wrong("reason %v: got %d, want %d", r, i.Reasons[r], n)
		}
	}
}

// checkStopped compares the final counters. accepted is the number of connections that the
// transport has returned.
func (l *ledger) checkStopped(i ranch.ListenerInfo, accepted uint64) {
	if i.Accepted != accepted {
		l.wrong("after the stop: got %d accepted, want %d", i.Accepted, accepted)
	}
	if i.AllConnections != 0 || i.ActiveConnections != 0 || i.PendingConnections != 0 || i.Handshakes != 0 || i.Addresses != 0 && i.Status != ranch.Stopped {
		l.wrong("after the stop: got %d connections, %d active, %d pending, %d handshakes, want none",
			i.AllConnections, i.ActiveConnections, i.PendingConnections, i.Handshakes)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var read, written uint64
	for id, s := range l.conns {
		if !s.ended {
			l.wrong("connection %d: got no end, want one", id)
		}
		st := s.conn.Stats()
		if st.BytesRead != s.read || st.BytesWritten != s.written {
			s.lateWrites = true
		}
		read += st.BytesRead
		written += st.BytesWritten
	}
	if i.BytesRead != read || i.BytesWritten != written {
		l.wrong("got %d bytes read and %d written, want %d and %d", i.BytesRead, i.BytesWritten, read, written)
	}
}

// checkClient compares what a client has received with what was sent to it.
func (l *ledger) checkClient(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.byClient[c.addr]
	if s == nil {
		return
	}
	for _, f := range c.wrong {
		l.wrong("client %s of %s: %s", c.addr, s.kind, f)
	}
	if s.lateWrites {
		return
	}
	where := fmt.Sprintf("client %s (%s of %s, %v, %v)", c.addr, c.behaviour, s.kind, s.end.Reason, s.end.Err)
	if c.got > s.written {
		l.wrong("%s: got %d bytes, want at most the %d that were written", where, c.got, s.written)
	}
	if s.read > c.sent {
		l.wrong("%s: got %d bytes read by the server, want at most the %d that were sent", where, s.read, c.sent)
	}
	if c.lossy || !c.readToEnd {
		return
	}
	if c.got < s.written {
		l.wrong("%s: got %d bytes, want all %d that were written", where, c.got, s.written)
	}
	// The server has read to the end and has not stopped before: all was echoed.
	f, ok := s.conn.NetConn().(interface{ Faulted() bool })
	whole := s.kind == "echo" && s.sawEOF && c.finished && !(ok && f.Faulted())
	if whole && (s.end.Reason == conns.Finished || s.end.Reason == conns.PeerClosed) && c.sent+1 != c.got {
		l.wrong("%s: got %d bytes, want the echo of %d (read %d, written %d)", where, c.got, c.sent, s.read, s.written)
	}
}
