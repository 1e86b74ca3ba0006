// Package httpline recognizes the first line of an HTTP request. Servers of other protocols use it
// to close a connection before anything else on it is taken for a request of theirs: a web page can
// make a browser send an HTTP request with a body of its choice to any port.
package httpline

import "bytes"

// IsRequest reports whether line, with or without its line ending, is the request line of HTTP/1,
// or the preface of HTTP/2: a method in capital letters, a target, and a version.
func IsRequest(line []byte) bool {
	line = bytes.TrimRight(line, "\r\n")
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(method) == 0 || len(method) > 20 {
		return false
	}
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	i := bytes.LastIndexByte(rest, ' ')
	return i > 0 && bytes.HasPrefix(rest[i+1:], []byte("HTTP/"))
}
