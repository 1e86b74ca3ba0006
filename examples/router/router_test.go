package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"goranch/conns"
	"goranch/examples/internal/transcript"
	"goranch/ranch"
)

func newTestServer(t *testing.T) (l *ranch.Listener, port string) {
	t.Helper()
	l, err := start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ranch.Drain(context.Background()); err != nil {
			t.Errorf("Drain: got %v, want no error", err)
		}
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l, port
}

func TestTranscript(t *testing.T) {
	transcript.Need(t, "curl", "curl")
	transcript.Need(t, "openssl", "openssl")
	_, port := newTestServer(t)
	transcript.Check(t, "router", "8443", port)
}

// What is not TLS is closed without an answer.
func TestBadInput(t *testing.T) {
	l, port := newTestServer(t)
	nc, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(nc, "GET / HTTP/1.1\r\n"+strings.Repeat("x", 100)+"\r\n\r\n")
	if got, _ := io.ReadAll(nc); len(got) > 0 {
		t.Errorf("answer to plain HTTP: got %q, want none", got)
	}
	l.Stop()
	if got := l.Info().Reasons[conns.BadInput]; got != 1 {
		t.Errorf("connections ended for bad input: got %d, want 1", got)
	}
}
