package httpline_test

import (
	"fmt"
	"testing"

	"goranch/internal/httpline"
)

func TestIsRequest(t *testing.T) {
	for line, want := range map[string]bool{
		"POST / HTTP/1.1\r\n":             true,
		"GET /a?b=c HTTP/1.0":             true,
		"OPTIONS * HTTP/1.1\r":            true,
		"M-SEARCH * HTTP/1.1":             true,
		"PRI * HTTP/2.0":                  true,
		"GET / with a blank HTTP/1.1":     true,
		"CONNECT example.org:80 HTTP/1.1": true,
		"":                                false,
		"GET /":                           false,
		"GET HTTP/1.1":                    false,
		" GET / HTTP/1.1":                 false,
		"get / HTTP/1.1":                  false,
		"echo GET / HTTP/1.1":             false,
		"HTTP/1.1 200 OK":                 false,
		"PING":                            false,
		"\x16\x03\x01":                    false,
	} {
		if got := httpline.IsRequest([]byte(line)); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}

func FuzzIsRequest(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) { httpline.IsRequest(b) })
}

func Example() {
	fmt.Println(httpline.IsRequest([]byte("POST /cgi HTTP/1.1\r\n")), httpline.IsRequest([]byte("help")))
	// Output: true false
}
