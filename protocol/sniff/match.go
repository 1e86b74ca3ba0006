package sniff

// Match examines the first bytes of a connection: at least one, and all that have arrived so far.
// It reports whether they match; more means that this depends on bytes that have not arrived. It
// must not keep or change first. Once more is false, the result must stay the same for additional
// bytes.
type Match func(first []byte) (match, more bool)

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

var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// HTTP1 matches requests of HTTP/1: a method of RFC 9110, PATCH, or an additional one, and a space.
func HTTP1(additional ...string) Match {
	var prefixes []string
	for _, m := range append(methods[:len(methods):len(methods)], additional...) {
		prefixes = append(prefixes, m+" ")
	}
	return Prefix(prefixes...)
}

// HTTP2 matches the preface of HTTP/2 without TLS, which gRPC without TLS uses too.
func HTTP2() Match { return Prefix("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") }

// SSH matches clients that send their version first, as OpenSSH does.
func SSH() Match { return Prefix("SSH-") }

// tlsHello tests the beginning of a record with a ClientHello: the record's type, its version 3.x
// and length, and the type of the message. SSL 2 is not supported.
var tlsHello = []func(b byte) bool{
	func(b byte) bool { return b == 22 },
	func(b byte) bool { return b == 3 },
	func(b byte) bool { return b <= 4 },
	func(b byte) bool { return b <= 1<<14>>8 },
	func(byte) bool { return true },
	func(b byte) bool { return b == 1 },
}

// TLS matches a ClientHello.
func TLS() Match {
	return func(first []byte) (match, more bool) {
		for i, ok := range tlsHello {
			if i == len(first) {
				return false, true
			}
			if !ok(first[i]) {
				return false, false
			}
		}
		return true, false
	}
}
