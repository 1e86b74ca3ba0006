package main

import (
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/examples/internal/transcript"
	"goranch/ranch"
)

func newTestServer(t *testing.T, limit int) (s *server, port string, stop func()) {
	t.Helper()
	s, err := start("127.0.0.1:0", limit)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop: got %v, want no error", err)
		}
	})
	t.Cleanup(stop)
	_, port, err = net.SplitHostPort(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return s, port, stop
}

func TestTranscript(t *testing.T) {
	transcript.Need(t, "ssh", "openssh-client")
	_, port, _ := newTestServer(t, 10)
	transcript.Check(t, "ssh", "2222", port)
}

// At the cap a client is refused at once. A session that is in progress when the server stops goes
// on until its client ends it.
func TestCapAndStop(t *testing.T) {
	transcript.Need(t, "ssh", "openssh-client")
	s, port, stop := newTestServer(t, 1)
	args := []string{"-q", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", port, "guest@127.0.0.1"}
	client := transcript.Start(t, "ssh", args...)
	client.Sends("hello")
	client.Receives("HELLO")

	refused := exec.Command("ssh", append([]string{"-v"}, args[1:]...)...)
	if b, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(b), "Too many connections") {
		t.Errorf("ssh at the cap: got error %v and\n%s\nwant the rejection message", err, b)
	}

	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	for s.Status() == ranch.Running { // until the drain has begun
		time.Sleep(time.Millisecond)
	}
	client.Sends("still here")
	client.Receives("STILL HERE")
	client.Exits()
	<-stopped
}
