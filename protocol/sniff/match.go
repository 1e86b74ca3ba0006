package sniff

// Verdict is what a [Match] says of the first bytes of a connection.
type Verdict int

const (
	More Verdict = iota // they may yet become what is looked for
	Yes
	No
)

// Match looks at the first bytes of a connection, at least one, as many as have come so far.
// It must not keep or change them. Yes and No are final: with more bytes, it has
// to say the same, or how a client's bytes are cut into packets would decide what it gets.
type Match func(first []byte) Verdict

// Prefix matches what begins with any of the strings. "" begins everything.
func Prefix(prefixes ...string) Match {
	return func(first []byte) Verdict {
		verdict := No
		for _, p := range prefixes {
			n := min(len(p), len(first))
			if string(first[:n]) != p[:n] {
				continue
			}
			if n == len(p) {
				return Yes
			}
			verdict = More
		}
		return verdict
	}
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// HTTP1 matches a request of HTTP/1 or older with a method of RFC 9110, PATCH, or one of
// those given besides: a method and a space.
func HTTP1(besides ...string) Match {
	var prefixes []string
	for _, m := range append(methods[:len(methods):len(methods)], besides...) {
		prefixes = append(prefixes, m+" ")
	}
	return Prefix(prefixes...)
}

// HTTP2 matches the preface of HTTP/2 in plain text, as gRPC without TLS begins.
func HTTP2() Match { return Prefix("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") }

// SSH matches a client that says its version first, as OpenSSH does.
func SSH() Match { return Prefix("SSH-") }

// tlsHello is how a record with a ClientHello begins: type, version 3.x, length, and the
// type of the message. SSL 2 is not matched; nobody speaks it.
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
	return func(first []byte) Verdict {
		for i, ok := range tlsHello {
			if i == len(first) {
				return More
			}
			if !ok(first[i]) {
				return No
			}
		}
		return Yes
	}
}
