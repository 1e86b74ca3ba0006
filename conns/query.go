package conns

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Query selects connections. The zero value selects all, oldest first.
type Query struct {
	// ID selects one connection; 0 selects all.
	ID uint64
	// Match, if set, selects the connections for which it returns true. It is called in the
	// goroutine of the caller with no lock held. Its argument is valid until it returns.
	Match func(*Info) bool
	// Sort is the order of the result. Equal connections are in the order in which they were
	// accepted.
	Sort SortKey
	// Reverse reverses the order.
	Reverse bool
	// Offset is how many connections to skip, 0 or less none, and Limit how many to return at
	// most, 0 or less all.
	Offset, Limit int
}

// SortKey is an order of connections. The empty key, and any other, is [ByAge].
type SortKey string

const (
	ByAge     SortKey = "age"     // oldest first
	ByIdle    SortKey = "idle"    // least idle first
	ByRead    SortKey = "read"    // fewest bytes received first
	ByWritten SortKey = "written" // fewest bytes sent first
	ByBytes   SortKey = "bytes"   // fewest bytes in both directions first
	ByPeer    SortKey = "peer"    // by remote address and port
)

// sortable is a connection with its sort key. It takes less memory than an Info.
type sortable struct {
	c    *connection
	num  int64
	peer netip.AddrPort
}

// Select returns the connections that q selects, and how many match before Offset and Limit.
// Connections in the handshake and those no longer counted are included.
func (s *Supervisor) Select(q Query) (page []Info, total int) {
	found, total := s.find(&q)
	page = make([]Info, len(found))
	now := time.Now()
	for i, f := range found {
		f.c.inspect(&page[i], now)
	}
	return page, total
}

// find returns the connections that q selects, and how many match before Offset and Limit.
func (s *Supervisor) find(q *Query) (all []sortable, total int) {
	need := 0 // only the first so many are needed; 0: all
	if q.Limit > 0 {
		need = max(q.Offset, 0) + q.Limit
	}
	now := time.Now()
	var info Info // one for all calls of Match
	s.eachOf(q.ID, func(c *connection) {
		if q.Match != nil {
			if c.inspect(&info, now); !q.Match(&info) {
				return
			}
		}
		total++
		all = append(all, c.sortable(q.Sort))
		if need > 0 && len(all)/2-32 >= need { // bounds the memory for a page of many connections
			all = q.order(all)[:need]
		}
	})
	all = q.order(all)
	all = all[min(max(q.Offset, 0), len(all)):]
	if q.Limit > 0 {
		all = all[:min(q.Limit, len(all))]
	}
	return all, total
}

func (q *Query) order(all []sortable) []sortable {
	slices.SortFunc(all, func(a, b sortable) int {
		order := cmp.Or(cmp.Compare(a.num, b.num), a.peer.Compare(b.peer), cmp.Compare(a.c.conn.ID(), b.c.conn.ID()))
		if q.Reverse {
			return -order
		}
		return order
	})
	return all
}

func (c *connection) sortable(k SortKey) sortable {
	f := sortable{c: c}
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
