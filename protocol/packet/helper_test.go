package packet_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"

	"goranch/conns"
	"goranch/protocol/packet"
	"goranch/ranch"
	"goranch/transport"
)

// testServer is a packet server on the in-memory transport.
type testServer struct {
	*packet.Server
	listener *ranch.Listener
	mem      *transport.Mem
	ended    chan ranch.Event // ConnEnded of each connection
}

func newTestServer(t *testing.T, opts packet.Options) *testServer {
	t.Helper()
	p, err := packet.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{Server: p, mem: new(transport.Mem), ended: make(chan ranch.Event, 100)}
	s.listener, err = new(ranch.Server).StartListener("p", s.mem, ranch.Options{
		Addr: "p", Logger: slog.New(slog.DiscardHandler),
		Observer: func(e ranch.Event) {
			if e.Kind == ranch.ConnEnded {
				s.ended <- e
			}
		},
	}, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listener.Stop() })
	return s
}

func (s *testServer) dial(t *testing.T) net.Conn {
	t.Helper()
	nc, err := s.mem.Dial(context.Background(), "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// reason waits for the end of the next connection and returns its reason.
func (s *testServer) reason() conns.Reason { return (<-s.ended).Reason }

func frame(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func send(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	if _, err := nc.Write(frame(s)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, nc net.Conn) string {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(nc, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// call sends a frame and returns the next frame from the server.
func call(t *testing.T, nc net.Conn, s string) string {
	t.Helper()
	send(t, nc, s)
	return receive(t, nc)
}

func wantEOF(t *testing.T, nc net.Conn) {
	t.Helper()
	if n, err := nc.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("got %d bytes and %v, want EOF", n, err)
	}
}

type subtraction struct {
	Minuend    int `json:"minuend"`
	Subtrahend int `json:"subtrahend"`
}

type word struct {
	Word string `json:"word"`
}

func (w *word) Validate() error {
	if w.Word == "" {
		return errors.New("word: must not be empty")
	}
	return nil
}

// registerMethods registers the methods that the tests call.
func registerMethods(t *testing.T, s *packet.Server) {
	t.Helper()
	sum := func(_ *packet.Call, in []int) (n int, err error) {
		for _, i := range in {
			n += i
		}
		return n, nil
	}
	nothing := func(*packet.Call, []int) (any, error) { return nil, nil }
	err := errors.Join(
		packet.Register(s, "subtract", func(_ *packet.Call, in subtraction) (int, error) { return in.Minuend - in.Subtrahend, nil }),
		packet.Register(s, "sum", sum), packet.Register(s, "update", nothing),
		packet.Register(s, "notify_hello", nothing), packet.Register(s, "notify_sum", nothing),
		packet.Register(s, "get_data", func(*packet.Call, struct{}) ([]any, error) { return []any{"hello", 5}, nil }),
		packet.Register(s, "echo", func(_ *packet.Call, in json.RawMessage) (json.RawMessage, error) { return in, nil }),
		packet.Register(s, "word", func(_ *packet.Call, in word) (string, error) { return in.Word, nil }),
		packet.Register(s, "fail", func(*packet.Call, struct{}) (any, error) { return nil, errors.New("a secret") }),
		packet.Register(s, "refuse", func(*packet.Call, struct{}) (any, error) {
			return nil, fmt.Errorf("wrapped: %w", &packet.Error{Code: 7, Message: "no", Data: []int{1}})
		}),
		packet.Register(s, "invalid", func(*packet.Call, struct{}) (any, error) {
			return nil, &packet.Error{Code: packet.CodeInvalidParams, Data: "why"}
		}),
		packet.Register(s, "unencodable", func(*packet.Call, struct{}) (any, error) { return func() {}, nil }),
		packet.Register(s, "long", func(_ *packet.Call, n int) (string, error) { return string(make([]byte, n)), nil }),
		packet.Register(s, "panic", func(*packet.Call, struct{}) (any, error) { panic("by request") }),
		packet.Register(s, "close", func(call *packet.Call, _ struct{}) (bool, error) { call.Peer.Close(nil); return true, nil }),
	)
	if err != nil {
		t.Fatal(err)
	}
}
