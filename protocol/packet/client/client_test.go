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

// newTestServer returns a server whose method "hang" returns when the connection ends.
func newTestServer(t *testing.T, opts packet.Options) *packet.Server {
	t.Helper()
	s, err := packet.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		packet.Register(s, "echo", func(_ *packet.Call, in json.RawMessage) (json.RawMessage, error) { return in, nil }),
		packet.Register(s, "refuse", func(*packet.Call, struct{}) (any, error) {
			return nil, &packet.Error{Code: 7, Message: "no", Data: "data"}
		}),
		packet.Register(s, "hang", func(call *packet.Call, _ struct{}) (any, error) {
			<-call.Done()
			return nil, errors.New("ended")
		}),
		packet.Register(s, "close", func(call *packet.Call, _ struct{}) (any, error) { call.Peer.Close(nil); return nil, nil }),
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
		listen(t, mem, "c", newTestServer(t, packet.Options{}))
		c := dial(t, client.Options{Transport: mem, Addr: "c"})
		ctx := t.Context()
		var got string
		if err := c.Call(ctx, "echo", "<word>", &got); err != nil || got != "<word>" {
			t.Errorf("echo: got %q, %v, want <word>", got, err)
		}
		if err := c.Call(ctx, "echo", strings.Repeat("x", 200_000), &got); err != nil || len(got) != 200_000 {
			t.Errorf("echo: got %d bytes, %v, want 200000", len(got), err)
		}
		var e *packet.Error
		if err := c.Call(ctx, "refuse", nil, nil); !errors.As(err, &e) || e.Code != 7 || e.Error() != `no (7): "data"` {
			t.Errorf(`error of the server: got %v, want no (7): "data"`, err)
		}
		if err := c.Call(ctx, "echo", "text", new(int)); err == nil {
			t.Error("text decoded into an int: got no error")
		}
		if err := c.Call(ctx, "echo", strings.Repeat("x", 256<<10), nil); !errors.Is(err, protocol.ErrFrameTooLarge) {
			t.Errorf("long params: got %v, want %v", err, protocol.ErrFrameTooLarge)
		}
		if err := c.Call(ctx, "echo", func() {}, nil); err == nil {
			t.Error("params that cannot be encoded: got no error")
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := c.Call(short, "hang", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("slow call: got %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		s := newTestServer(t, packet.Options{})
		listen(t, mem, "c", s)
		received := make(chan string, 10)
		dial(t, client.Options{Transport: mem, Addr: "c", OnNotification: func(m string, p json.RawMessage) { received <- m + string(p) }})
		synctest.Wait() // until the server has registered the connection, after Dial
		if n, err := s.All().Notify("news", []int{1}); n != 1 || err != nil {
			t.Fatalf("Notify: got %d, %v, want 1", n, err)
		}
		if got, want := <-received, "news[1]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		listen(t, mem, "c", newTestServer(t, packet.Options{}))
		c := dial(t, client.Options{Transport: mem, Addr: "c"})
		inProgress := make(chan error)
		go func() { inProgress <- c.Call(t.Context(), "hang", nil, nil) }()
		synctest.Wait()
		c.Close()
		if err := <-inProgress; !errors.Is(err, client.ErrClosed) {
			t.Errorf("call in progress: got %v, want %v", err, client.ErrClosed)
		}
		if err := c.Notify(t.Context(), "echo", nil); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Notify after Close: got %v, want %v", err, client.ErrClosed)
		}
		if err := c.Err(); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Err: got %v, want %v", err, client.ErrClosed)
		}
	})
}

// When the connection ends, the call in progress fails. Other calls wait for the next connection,
// on which OnConnect is called first.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l := listen(t, mem, "c", newTestServer(t, packet.Options{}))
		connects, disconnects := 0, make(chan error, 100)
		c := dial(t, client.Options{Transport: mem, Addr: "c",
			OnConnect: func(ctx context.Context, c *client.Client) error {
				connects++
				return errors.Join(c.Notify(ctx, "echo", nil), c.Call(ctx, "echo", []int{connects}, nil))
			},
			OnDisconnect: func(err error) { disconnects <- err }})
		inProgress := make(chan error)
		go func() { inProgress <- c.Call(context.Background(), "hang", nil, nil) }()
		synctest.Wait()
		go l.Stop()
		// The response of "hang" may be sent before the connection ends.
		if err := <-inProgress; !errors.As(err, new(*packet.Error)) && (!errors.Is(err, client.ErrDisconnected) || !errors.Is(err, io.EOF)) {
			t.Errorf("call in progress: got %v, want %v and EOF", err, client.ErrDisconnected)
		}
		if err := <-disconnects; !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("OnDisconnect: got %v, want %v", err, client.ErrDisconnected)
		}
		time.Sleep(time.Minute)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Call(short, "echo", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call without a server: got %v, want %v", err, context.DeadlineExceeded)
		}
		if n := len(disconnects); n < 8 || n > 25 { // 0.1, 0.2 … 10 s, each shortened by up to half
			t.Errorf("attempts in a minute: got %d, want 8 to 25", n)
		}
		listen(t, mem, "c", newTestServer(t, packet.Options{}))
		if err := c.Call(t.Context(), "echo", nil, nil); err != nil || connects != 2 {
			t.Errorf("after the restart: got %v and %d connects, want 2", err, connects)
		}
		time.Sleep(time.Minute)
		c.Call(t.Context(), "close", nil, nil)
		synctest.Wait()
		began := time.Now()
		if err := c.Call(t.Context(), "echo", nil, nil); err != nil || connects != 3 || time.Since(began) > 100*time.Millisecond {
			t.Errorf("after a lasting connection: got %v, %d connects and %v, want 3 and at most 100ms", err, connects, time.Since(began))
		}
	})
}

