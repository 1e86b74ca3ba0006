package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/protocol/packet"
	"goranch/protocol/packet/client"
	"goranch/ranch"
	"goranch/transport"
)

// server counts calls and holds some.
func server(t *testing.T, opts packet.Options) *packet.Server {
	t.Helper()
	s, err := packet.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		packet.Register(s, "echo", func(_ *packet.Call, in packet.Raw) (packet.Raw, error) { return in, nil }),
		packet.Register(s, "refuse", func(*packet.Call, packet.None) (any, error) {
			return nil, &packet.Error{Code: 7, Message: "no", Data: "data"}
		}),
		packet.Register(s, "hang", func(call *packet.Call, _ packet.None) (any, error) {
			<-call.Done()
			return nil, errors.New("ended")
		}),
		packet.Register(s, "end", func(call *packet.Call, _ packet.None) (any, error) { call.Session.Close(nil); return nil, nil }),
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func listen(t *testing.T, tr transport.Transport, addr string, s protocol.Protocol) *ranch.Listener {
	t.Helper()
	l, err := new(ranch.Server).StartListener("c", tr, ranch.Options{Addr: addr, MaxConnections: ranch.Unlimited, Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

func dial(t *testing.T, opts client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		s := server(t, packet.Options{})
		listen(t, mem, "c", s)
		told := make(chan string, 10)
		c := dial(t, client.Options{Transport: mem, Addr: "c", OnNotification: func(m string, p json.RawMessage) { told <- m + string(p) }})
		ctx := t.Context()
		var got string
		if err := c.Call(ctx, "echo", "<word>", &got); err != nil || got != "<word>" {
			t.Errorf("%q, %v", got, err)
		}
		if err := c.Call(ctx, "echo", strings.Repeat("x", 200_000), &got); err != nil || len(got) != 200_000 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		var e *packet.Error
		if err := c.Call(ctx, "refuse", nil, nil); !errors.As(err, &e) || e.Code != 7 || e.Error() != `no (7): "data"` {
			t.Errorf("an error of the server's: %v", err)
		}
		if err := c.Call(ctx, "echo", "text", new(int)); err == nil {
			t.Error("text is taken for a number")
		}
		if err := c.Call(ctx, "echo", strings.Repeat("x", packet.MaxFrame), nil); !errors.Is(err, protocol.ErrFrameTooLarge) {
			t.Errorf("too long: %v", err)
		}
		if err := c.Call(ctx, "echo", func() {}, nil); err == nil {
			t.Error("a function is sent")
		}
		if _, err := s.Broadcast("news", []int{1}); err != nil || <-told != "news[1]" {
			t.Errorf("a notification: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := c.Call(short, "hang", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that takes too long: %v", err)
		}
		closed := make(chan error)
		go func() { closed <- c.Call(ctx, "echo", nil, nil) }()
		synctest.Wait()
		c.Close()
		if err := <-closed; !errors.Is(err, client.ErrClosed) {
			t.Errorf("a call when the client is closed: %v", err)
		}
		if err := c.Notify(ctx, "echo", nil); !errors.Is(err, client.ErrClosed) || !errors.Is(c.Err(), client.ErrClosed) {
			t.Errorf("after that: %v, %v", err, c.Err())
		}
	})
}

// The connection ends, in the middle of a call: that fails, others wait and are served by the next,
// for which OnConnect is called first.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l := listen(t, mem, "c", server(t, packet.Options{}))
		connects, ends := 0, make(chan error, 100)
		c := dial(t, client.Options{Transport: mem, Addr: "c",
			OnConnect: func(ctx context.Context, c client.Caller) error {
				connects++
				return c.Call(ctx, "echo", []int{connects}, nil)
			},
			OnDisconnect: func(err error) { ends <- err }})
		failed := make(chan error)
		go func() { failed <- c.Call(context.Background(), "hang", nil, nil) }()
		synctest.Wait()
		go l.Stop()
		if err := <-failed; !errors.Is(err, client.ErrDisconnected) || !errors.Is(err, io.EOF) {
			// or the method has answered before the end
			var e *packet.Error
			if !errors.As(err, &e) {
				t.Errorf("the call in progress: %v", err)
			}
		}
		if err := <-ends; !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("OnDisconnect: %v", err)
		}
		time.Sleep(time.Minute)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Call(short, "echo", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call while nobody listens: %v", err)
		}
		if n := len(ends); n < 8 || n > 25 { // 0.1, 0.2 … 10 s, less up to half
			t.Errorf("%d attempts in a minute", n)
		}
		listen(t, mem, "c", server(t, packet.Options{}))
		if err := c.Call(t.Context(), "echo", nil, nil); err != nil || connects != 2 {
			t.Errorf("after the restart: %v, %d connects", err, connects)
		}
		time.Sleep(time.Minute)
		c.Call(t.Context(), "end", nil, nil)
		synctest.Wait()
		began := time.Now()
		if err := c.Call(t.Context(), "echo", nil, nil); err != nil || connects != 3 || time.Since(began) > 100*time.Millisecond {
			t.Errorf("after a long life: %v, %d connects, %v", err, connects, time.Since(began))
		}
	})
}

// What the server says about the connection before it closes it is what calls fail with.
func TestLimitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		listen(t, mem, "c", server(t, packet.Options{FramesPerSecond: 1, FramesBurst: 1}))
		c := dial(t, client.Options{Transport: mem, Addr: "c"})
		if err := c.Call(t.Context(), "echo", nil, nil); err != nil {
			t.Fatal(err)
		}
		err := c.Call(t.Context(), "echo", nil, nil)
		var e *packet.Error
		if !errors.Is(err, client.ErrDisconnected) || !errors.As(err, &e) || e.Code != packet.CodeLimit {
			t.Errorf("got %v", err)
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		if _, err := client.Dial(t.Context(), client.Options{Transport: mem, Addr: "c"}); err == nil {
			t.Error("connected to nobody")
		}
		l := listen(t, mem, "c", server(t, packet.Options{}))
		broken := errors.New("broken")
		if _, err := client.Dial(t.Context(), client.Options{Transport: mem, Addr: "c", OnConnect: func(context.Context, client.Caller) error { return broken }}); !errors.Is(err, broken) {
			t.Errorf("OnConnect: %v", err)
		}
		c := dial(t, client.Options{Transport: mem, Addr: "c", MaxAttempts: 3})
		l.Stop()
		<-c.Done()
		if err := c.Call(t.Context(), "echo", nil, nil); !errors.Is(err, client.ErrGaveUp) {
			t.Errorf("got %v", err)
		}
	})
}

// Heartbeats keep a client that only listens.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		listen(t, mem, "c", server(t, packet.Options{}))
		lost := 0
		options := client.Options{Transport: mem, Addr: "c", OnDisconnect: func(error) { lost++ }}
		c := dial(t, options)
		time.Sleep(time.Hour)
		c.Close()
		if lost != 1 { // by Close
			t.Errorf("lost %d times with heartbeats", lost)
		}
		lost, options.Heartbeat = 0, -1
		c = dial(t, options)
		time.Sleep(time.Hour)
		c.Close()
		if lost < 10 {
			t.Errorf("lost %d times without heartbeats", lost)
		}
	})
}

func TestValidate(t *testing.T) {
	_, err := client.Dial(t.Context(), client.Options{MinBackoff: 2, MaxBackoff: 1, MaxAttempts: -1, DialTimeout: -1})
	if err == nil || strings.Count(err.Error(), "option") != 3 {
		t.Errorf("got %v", err)
	}
}
