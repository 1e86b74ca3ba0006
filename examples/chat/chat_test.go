package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"goranch/conns"
	"goranch/examples/internal/transcript"
	"goranch/ranch"
)

func newTestServer(t *testing.T) *ranch.Listener {
	t.Helper()
	l, err := start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() }) // some tests have stopped it
	return l
}

func newTerminal(t *testing.T, l *ranch.Listener) *transcript.Terminal {
	t.Helper()
	host, port, _ := net.SplitHostPort(l.Addr().String())
	return transcript.Start(t, "nc", host, port)
}

func TestTranscript(t *testing.T) {
	transcript.Need(t, "nc", "netcat-openbsd")
	_, port, _ := net.SplitHostPort(newTestServer(t).Addr().String())
	transcript.Check(t, "chat", "4000", port)
}

func TestTwoClients(t *testing.T) {
	transcript.Need(t, "nc", "netcat-openbsd")
	l := newTestServer(t)
	alice, bob := newTerminal(t, l), newTerminal(t, l)
	alice.Receives("What is your name?")
	alice.Sends("alice")
	alice.Receives("* alice has joined")
	bob.Receives("What is your name?")
	bob.Sends("alice")
	bob.Receives("This name is taken, too long, or has a space or one of :/* in it. What is your name?")
	bob.Sends("bob")
	bob.Receives("* bob has joined")
	alice.Receives("* bob has joined")
	bob.Sends("hi \x1b[31mred\x07\xff \u202e")
	alice.Receives("bob: hi [31mred")
	bob.Receives("bob: hi [31mred")
	bob.Sends("/who")
	bob.Receives("* alice, bob")
	bob.Sends("/quit")
	alice.Receives("* bob has left")
	go l.Stop()
	alice.Receives("* the server stops")
}

// A line that is too long costs its own connection only.
func TestBadInput(t *testing.T) {
	l := newTestServer(t)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(nc, strings.Repeat("x", 2000))
	io.Copy(io.Discard, nc)
	l.Stop()
	if got := l.Info().Reasons[conns.BadInput]; got != 1 {
		t.Errorf("connections ended for bad input: got %d, want 1", got)
	}
}
