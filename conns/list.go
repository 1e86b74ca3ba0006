package conns

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// State is what a connection is doing.
type State uint8

const (
	Handshaking State = iota // not in the hands of its protocol yet
	Serving
	Ending // told to end
	Closed
)

// String returns the state in a word.
func (s State) String() string {
	return [...]string{"handshaking", "serving", "ending", "closed"}[s&3]
}

// Info describes a connection.
type Info struct {
	ID         uint64
	Transport  string
	RemoteAddr net.Addr // the client's, also behind a proxy that says so
	LocalAddr  net.Addr
	State      State
	Since      time.Time         // when it was accepted
	Idle       time.Duration     // since something was carried, to the second; 0 unless there is a Watch
	Serving    bool              // false while it is in the handshake
	Counted    bool              // false once it was removed from the count
	Protocol   protocol.Protocol // what it was accepted for
	Stats      transport.Stats
	TLS        *TLS // nil: plain, or in the handshake, or ended
}

// Age returns how long ago the connection was accepted.
func (i *Info) Age() time.Duration { return time.Since(i.Since) }

// ProtocolName returns what the protocol calls itself, by a method Name() string, or its type.
func (i *Info) ProtocolName() string {
	switch p := i.Protocol.(type) {
	case nil:
		return ""
	case interface{ Name() string }:
		return p.Name()
	default:
		return fmt.Sprintf("%T", p)
	}
}

// TLS is what is worth knowing of a connection's TLS.
type TLS struct {
	Version    string // "TLS 1.3"
	Cipher     string
	ServerName string // what the client asked for
	ALPN       string // the protocol agreed upon
	Client     string // subject of the client's verified certificate
	Resumed    bool
}

func tlsOf(conn *transport.Conn) *TLS {
	st, ok := conn.TLS()
	if !ok {
		return nil
	}
	t := &TLS{
		Version: tls.VersionName(st.Version), Cipher: tls.CipherSuiteName(st.CipherSuite),
		ServerName: st.ServerName, ALPN: st.NegotiatedProtocol, Resumed: st.DidResume,
	}
	if len(st.VerifiedChains) > 0 {
		t.Client = st.VerifiedChains[0][0].Subject.String()
	}
	return t
}

// brief is info without what costs something.
func (c *connection) brief() Info {
	return Info{
		ID: c.conn.ID(), Transport: c.conn.Transport().Name(),
		RemoteAddr: c.conn.RemoteAddr(), LocalAddr: c.conn.LocalAddr(),
		State: c.state(), Since: time.Now().Add(-c.age()), Serving: c.serving.Load(), Counted: c.counted.Load(),
		Protocol: c.protocol, Stats: c.conn.Stats(),
	}
}

func (c *connection) info() Info {
	i := c.brief()
	i.Idle = c.idle()
	i.TLS = tlsOf(&c.conn)
	return i
}

func (c *connection) state() State {
	switch {
	case c.ctx.Err() != nil:
		return Ending
	case c.serving.Load():
		return Serving
	}
	return Handshaking
}

// idle is rounded down to what Watch can tell.
func (c *connection) idle() time.Duration {
	read, wrote := c.readAt.Load(), c.wroteAt.Load()
	if st := c.conn.Stats(); read == wrote && read == c.started && st.BytesRead+st.BytesWritten > 0 {
		return 0 // used, but Watch has not come by yet
	}
	return max(time.Duration(c.sup.now()-max(read, wrote)), 0).Truncate(time.Second)
}

// Query chooses among connections.
type Query struct {
	// Match, if set, says which. It is called with no lock held.
	Match func(*Info) bool
	// Sort is their order. Equals are in the order in which they were accepted.
	Sort SortKey
	// Reverse turns the order round.
	Reverse bool
	// Offset is how many to leave out at the beginning, Limit how many to return at most.
	// 0 or less is all.
	Offset, Limit int
}

// SortKey is an order of connections.
type SortKey uint8

const (
	ByAge     SortKey = iota // oldest first
	ByIdle                   // those first that were used last
	ByRead                   // fewest bytes received first
	ByWritten                // fewest bytes sent first
	ByBytes                  // fewest in both directions first
	ByPeer                   // by source address and port
	numSortKeys
)

