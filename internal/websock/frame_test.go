package websock_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"goranch/internal/websock"
)

// limited takes n bytes.
type limited struct {
	bytes.Buffer
	n int
}

var errFull = errors.New("full")

func (l *limited) Write(p []byte) (int, error) {
	n, _ := l.Buffer.Write(p[:min(len(p), l.n)])
	if l.n -= n; n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestWriteFrame(t *testing.T) {
	for _, tt := range []struct {
		size, space int
		header      string
		n, whole    int
	}{
		{0, 1 << 20, "\x82\x00", 0, 2}, {125, 1 << 20, "\x82\x7d", 125, 127}, {126, 1 << 20, "\x82\x7e\x00\x7e", 126, 130},
		{65535, 1 << 20, "\x82\x7e\xff\xff", 65535, 65539}, {65536, 1 << 20, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65536, 65546},
		{100, 0, "", 0, 0}, {100, 1, "\x82", 0, 1}, {100, 2, "\x82\x64", 0, 2}, {100, 12, "\x82\x64", 10, 12}, {5000, 4500, "\x82\x7e\x13\x88", 4496, 4500},
	} {
		w := &limited{n: tt.space}
		payload := strings.Repeat("x", tt.size)
		n, whole, err := websock.WriteFrame(w, websock.Binary, []byte(payload))
		if n != tt.n || whole != tt.whole || (err != nil) != (n < tt.size) || w.String() != tt.header+payload[:tt.n] {
			t.Errorf("%d bytes, space for %d: got %d, %d, %v, %.20q, want %d, %d, %q", tt.size, tt.space, n, whole, err, w.String(), tt.n, tt.whole, tt.header)
		}
	}
}

func TestReason(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "short": "short", strings.Repeat("a", 200): strings.Repeat("a", 123), strings.Repeat("€", 42): strings.Repeat("€", 41), "a\xff": "a",
	} {
		if got := websock.Reason(in); got != want || !utf8.ValidString(got) {
			t.Errorf("Reason(%.20q): got %q, want %q", in, got, want)
		}
	}
}
