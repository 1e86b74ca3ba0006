package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/examples/internal/transcript"
	"goranch/ranch"
)

func newTestServer(t *testing.T) (l *ranch.Listener, port string) {
	t.Helper()
	l, err := start("127.0.0.1:0", newStore(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l, port
}

func TestTranscript(t *testing.T) {
	transcript.Need(t, "redis-cli", "redis-tools")
	_, port := newTestServer(t)
	transcript.Check(t, "resp", "6379", port)
}

func TestBenchmarkClient(t *testing.T) {
	transcript.Need(t, "redis-benchmark", "redis-tools")
	_, port := newTestServer(t)
	for _, pipeline := range []string{"1", "16"} {
		out, err := exec.Command("redis-benchmark", "-p", port, "-P", pipeline, "-n", "2000", "-r", "100", "--csv", "-t", "ping,set,get,incr,mset").CombinedOutput()
		if lines := strings.Count(string(out), "\n"); err != nil || lines != 7 || bytes.Contains(out, []byte("rror")) {
			t.Errorf("redis-benchmark -P %s: got error %v and\n%s\nwant a heading and six results", pipeline, err, out)
		}
	}
}

// Answers to requests that arrive together are sent in one write.
func TestPipeline(t *testing.T) {
	l, port := newTestServer(t)
	nc := dial(t, port)
	io.WriteString(nc, strings.Repeat("*1\r\n$4\r\nPING\r\n", 50))
	want := strings.Repeat("+PONG\r\n", 50)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
		t.Fatalf("answers: got %q and error %v, want %q", got, err, want)
	}
	if s := l.Connections()[0].Stats; s.Writes > s.Reads {
		t.Errorf("got %d writes after %d reads, want no more writes than reads", s.Writes, s.Reads)
	}
}

// Each line of input is a command as a person types it; the answers are as they are sent.
func TestCommands(t *testing.T) {
	s := newStore(500)
	for _, c := range []struct{ command, want string }{
		{"ping", "+PONG\r\n"},
		{"PING x", "$1\r\nx\r\n"},
		{"GET a", "$-1\r\n"},
		{"SET a 1", "+OK\r\n"},
		{"SET a 22", "+OK\r\n"},
		{"GET a", "$2\r\n22\r\n"},
		{"MGET a b", "*2\r\n$2\r\n22\r\n$-1\r\n"},
		{"INCR a", ":23\r\n"},
		{"DECR b", ":-1\r\n"},
		{"SET a x", "+OK\r\n"},
		{"INCR a", outOfRange},
		{"SET a 9223372036854775807", "+OK\r\n"},
		{"INCR a", outOfRange},
		{"DECR a", ":9223372036854775806\r\n"},
		{"EXISTS a b c a", ":3\r\n"},
		{"TTL a", ":-1\r\n"},
		{"TTL c", ":-2\r\n"},
		{"EXPIRE c 1", ":0\r\n"},
		{"EXPIRE a 9223372036854775807", badExpire},
		{"SET a 1 EX 0", badExpire},
		{"SET a 1 EX 9223372036854775807", badExpire},
		{"SET a 1 XX", syntax},
		{"SET a 1 NO 5", syntax},
		{"DEL a b c", ":2\r\n"},
		{"SET k " + strings.Repeat("x", 600), full},
		{"DBSIZE", ":0\r\n"},
		{"MSET a 1 b 2", "+OK\r\n"},
		{"MSET a 1 b", "-ERR wrong number of arguments\r\n"},
		{"GET", "-ERR wrong number of arguments\r\n"},
		{"CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"},
		{"NONE\x1b", "-ERR unknown command\r\n"},
		{strings.Repeat("x", 1000), "-ERR unknown command\r\n"},
		{"FLUSHALL", "+OK\r\n"},
		{"DBSIZE", ":0\r\n"},
	} {
		got, _ := s.run(nil, bytes.Fields([]byte(c.command)))
		if string(got) != c.want {
			t.Errorf("%q: got %q, want %q", c.command, got, c.want)
		}
	}
	if n := s.bytes.Load(); n != 0 {
		t.Errorf("memory of an empty store: got %d bytes, want 0", n)
	}
}

func TestLongAnswer(t *testing.T) {
	s := newStore(10 << 20)
	s.set([]byte("k"), make([]byte, 1<<20), 0)
	got, _ := s.run(nil, bytes.Fields([]byte("MGET "+strings.Repeat("k ", 1000))))
	if want := "-ERR the answer is longer than 8 MiB\r\n"; string(got) != want {
		t.Errorf("MGET of 1000 MiB: got %d bytes, want %q", len(got), want)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(1 << 20)
		ctx, cancel := context.WithCancel(t.Context())
		go s.removeExpired(ctx)
		s.set([]byte("a"), []byte("1"), 1500*time.Millisecond)
		s.set([]byte("b"), []byte("2"), 0)
		s.expire([]byte("b"), time.Minute)
		time.Sleep(1400 * time.Millisecond)
		if got := s.ttl([]byte("b")); !s.has([]byte("a")) || got != 59 {
			t.Errorf("before: got a %t and a time to live of b of %d s, want true and 59", s.has([]byte("a")), got)
		}
		time.Sleep(200 * time.Millisecond)
		if s.has([]byte("a")) || !s.has([]byte("b")) {
			t.Errorf("after: got a %t, b %t, want only b", s.has([]byte("a")), s.has([]byte("b")))
		}
		time.Sleep(time.Minute) // nobody asks for b
		synctest.Wait()
		if got := s.bytes.Load(); got != 0 {
			t.Errorf("memory when all have expired: got %d bytes, want 0", got)
		}
		cancel()
	})
}

// A request allocates nothing, except for a value that is longer than the old one.
func TestAllocations(t *testing.T) {
	s := newStore(1 << 20)
	for _, command := range []string{"SET k value", "GET k", "INCR n", "MGET k n", "SET k value EX 100"} {
		args, b := bytes.Fields([]byte(command)), make([]byte, 0, 1024)
		if n := testing.AllocsPerRun(100, func() { s.run(b, args) }); n > 0 {
			t.Errorf("%s: got %v allocations, want 0", command, n)
		}
	}
}

// What is not RESP costs its own connection only.
func TestBadInput(t *testing.T) {
	l, port := newTestServer(t)
	for _, input := range []string{"*1\r\n$-5\r\n", "*99999999\r\n", "POST / HTTP/1.1\r\n", "SET \"a\r\n"} {
		nc := dial(t, port)
		io.WriteString(nc, input)
		io.Copy(io.Discard, nc)
	}
	l.Stop()
	if got := l.Info().Reasons[conns.BadInput]; got != 4 {
		t.Errorf("connections ended for bad input: got %d, want 4", got)
	}
}

func dial(t *testing.T, port string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return nc
}