var sortNames = [numSortKeys]string{"age", "idle", "read", "written", "bytes", "peer"}

// String returns the name that [ParseSortKey] reads.
func (k SortKey) String() string {
	if k < numSortKeys {
		return sortNames[k]
	}
	return fmt.Sprintf("SortKey(%d)", uint8(k))
}

// ParseSortKey reads "age", "idle", "read", "written", "bytes" or "peer".
func ParseSortKey(s string) (SortKey, error) {
	if i := slices.Index(sortNames[:], s); i >= 0 {
		return SortKey(i), nil
	}
	return 0, fmt.Errorf("sort key %q: allowed are %q", s, sortNames)
}

// found is a connection with what it is sorted by, which is less than an Info.
type found struct {
	c    *connection
	num  int64
	peer netip.AddrPort
}

// Select returns the connections that q asks for, and how many there are of which they are
// a part. Those in the handshake and those no longer counted are among them.
func (s *Supervisor) Select(q Query) (page []Info, total int) {
	var all []found
	need := 0 // as many of the first are enough; 0 is all
	if q.Limit > 0 {
		need = max(q.Offset, 0) + q.Limit
	}
	s.each(func(c *connection) {
		if q.Match != nil {
			if i := c.info(); !q.Match(&i) {
				return
			}
		}
		total++
		all = append(all, c.found(q.Sort))
		if need > 0 && len(all) >= 2*need+64 { // so that a page of a million costs no room for a million
			all = q.order(all)[:need]
		}
	})
	all = q.order(all)
	all = all[min(max(q.Offset, 0), len(all)):]
	if q.Limit > 0 {
		all = all[:min(q.Limit, len(all))]
	}
	page = make([]Info, len(all))
	for i, f := range all {
		page[i] = f.c.info()
	}
	return page, total
}

// order sorts what was found.
func (q *Query) order(all []found) []found {
	slices.SortFunc(all, func(a, b found) int {
		order := cmp.Or(cmp.Compare(a.num, b.num), a.peer.Compare(b.peer), cmp.Compare(a.c.conn.ID(), b.c.conn.ID()))
		if q.Reverse {
			return -order
		}
		return order
	})
	return all
}

func (c *connection) found(k SortKey) found {
	f := found{c: c}
	st := c.conn.Stats()
	switch k {
	case ByIdle:
		f.num = int64(c.idle())
	case ByRead:
		f.num = int64(st.BytesRead)
	case ByWritten:
		f.num = int64(st.BytesWritten)
	case ByBytes:
		f.num = int64(st.BytesRead + st.BytesWritten)
	case ByPeer:
		if a, ok := c.conn.RemoteAddr().(*net.TCPAddr); ok {
			f.peer = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
		}
	}
	return f
}

// List returns all connections, oldest first.
func (s *Supervisor) List() []Info {
	all, _ := s.Select(Query{})
	return all
}

// Get returns the connection with that id, if it lives.
func (s *Supervisor) Get(id uint64) (Info, bool) {
	if c := s.find(id); c != nil {
		return c.info(), true
	}
	return Info{}, false
}

// Kill closes the connection with that id at once, and reports whether there was one.
// Its context is cancelled with [ErrKilled] as the cause.
func (s *Supervisor) Kill(id uint64) bool {
	c := s.find(id)
	if c == nil {
		return false
	}
	c.abort(Killed, ErrKilled)
	return true
}

// KillMatching closes the connections for which match returns true, and returns how many.
// It is called with no lock held.
func (s *Supervisor) KillMatching(match func(*Info) bool) (n int) {
	s.each(func(c *connection) {
		if i := c.info(); match(&i) {
			c.abort(Killed, ErrKilled)
			n++
		}
	})
	return n
}

// Remove stops counting conn against the cap it was accepted under: its slot is free
// again while it lives on. Calling it again does nothing, nor does it with a connection that
// no supervisor owns.
func Remove(conn *transport.Conn) {
	if c, ok := conn.Owner().(*connection); ok {
		c.uncount()
	}
}

func (s *Supervisor) find(id uint64) *connection {
	for _, c := range s.shards[id%uint64(len(s.shards))].snapshot(nil) {
		if c.conn.ID() == id {
			return c
		}
	}
	return nil
}
