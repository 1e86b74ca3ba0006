package packet_test

import (
	"context"
	"encoding/binary"
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

// house is a server on the in-memory transport, with the ends of its connections.
type house struct {
	*packet.Server
	l    *ranch.Listener
	mem  *transport.Mem
	ends chan ranch.Event
}

func serve(t *testing.T, opts packet.Options) *house {
	t.Helper()
	s, err := packet.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Server: s, mem: new(transport.Mem), ends: make(chan ranch.Event, 100)}
	h.l, err = new(ranch.Server).StartListener("p", h.mem, ranch.Options{
		Addr: "p", Logger: slog.New(slog.DiscardHandler),
		Observer: ranch.Observer(func(e ranch.Event) {
			if e.Kind == ranch.ConnEnded {
				h.ends <- e
			}
		}),
	}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.l.Stop() })
	return h
}

func (h *house) dial(t *testing.T) net.Conn {
	t.Helper()
	nc, err := h.mem.Dial(context.Background(), "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// reason returns why the next connection has ended.
func (h *house) reason() conns.Reason { return (<-h.ends).Reason }

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

// ask sends a frame and returns what comes back.
func ask(t *testing.T, nc net.Conn, s string) string {
	t.Helper()
	send(t, nc, s)
	return receive(t, nc)
}

func atEOF(t *testing.T, nc net.Conn) {
	t.Helper()
	if n, err := nc.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v, instead of the end", n, err)
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
		return errors.New("word: allowed are those that are not empty")
	}
	return nil
}

// methods registers what tests call.
func methods(t *testing.T, s *packet.Server) {
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
		packet.Register(s, "get_data", func(*packet.Call, packet.None) ([]any, error) { return []any{"hello", 5}, nil }),
		packet.Register(s, "echo", func(_ *packet.Call, in packet.Raw) (packet.Raw, error) { return in, nil }),
		packet.Register(s, "word", func(_ *packet.Call, in word) (string, error) { return in.Word, nil }),
		packet.Register(s, "fail", func(*packet.Call, packet.None) (any, error) { return nil, errors.New("a secret") }),
		packet.Register(s, "refuse", func(*packet.Call, packet.None) (any, error) {
			return nil, fmt.Errorf("wrapped: %w", &packet.Error{Code: 7, Message: "no", Data: []int{1}})
		}),
		packet.Register(s, "unsayable", func(*packet.Call, packet.None) (any, error) { return func() {}, nil }),
		packet.Register(s, "long", func(_ *packet.Call, n int) (string, error) { return string(make([]byte, n)), nil }),
		packet.Register(s, "panic", func(*packet.Call, packet.None) (any, error) { panic("by request") }),
		packet.Register(s, "close", func(call *packet.Call, _ packet.None) (bool, error) { call.Session.Close(nil); return true, nil }),
	)
	if err != nil {
		t.Fatal(err)
	}
}
