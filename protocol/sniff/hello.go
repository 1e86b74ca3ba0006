package sniff

import (
	"fmt"
	"iter"

	"goranch/internal/hostname"
	"goranch/protocol"
	"goranch/transport"
)

// hello is what a route depends on in a ClientHello. It shares the memory of the bytes of the
// connection.
type hello struct {
	name reader // the host name of the server name extension; n is 0 if there is none
	alpn reader // the list of protocol names
}

// Types of extensions.
const (
	extServerName = 0  // RFC 6066, section 3
	extALPN       = 16 // RFC 7301, section 3.1
)

// parse reads the ClientHello with which first begins. more means that it is not complete. If there
// is none, or if its parts contradict each other, ok is false.
//
// Extensions other than the two are skipped. Those two must be as crypto/tls accepts them: a server
// that parses the ClientHello again must not find another name.
func parse(first []byte) (h hello, more, ok bool) {
	m, more := helloIn(first)
	if m.n == 0 {
		return hello{}, more, false
	}
	m.skip(messageHeader + 2 + 32) // version, random: RFC 8446, section 4.1.2
	m.vector(1)                    // session id
	suites := m.vector(2)
	m.vector(1) // compression methods
	if m.bad || suites.n%2 != 0 {
		return hello{}, false, false
	}
	if m.n == 0 { // without extensions: RFC 5246, section 7.4.1.2
		return hello{}, false, true
	}
	extensions := m.vector(2)
	if m.n != 0 || !h.read(extensions) {
		return hello{}, false, false
	}
	return h, false, true
}

func (h *hello) read(extensions reader) bool {
	var seen [extALPN + 1]bool
	for extensions.n > 0 {
		kind, data := extensions.uint(2), extensions.vector(2)
		if kind != extServerName && kind != extALPN {
			continue
		}
		list := data.vector(2)
		if seen[kind] || data.bad || data.n > 0 || list.n == 0 {
			return false
		}
		seen[kind] = true
		ok := false
		if kind == extServerName {
			h.name, ok = hostIn(list)
		} else {
			h.alpn, ok = list, validALPN(list)
		}
		if !ok {
			return false
		}
	}
	return !extensions.bad
}

// hostIn returns the host name in a list of server names. Names of other types are skipped; there
// is at most one host name, without a dot at the end (RFC 6066, section 3).
func hostIn(list reader) (host reader, ok bool) {
	for list.n > 0 {
		kind, name := list.uint(1), list.vector(2)
		if name.n == 0 {
			return reader{}, false
		}
		if kind != 0 {
			continue
		}
		last := name
		last.skip(name.n - 1)
		if host.n > 0 || last.uint(1) == '.' {
			return reader{}, false
		}
		host = name
	}
	return host, !list.bad
}

func validALPN(list reader) bool {
	for list.n > 0 {
		if name := list.vector(1); name.n == 0 {
			return false
		}
	}
	return !list.bad
}

// offers reports whether the client offers one of the protocols.
func (h hello) offers(protocols []string) bool {
	for list := h.alpn; list.n > 0; {
		name := list.vector(1)
		for _, p := range protocols {
			if name.equal(p) {
				return true
			}
		}
	}
	return false
}

// host appends the server name to b, in lower case; ok is false if it is not a valid host name.
func (h hello) host(b []byte) (host []byte, ok bool) {
	if h.name.n == 0 || h.name.n > hostname.Max {
		return b, false
	}
	var raw [hostname.Max]byte
	return hostname.Append(b, h.name.append(raw[:0]))
}

// ClientHello is the part of the first message of a TLS client that is used for routing.
type ClientHello struct {
	// ServerName is the server name (SNI) as the client has sent it: any bytes, of any length that
	// fits. It is "" if there is none. With Encrypted Client Hello (ECH) it is the public name of
	// the provider; the other name is encrypted.
	ServerName string

	alpn string // the list as it was sent
}

// ALPN returns the names of the application protocols that the client offers, in its order.
func (h *ClientHello) ALPN() iter.Seq[string] {
	return func(yield func(string) bool) {
		for list := h.alpn; len(list) > 0; {
			n := 1 + int(list[0])
			if !yield(list[1:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// ParseClientHello parses the ClientHello with which the first bytes of a connection begin, for use
// in a [Match] or a [Select]. more means that it is not complete. The result is nil if there is
// none, also if it is malformed: its lengths contradict each other, a list is empty, the server
// name or ALPN is sent twice, the server name ends with a dot, or the message is in more than 128
// records.
//
// The result has no reference to first. Memory is allocated for its two fields only.
func ParseClientHello(first []byte) (h *ClientHello, more bool) {
	parsed, more, ok := parse(first)
	if !ok {
		return nil, more
	}
	return &ClientHello{
		ServerName: string(parsed.name.append(nil)),
		alpn:       string(parsed.alpn.append(nil)),
	}, false
}

// ErrNoClientHello is wrapped by the error of [PeekClientHello] for other data, or a malformed
// ClientHello. It is [protocol.ErrBadInput].
var ErrNoClientHello = fmt.Errorf("%w: no ClientHello", protocol.ErrBadInput)

// PeekClientHello waits for a ClientHello of at most 64 KiB, and leaves it unread. In a protocol
// that was selected by its server name it returns at once. It is a read of conn: it must not
// overlap another one, and the read deadline applies.
func PeekClientHello(conn *transport.Conn) (*ClientHello, error) {
	for n := 1; ; n++ {
		first, err := conn.Peek(n)
		if len(first) > 0 {
			h, more := ParseClientHello(first)
			if h != nil {
				return h, nil
			}
			if !more {
				return nil, fmt.Errorf("%w: %s", ErrNoClientHello, beginning(first))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrNoClientHello, beginning(first), err)
		}
		n = len(first)
	}
}
