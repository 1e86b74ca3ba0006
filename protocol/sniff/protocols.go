package sniff

import "encoding/binary"

var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// HTTP1 matches requests of HTTP/1: a method of RFC 9110, PATCH, or an additional one, and a space.
func HTTP1(additional ...string) Match {
	var prefixes []string
	for _, m := range append(methods[:len(methods):len(methods)], additional...) {
		prefixes = append(prefixes, m+" ")
	}
	return Prefix(prefixes...)
}

// HTTP2 matches the preface of HTTP/2 without TLS (RFC 9113, section 3.4), which gRPC without TLS
// uses too.
func HTTP2() Match { return Prefix("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") }

// SSH matches clients that send their version first (RFC 4253, section 4.2), as OpenSSH does.
func SSH() Match { return Prefix("SSH-") }

// SOCKS4 matches the requests CONNECT and BIND of SOCKS 4 and 4A.
func SOCKS4() Match { return Prefix("\x04\x01", "\x04\x02") }

// SOCKS5 matches the greeting of SOCKS 5: its version, and one method or more (RFC 1928, section
// 3).
func SOCKS5() Match {
	return func(first []byte) (match, more bool) {
		if len(first) == 1 {
			return false, first[0] == 5
		}
		return first[0] == 5 && first[1] > 0, false
	}
}

// signature2 is the beginning of a PROXY header of version 2.
const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// ProxyHeader matches the header of the PROXY protocol, version 1 or 2, in which a proxy sends the
// address of its client. An [Upgrade] to a proxy.Transport reads it, from trusted peers only.
func ProxyHeader() Match {
	return Prefix("PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN", signature2+"\x20", signature2+"\x21")
}

// MQTT matches the packet CONNECT of MQTT 3.1, 3.1.1 and 5.0: its type, a length of up to four
// bytes and the name of the protocol (OASIS MQTT 5.0, sections 2.1 and 3.1).
func MQTT() Match {
	name := Prefix("\x00\x04MQTT", "\x00\x06MQIsdp")
	return func(first []byte) (match, more bool) {
		if first[0] != 0x10 {
			return false, false
		}
		for i, b := range first[1:] {
			if b < 0x80 { // the last byte of the length
				return name(first[2+i:])
			}
			if i == 3 {
				return false, false
			}
		}
		return false, true
	}
}

// Codes and sizes of the first packet of a PostgreSQL client.
const (
	pgCancel      = 1234<<16 | 5678
	pgSSL         = 1234<<16 | 5679
	pgGSS         = 1234<<16 | 5680
	pgMajor       = 3
	pgMaxStartup  = 10000
	pgMaxCancel   = 12 + 256
	pgMinCancel   = 12 + 4
	pgFixedLength = 8
)

// Postgres matches the first packet of a PostgreSQL client: SSLRequest, GSSENCRequest,
// CancelRequest, or StartupMessage of version 3 of the protocol (PostgreSQL 18, section 54.7). Its
// length must be possible for it. Clients that begin with TLS match ALPN("postgresql").
func Postgres() Match {
	return func(first []byte) (match, more bool) {
		if first[0] != 0 || len(first) > 1 && first[1] != 0 {
			return false, false
		}
		if len(first) < pgFixedLength {
			return false, true
		}
		length := binary.BigEndian.Uint32(first)
		switch code := binary.BigEndian.Uint32(first[4:]); {
		case code == pgSSL || code == pgGSS:
			return length == pgFixedLength, false
		case code == pgCancel:
			return pgMinCancel <= length && length <= pgMaxCancel, false
		default:
			return code>>16 == pgMajor && pgFixedLength < length && length <= pgMaxStartup, false
		}
	}
}

// tlsHello tests the beginning of a record with a ClientHello: the record's type, its version 3.x
// and length, and the type of the message (RFC 8446, sections 5.1 and 4). SSL 2 is not supported.
var tlsHello = [...]func(b byte) bool{
	func(b byte) bool { return b == recordHandshake },
	func(b byte) bool { return b == 3 },
	func(b byte) bool { return b <= 4 },
	func(b byte) bool { return b <= maxRecord>>8 },
	func(byte) bool { return true },
	func(b byte) bool { return b == 1 },
}

// TLS matches the beginning of a ClientHello.
func TLS() Match { return isTLS }

func isTLS(first []byte) (match, more bool) {
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
