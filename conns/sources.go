package conns

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"goranch/internal/remoteip"
)

// Source is a source address with its live connections.
type Source struct {
	// Prefix is the address by which the limits per address count: an IPv4 address, or the /64 of
	// an IPv6 address. Behind a proxy that names the client it is the client's. It is the zero
	// Prefix for all connections without an address, such as those of Unix sockets.
	Prefix      netip.Prefix
	Connections int
	// BytesRead and BytesWritten are the payload of these connections.
	BytesRead, BytesWritten uint64
}

// Sources returns the source addresses of the connections that q selects by ID and Match, those
// with the most connections first, and at most q.Limit of them; 0 or less returns all. Sort,
// Reverse and Offset are not used. It visits every live connection.
func (s *Supervisor) Sources(q Query) []Source {
	index := make(map[netip.Addr]int)
	var all []Source
	var info Info
	now := time.Now()
	s.eachOf(q.ID, func(c *connection) {
		if q.Match != nil {
			if c.inspect(&info, now); !q.Match(&info) {
				return
			}
		}
		key := remoteip.Key(c.conn.RemoteAddr())
		i, known := index[key]
		if !known {
			i = len(all)
			index[key], all = i, append(all, Source{Prefix: sourcePrefix(key)})
		}
		src, st := &all[i], c.conn.Stats()
		src.Connections++
		src.BytesRead += st.BytesRead
		src.BytesWritten += st.BytesWritten
	})
	slices.SortFunc(all, func(a, b Source) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	if q.Limit > 0 {
		all = all[:min(q.Limit, len(all))]
	}
	return all
}

// sourcePrefix returns the network that has a key of remoteip.
func sourcePrefix(key netip.Addr) netip.Prefix {
	switch {
	case !key.IsValid():
		return netip.Prefix{}
	case key.Is6():
		return netip.PrefixFrom(key, 64)
	}
	return netip.PrefixFrom(key, 32)
}
