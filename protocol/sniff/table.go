package sniff

import (
	"fmt"
	"maps"
	"slices"

	"goranch/internal/option"
	"goranch/protocol"
	"goranch/transport"
)

// node is the entry of a table for the first bytes of a key.
type node struct {
	p      protocol.Protocol // nil if these bytes are not a key
	longer bool              // another key begins with these bytes
}

// Table returns a [Select] for protocols whose clients begin with one of the keys, for example a
// type of one byte. The longest key with which a connection begins is used; while a longer one is
// possible, Table waits for more bytes. The number of keys does not affect the time for this.
//
// The error reports all keys and protocols that cannot be used: keys have 1 to 64 bytes.
func Table(protocols map[string]protocol.Protocol) (Select, error) {
	const maxKey = 64
	var f option.Faults
	if len(protocols) == 0 {
		f.Bad("Table", "of length 0", "1 or more keys")
	}
	nodes := map[string]node{}
	for _, key := range slices.Sorted(maps.Keys(protocols)) {
		p := protocols[key]
		if len(key) == 0 || len(key) > maxKey {
			f.Bad("Table", fmt.Sprintf("%.40q", key), fmt.Sprintf("keys of 1 to %d bytes", maxKey))
			continue
		}
		validateProtocol(&f, fmt.Sprintf("Table[%q]", key), p, true)
		for n := 1; n < len(key); n++ {
			nodes[key[:n]] = node{nodes[key[:n]].p, true}
		}
		nodes[key] = node{p: p} // longer keys come later
	}
	return func(_ *transport.Conn, first []byte) (p protocol.Protocol, more bool) {
		for n := 1; n <= len(first); n++ {
			at, ok := nodes[string(first[:n])]
			if !ok {
				return p, false
			}
			if at.p != nil {
				p = at.p
			}
			if !at.longer {
				return p, false
			}
		}
		return p, true
	}, f.Err()
}
