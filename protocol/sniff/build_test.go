package sniff_test

import (
	"encoding/binary"
	"strings"
)

// vector returns data after its length in size bytes.
func vector(size int, data string) string {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(data)))
	return string(n[8-size:]) + data
}

func extension(kind uint16, data string) string {
	return string(binary.BigEndian.AppendUint16(nil, kind)) + vector(2, data)
}

// serverName returns the extension with the names as host names.
func serverName(names ...string) string {
	var list strings.Builder
	for _, n := range names {
		list.WriteString("\x00" + vector(2, n))
	}
	return extension(0, vector(2, list.String()))
}

func alpn(names ...string) string {
	var list strings.Builder
	for _, n := range names {
		list.WriteString(vector(1, n))
	}
	return extension(16, vector(2, list.String()))
}

// message returns the handshake message with the body that begins a ClientHello and the extensions.
func message(extensions ...string) string {
	return handshake(fixedPart + vector(2, strings.Join(extensions, "")))
}

func handshake(body string) string { return "\x01" + vector(3, body) }

// fixedPart is a ClientHello before its extensions, with GREASE as the first cipher suite.
var fixedPart = "\x03\x03" + strings.Repeat("r", 32) + vector(1, strings.Repeat("s", 32)) + vector(2, "\x1a\x1a\x13\x01\xc0\x2f") + vector(1, "\x00")

// records returns a message in records with payloads of size bytes; 0 is one record.
func records(msg string, size int) string {
	var b strings.Builder
	if size == 0 {
		size = len(msg)
	}
	for len(msg) > 0 {
		n := min(size, len(msg))
		b.WriteString("\x16\x03\x01" + vector(2, msg[:n]))
		msg = msg[n:]
	}
	return b.String()
}

// helloFor returns a ClientHello with a server name, and ALPN if there is any.
func helloFor(name string, protocols ...string) string {
	if len(protocols) == 0 {
		return records(message(serverName(name)), 0)
	}
	return records(message(serverName(name), alpn(protocols...)), 0)
}