// The client of OnConnect uses one connection only, and does not wait for the next.
func TestClientOfOnConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		listen(t, mem, "c", newTestServer(t, packet.Options{}))
		var first *client.Client
		c := dial(t, client.Options{Transport: mem, Addr: "c", OnConnect: func(_ context.Context, c *client.Client) error {
			if first == nil {
				first = c
			}
			return nil
		}})
		c.Call(t.Context(), "close", nil, nil)
		synctest.Wait() // the connection ends after the response
		if err := c.Call(t.Context(), "echo", nil, nil); err != nil {
			t.Errorf("the client: got %v, want nil", err)
		}
		if err := first.Call(t.Context(), "echo", nil, nil); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("the client of the first connection: got %v, want %v", err, client.ErrDisconnected)
		}
	})
}

// An error that the server sends about the connection is the reason of failed calls.
func TestReasonOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		listen(t, mem, "c", newTestServer(t, packet.Options{FramesPerSecond: 1, FramesBurst: 1}))
		c := dial(t, client.Options{Transport: mem, Addr: "c"})
		if err := c.Call(t.Context(), "echo", nil, nil); err != nil {
			t.Fatal(err)
		}
		err := c.Call(t.Context(), "echo", nil, nil)
		var e *packet.Error
		if !errors.Is(err, client.ErrDisconnected) || !errors.As(err, &e) || e.Code != packet.CodeLimit {
			t.Errorf("got %v, want %v and code %d", err, client.ErrDisconnected, packet.CodeLimit)
		}
	})
}

func TestDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		if _, err := client.Dial(t.Context(), client.Options{Transport: mem, Addr: "c"}); err == nil {
			t.Error("without a server: got no error")
		}
		listen(t, mem, "c", newTestServer(t, packet.Options{}))
		broken := errors.New("broken")
		_, err := client.Dial(t.Context(), client.Options{Transport: mem, Addr: "c",
			OnConnect: func(context.Context, *client.Client) error { return broken }})
		if !errors.Is(err, broken) {
			t.Errorf("error of OnConnect: got %v, want %v", err, broken)
		}
		_, err = client.Dial(t.Context(), client.Options{MinBackoff: 2, MaxBackoff: 1, MaxAttempts: -1, DialTimeout: -1})
		if err == nil || strings.Count(err.Error(), "option") != 3 {
			t.Errorf("bad options: got %v, want 3 faults", err)
		}
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l := listen(t, mem, "c", newTestServer(t, packet.Options{}))
		c := dial(t, client.Options{Transport: mem, Addr: "c", MaxAttempts: 3})
		l.Stop()
		<-c.Done()
		if err := c.Call(t.Context(), "echo", nil, nil); !errors.Is(err, client.ErrGaveUp) {
			t.Errorf("got %v, want %v", err, client.ErrGaveUp)
		}
	})
}

// Heartbeats keep the connection of a client without calls from its read timeout.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		listen(t, mem, "c", newTestServer(t, packet.Options{}))
		disconnects := 0
		options := client.Options{Transport: mem, Addr: "c", OnDisconnect: func(error) { disconnects++ }}
		c := dial(t, options)
		time.Sleep(time.Hour)
		c.Close()
		if disconnects != 1 { // by Close
			t.Errorf("with heartbeats: got %d disconnects, want 1", disconnects)
		}
		disconnects, options.Heartbeat = 0, -1
		c = dial(t, options)
		time.Sleep(time.Hour)
		c.Close()
		if disconnects < 10 {
			t.Errorf("without heartbeats: got %d disconnects, want at least 10", disconnects)
		}
	})
}
