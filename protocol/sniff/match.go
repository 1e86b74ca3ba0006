package sniff

import (
	"goranch/protocol"
	"goranch/transport"
)

// Match examines the first bytes of a connection: at least one, and all that have arrived so far.
// It reports whether they match; more means that this depends on bytes that have not arrived. It
// must not keep or change first. Once more is false, the result must stay the same for additional
// bytes.
type Match func(first []byte) (match, more bool)

// Select examines the first bytes of a connection as a [Match] does, and returns the protocol that
// serves it; nil if there is none. With more, the result depends on bytes that have not arrived,
// and p is used only if the client ends its side of the connection before it sends them.
//
// conn is the connection, for its addresses, PROXY header and labels. Select must not read or write
// it.
type Select func(conn *transport.Conn, first []byte) (p protocol.Protocol, more bool)

// Prefix matches connections that begin with one of the strings. "" matches all.
func Prefix(prefixes ...string) Match {
	return func(first []byte) (match, more bool) {
		for _, p := range prefixes {
			n := min(len(p), len(first))
			if string(first[:n]) != p[:n] {
				continue
			}
			if n == len(p) {
				return true, false
			}
			more = true
		}
		return false, more
	}
}

// All matches connections that match each of matches, for example SNI("example.com") and
// ALPN("h2").
func All(matches ...Match) Match {
	return func(first []byte) (match, more bool) {
		for _, m := range matches {
			switch match, undecided := m(first); {
			case undecided:
				more = true
			case !match:
				return false, false
			}
		}
		return !more, more
	}
}

// Any matches connections that match at least one of matches.
func Any(matches ...Match) Match {
	return func(first []byte) (match, more bool) {
		for _, m := range matches {
			switch match, undecided := m(first); {
			case undecided:
				more = true
			case match:
				return true, false
			}
		}
		return false, more
	}
}
