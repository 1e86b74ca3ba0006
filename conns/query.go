package conns

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Query selects connections.
type Query struct {
	// Match, if set, selects the connections for which it returns true. It is called with no lock
	// held.
	Match func(*Info) bool
	// Sort is the order of the result. Equal connections are in the order in which they were accepted.
	Sort SortKey
	// Reverse reverses the order.
	Reverse bool
	// Offset is how many connections to leave out at the beginning, and Limit how many to return at
	// most. 0 or less is all.
	Offset, Limit int
}

// SortKey is an order of connections.
type SortKey uint8

const (
	ByAge     SortKey = iota // oldest first
	ByIdle                   // least idle first
	ByRead                   // fewest bytes received first
	ByWritten                // fewest bytes sent first
	ByBytes                  // fewest bytes in both directions first
	ByPeer                   // by remote address and port
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

// sortable is a connection with its sort key, which is smaller than an Info.
type sortable struct {
	c    *connection
	num  int64
	peer netip.AddrPort
}

// Select returns the connections that q selects, and how many match before Offset and Limit.
// Connections in the handshake and those no longer counted are included.
func (s *Supervisor) Select(q Query) (page []Info, total int) {
	var all []sortable
	need := 0 // so many of the first are enough; 0: all
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
		all = append(all, c.sortable(q.Sort))
		if need > 0 && len(all) >= 2*need+64 { // bounds the memory for a page of many connections
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
