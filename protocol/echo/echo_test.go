package echo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

func Example() {
	mem := new(transport.Mem)
	l, err := ranch.StartListener("echo", mem, ranch.Options{Addr: "echo", Logger: slog.New(slog.DiscardHandler)}, echo.Protocol{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ranch.StopListener(l.Ref())

	nc, err := mem.Dial(context.Background(), "echo")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	io.WriteString(nc, "hello")
	answer := make([]byte, 5)
	io.ReadFull(nc, answer)
	fmt.Printf("%s\n", answer)
	// Output: hello
}

// newTestServer starts an echo listener. The channel receives the event of each connection that has
// ended.
func newTestServer(t *testing.T, tr transport.Transport, addr string) (*ranch.Listener, chan ranch.Event) {
	t.Helper()
	ends, started := make(chan ranch.Event, 1), make(chan struct{})
	l, err := ranch.NewListener("echo", tr, ranch.Options{
		Addr: addr, Logger: slog.New(slog.DiscardHandler),
		Observer: func(e ranch.Event) {
			switch e.Kind {
			case ranch.ListenerStarted:
				close(started)
			case ranch.ConnEnded:
				ends <- e
			}
		},
	}, echo.Protocol{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	<-started
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want no error", err)
		}
	})
	return l, ends
}

func TestEchoesEverythingThenEnds(t *testing.T) {
	mem := new(transport.Mem)
	for name, tr := range map[string]transport.Transport{"tcp": transport.TCP{}, "mem": mem} {
		t.Run(name, func(t *testing.T) {
			l, ends := newTestServer(t, tr, map[string]string{"tcp": "127.0.0.1:0", "mem": "echo"}[name])
			nc, err := tr.Dial(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			sent := make([]byte, 3<<20)
			rand.NewChaCha8([32]byte{1}).Read(sent)
			go func() {
				nc.Write(sent)
				nc.(interface{ CloseWrite() error }).CloseWrite()
			}()
			got, err := io.ReadAll(nc)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes, %v, want the %d bytes sent", len(got), err, len(sent))
			}
			if e := <-ends; e.Reason != conns.Finished {
				t.Errorf("got end %v (%v), want %v", e.Reason, e.Err, conns.Finished)
			}
		})
	}
}

// The write deadline ends the connection of a client that does not read.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		conn := transport.NewConn(new(transport.Mem), server)
		defer conn.Close()
		conn.SetWriteDeadline(time.Now().Add(time.Minute))
		begin := time.Now()
		go client.Write([]byte("hello"))
		err := echo.Protocol{}.Serve(t.Context(), conn)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("got %v after %v, want %v after a minute", err, time.Since(begin), os.ErrDeadlineExceeded)
		}
	})
}
