package transport_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// memSocket has the common methods of *net.TCPConn and the ends of a Mem.
type memSocket interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
	SetLinger(sec int) error
}

// memSteps performs operations on both ends of a connection, and records their outcomes.
type memSteps struct {
	t              *testing.T
	client, server memSocket
	got            []string
}

func (s *memSteps) note(err error) { s.got = append(s.got, memOutcome(err)) }

func (s *memSteps) write(c memSocket, text string) {
	n, err := c.Write([]byte(text))
	s.got = append(s.got, fmt.Sprintf("%d %s", n, memOutcome(err)))
}

func (s *memSteps) read(c memSocket, size int) {
	buf := make([]byte, size)
	n, err := c.Read(buf)
	s.got = append(s.got, fmt.Sprintf("%q %s", buf[:n], memOutcome(err)))
}

// leaveUnread ensures that data has arrived at c that c will not read.
func (s *memSteps) leaveUnread(c, peer memSocket) {
	if _, err := peer.Write([]byte("ab")); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		s.t.Fatal(err)
	}
}

// memTCPLike is the behaviour of TCP on Linux that Mem has as well.
var memTCPLike = []struct {
	name string
	do   func(s *memSteps)
	want []string
}{
	{"close after everything is read", func(s *memSteps) {
		s.write(s.client, "hello")
		s.note(s.client.Close())
		s.read(s.server, 9)
		s.read(s.server, 9)
		s.read(s.server, 9)
	}, []string{"5 ok", "ok", `"hello" ok`, `"" EOF`, `"" EOF`}},
	{"close with something unread", func(s *memSteps) {
		s.leaveUnread(s.server, s.client)
		s.note(s.server.Close())
		s.read(s.client, 9)
		s.write(s.client, "x")
	}, []string{"ok", `"" read ECONNRESET`, "0 write EPIPE"}},
	{"what came before a reset is read", func(s *memSteps) {
		s.leaveUnread(s.server, s.client)
		s.write(s.server, "bye")
		s.note(s.server.Close())
		s.read(s.client, 9)
		s.read(s.client, 9)
	}, []string{"3 ok", "ok", `"bye" ok`, `"" read ECONNRESET`}},
	{"a reset after EOF is EOF", func(s *memSteps) {
		s.leaveUnread(s.server, s.client)
		s.note(s.server.CloseWrite())
		s.read(s.client, 9)
		s.note(s.server.Close())
		s.read(s.client, 9)
	}, []string{"ok", `"" EOF`, "ok", `"" EOF`}},
	{"linger 0", func(s *memSteps) {
		s.note(s.server.SetLinger(0))
		s.note(s.server.Close())
		s.read(s.client, 9)
		s.note(s.server.SetLinger(0))
	}, []string{"ok", "ok", `"" read ECONNRESET`, "set closed"}},
	{"linger restored", func(s *memSteps) {
		s.note(s.server.SetLinger(0))
		s.note(s.server.SetLinger(-1))
		s.note(s.server.Close())
		s.read(s.client, 9)
	}, []string{"ok", "ok", "ok", `"" EOF`}},
	{"writes to a closed peer", func(s *memSteps) {
		s.note(s.server.Close())
		s.read(s.client, 9)
		var err error
		for err == nil { // TCP reports it with the second write
			_, err = s.client.Write([]byte("x"))
		}
		s.note(err)
	}, []string{"ok", `"" EOF`, "write EPIPE"}},
	{"half-close", func(s *memSteps) {
		s.write(s.client, "question")
		s.note(s.client.CloseWrite())
		s.note(s.client.CloseWrite())
		s.read(s.server, 99)
		s.read(s.server, 99)
		s.write(s.server, "answer")
		s.read(s.client, 99)
		s.write(s.client, "x")
		s.write(s.client, "")
	}, []string{"8 ok", "ok", "ok", `"question" ok`, `"" EOF`, "6 ok", `"answer" ok`, "0 write EPIPE", "0 write EPIPE"}},
	{"closed read side", func(s *memSteps) {
		s.note(s.server.CloseRead())
		s.note(s.server.CloseRead())
		s.read(s.server, 9)
		s.write(s.server, "still")
		s.read(s.client, 9)
	}, []string{"ok", "ok", `"" EOF`, "5 ok", `"still" ok`}},
	{"everything after Close", func(s *memSteps) {
		s.note(s.client.Close())
		s.note(s.client.Close())
		s.read(s.client, 9)
		s.read(s.client, 0)
		s.write(s.client, "x")
		s.write(s.client, "")
		s.note(s.client.CloseRead())
		s.note(s.client.CloseWrite())
		s.note(s.client.SetDeadline(time.Time{}))
		s.note(s.client.SetReadDeadline(time.Time{}))
		s.note(s.client.SetWriteDeadline(time.Time{}))
	}, []string{"ok", "close closed", `"" read closed`, `"" read closed`, "0 write closed", "0 write closed",
		"close closed", "close closed", "set closed", "set closed", "set closed"}},
	{"a passed deadline wins over data and room", func(s *memSteps) {
		s.write(s.client, "hello")
		s.read(s.server, 1)
		s.note(s.server.SetDeadline(time.Unix(1, 0)))
		s.read(s.server, 9)
		s.read(s.server, 0)
		s.write(s.server, "x")
		s.write(s.server, "")
		s.note(s.server.SetDeadline(time.Time{}))
		s.read(s.server, 9)
		s.write(s.server, "x")
	}, []string{"5 ok", `"h" ok`, "ok", `"" read timeout`, `"" ok`, "0 write timeout", "0 write timeout", "ok", `"ello" ok`, "1 ok"}},
	{"nothing is no message", func(s *memSteps) {
		s.write(s.client, "")
		s.read(s.server, 0)
		s.write(s.client, "x")
		s.read(s.server, 0)
		s.read(s.server, 9)
		s.note(s.client.Close())
		s.read(s.server, 0)
	}, []string{"0 ok", `"" ok`, "1 ok", `"" ok`, `"x" ok`, "ok", `"" ok`}},
}

