package conns

import (
	"cmp"
	"net/netip"
	"slices"

	"goranch/internal/remoteip"
)

// Source is a source address with its live connections.
type Source struct {
	// Prefix is the address by which the limits per address count: an IPv4 address, or the /64 of
	// an IPv6 address. Behind a proxy that names the client it is the client's.
	Prefix      netip.Prefix
	Connections int
	// BytesRead and BytesWritten are the payload of these connections.
	BytesRead, BytesWritten uint64
}

// Sources returns the n source addresses with the most live connections, most first; 0 or less
// returns all. Unix sockets and in-memory connections have no source address. It visits every live
// connection.
func (s *Supervisor) Sources(n int) []Source {
	found := make(map[netip.Addr]*Source)
	s.each(func(c *connection) {
		key := remoteip.Key(c.conn.RemoteAddr())
		if !key.IsValid() {
			return
		}
		src := found[key]
		if src == nil {
			bits := 32
			if key.Is6() {
				bits = 64
			}
			src = &Source{Prefix: netip.PrefixFrom(key, bits)}
			found[key] = src
		}
		st := c.conn.Stats()
		src.Connections++
		src.BytesRead += st.BytesRead
		src.BytesWritten += st.BytesWritten
	})
	all := make([]Source, 0, len(found))
	for _, src := range found {
		all = append(all, *src)
	}
	return TopSources(all, n)
}

// TopSources merges sources with the same address, such as those of several listeners, and returns
// the n with the most connections, most first; 0 or less returns all. It changes all.
func TopSources(all []Source, n int) []Source {
	slices.SortFunc(all, func(a, b Source) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	merged := all[:0]
	for _, src := range all {
		if last := len(merged) - 1; last >= 0 && merged[last].Prefix == src.Prefix {
			merged[last].Connections += src.Connections
			merged[last].BytesRead += src.BytesRead
			merged[last].BytesWritten += src.BytesWritten
			continue
		}
		merged = append(merged, src)
	}
	slices.SortStableFunc(merged, func(a, b Source) int { return cmp.Compare(b.Connections, a.Connections) })
	if n > 0 {
		merged = merged[:min(n, len(merged))]
	}
	return merged
}
