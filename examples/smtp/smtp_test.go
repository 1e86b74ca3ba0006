package main

import (
	"io"
	"net"
	"net/smtp"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/examples/internal/transcript"
	"goranch/ranch"
)

// buffer is what the server prints.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newTestServer(t *testing.T, limit int) (s *server, mail *buffer, stop func()) {
	t.Helper()
	mail = &buffer{}
	s, err := start("127.0.0.1:0", "127.0.0.1:0", limit, mail)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop: got %v, want no error", err)
		}
	})
	t.Cleanup(stop)
	return s, mail, stop
}

func needSwaks(t *testing.T) {
	t.Helper()
	transcript.Need(t, "swaks", "swaks")
	if err := exec.Command("perl", "-MNet::SSLeay", "-e", "1").Run(); err != nil {
		t.Skip("SKIPPED: swaks has no TLS; to run this test: apt-get install libnet-ssleay-perl")
	}
}

func TestTranscript(t *testing.T) {
	needSwaks(t)
	s, mail, _ := newTestServer(t, 10)
	transcript.Check(t, "smtp", "127.0.0.1:2525", s.plain.Addr().String(), "127.0.0.1:4650", s.secure.Addr().String())
	const want = `mail from "alice@example.org" to ["bob@example.org"]`
	if n := strings.Count(mail.String(), want); n != 2 {
		t.Errorf("printed mails: got %q, want two times %q", mail, want)
	}
}

// At the cap of both listeners together a client of either receives 421.
func TestCap(t *testing.T) {
	needSwaks(t)
	s, _, _ := newTestServer(t, 1)
	defer dial(t, s).Close()
	for _, args := range [][]string{{"--server", s.plain.Addr().String()}, {"--tlsc", "--server", s.secure.Addr().String()}} {
		out, err := exec.Command("swaks", append(args, "--to", "bob@example.org", "--from", "alice@example.org")...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "421 4.3.2 localhost: too many connections") {
			t.Errorf("swaks %q: got error %v and\n%s\nwant a reply 421", args, err, out)
		}
	}
}

// A session that is in progress when the server stops delivers its mail.
func TestStop(t *testing.T) {
	s, mail, stop := newTestServer(t, 10)
	c := dial(t, s)
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	for s.plain.Status() == ranch.Running { // until the drain has begun
		time.Sleep(time.Millisecond)
	}
	if err := c.Mail("alice@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("bob@example.org"); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "hello\r\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	<-stopped
	if want := `mail from "alice@example.org" to ["bob@example.org"]: 7 bytes` + "\n"; mail.String() != want {
		t.Errorf("printed mails: got %q, want %q", mail, want)
	}
	if nc, err := net.Dial("tcp", s.plain.Addr().String()); err == nil {
		nc.Close()
		t.Error("connect after the stop: got no error, want one")
	}
}

func dial(t *testing.T, s *server) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(s.plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