func TestMemConnLikeTCP(t *testing.T) {
	for _, test := range memTCPLike {
		for _, network := range []string{"mem", "tcp"} {
			t.Run(test.name+"/"+network, func(t *testing.T) {
				s := memSteps{t: t}
				if network == "tcp" {
					s.client, s.server = memTCPConns(t)
				} else {
					client, server := memConns(t)
					s.client, s.server = client.(memSocket), server.(memSocket)
				}
				defer s.client.Close()
				defer s.server.Close()
				test.do(&s)
				if diff := cmp.Diff(test.want, s.got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// memTCPConns provides the connections to which the table above is compared. Other kernels than
// that of Linux differ from it.
func memTCPConns(t *testing.T) (client, server memSocket) {
	if runtime.GOOS != "linux" {
		t.Skip("the table describes Linux")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip("no TCP: ", err)
	}
	defer l.Close()
	c, s := memDialTCP(t, l)
	return c.(memSocket), s.(memSocket)
}

func memDialTCP(t *testing.T, l net.Listener) (client, server net.Conn) {
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// The behaviour that differs from TCP intentionally.
func TestMemConnUnlikeTCP(t *testing.T) {
	tests := []struct {
		name string
		do   func(s *memSteps)
		want []string
	}{
		{"the first write to a closed peer fails", func(s *memSteps) {
			s.note(s.server.Close())
			s.write(s.client, "x")
		}, []string{"ok", "0 write EPIPE"}},
		{"a reset stays", func(s *memSteps) {
			s.leaveUnread(s.server, s.client)
			s.note(s.server.Close())
			s.read(s.client, 9)
			s.read(s.client, 9)
		}, []string{"ok", `"" read ECONNRESET`, `"" read ECONNRESET`}},
		{"CloseRead is an orderly refusal", func(s *memSteps) {
			s.leaveUnread(s.server, s.client)
			s.note(s.server.CloseRead())
			s.read(s.server, 9)
			s.write(s.client, "x")
			s.note(s.server.Close())
			s.read(s.client, 9)
		}, []string{"ok", `"" EOF`, "0 write EPIPE", "ok", `"" EOF`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := memConns(t)
			s := memSteps{t: t, client: client.(memSocket), server: server.(memSocket)}
			defer client.Close()
			defer server.Close()
			test.do(&s)
			if diff := cmp.Diff(test.want, s.got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
