package main

import (
	"bufio"
	"io"
	"net"
	"os/exec"
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

// terminal is a running nc.
type terminal struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func newTerminal(t *testing.T, l *ranch.Listener) *terminal {
	t.Helper()
	host, port, _ := net.SplitHostPort(l.Addr().String())
	nc := exec.Command("nc", host, port)
	in, err := nc.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := nc.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Process.Kill(); nc.Wait() })
	return &terminal{t, in, bufio.NewReader(out)}
}

func (c *terminal) sends(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *terminal) receives(want string) {
	c.t.Helper()
	if got, err := c.out.ReadString('\n'); got != want+"\n" {
		c.t.Fatalf("received line: got %q (error %v), want %q", got, err, want)
	}
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
	alice.receives("What is your name?")
	alice.sends("alice")
	alice.receives("* alice has joined")
	bob.receives("What is your name?")
	bob.sends("alice")
	bob.receives("This name is taken, too long, or has a space or one of :/* in it. What is your name?")
	bob.sends("bob")
	bob.receives("* bob has joined")
	alice.receives("* bob has joined")
	bob.sends("hi \x1b[31mred\x07\xff \u202e")
	alice.receives("bob: hi [31mred")
	bob.receives("bob: hi [31mred")
	bob.sends("/who")
	bob.receives("* alice, bob")
	bob.sends("/quit")
	alice.receives("* bob has left")
	go l.Stop()
	alice.receives("* the server stops")
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
