package shell

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// echoHandler returns each line: the cost of a handler without a shell.
type echoHandler struct{}

func (echoHandler) HandleData(p *protocol.Peer, frame []byte) protocol.Action {
	p.Send(frame)
	return protocol.Continue()
}

func benchmark(b *testing.B, p protocol.Protocol, skip int, request, answer string) {
	mem := new(transport.Mem)
	l, err := new(ranch.Server).StartListener("b", mem, ranch.Options{Addr: "b", Logger: slog.New(slog.DiscardHandler)}, p)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Stop()
	nc, err := mem.Dial(context.Background(), "b")
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	got := make([]byte, 200)
	if skip > 0 { // the identification
		if _, err := nc.Read(got); err != nil {
			b.Fatal(err)
		}
	}
	roundTrip(b, nc, request, answer, got)
	b.ReportAllocs()
	for b.Loop() {
		roundTrip(b, nc, request, answer, got)
	}
}

func roundTrip(b *testing.B, nc net.Conn, request, answer string, got []byte) {
	if _, err := io.WriteString(nc, request); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(nc, got[:len(answer)]); err != nil || string(got[:len(answer)]) != answer {
		b.Fatalf("got %q and error %v, want %q", got[:len(answer)], err, answer)
	}
}

func BenchmarkHandlerEcho(b *testing.B) {
	benchmark(b, protocol.Handle(func() protocol.Handler { return echoHandler{} }, protocol.Options{Codec: protocol.Lines{}}), 0, "say:hello\n", "say:hello\n")
}

func BenchmarkCall(b *testing.B) {
	quick := say()
	quick.Name, quick.Quick = "quick", true
	for _, name := range []string{"say", "quick"} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Options{Commands: []Command{say(), quick}})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close(context.Background())
			benchmark(b, s, 1, name+":hello\n", "hello\n")
		})
	}
}
