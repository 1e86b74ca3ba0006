package room_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/internal/room"
	"goranch/protocol/packet"
	"goranch/protocol/packet/client"
	"goranch/ranch"
	"goranch/transport"
)

// testServer is a room server on the in-memory transport.
type testServer struct {
	mem *transport.Mem
	*ranch.Listener
}

func newTestServer(t *testing.T, opts room.Options) *testServer {
	t.Helper()
	p, err := packet.NewServer(packet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := room.Register(p, opts); err != nil {
		t.Fatal(err)
	}
	s := &testServer{mem: new(transport.Mem)}
	s.Listener, err = new(ranch.Server).StartListener("r", s.mem, ranch.Options{Addr: "r", Logger: slog.New(slog.DiscardHandler)}, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// testClient is a client that records its notifications.
type testClient struct {
	*client.Client
	t             *testing.T
	notifications chan string
}

func (s *testServer) client(t *testing.T) *testClient {
	t.Helper()
	c := &testClient{t: t, notifications: make(chan string, 1000)}
	var err error
	c.Client, err = client.Dial(context.Background(), client.Options{Transport: s.mem, Addr: "r", MinBackoff: time.Hour, MaxBackoff: time.Hour,
		OnNotification: func(method string, params json.RawMessage) { c.notifications <- method + " " + string(params) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantResult calls a method and compares its result.
func (c *testClient) wantResult(want any, method string, params any) {
	c.t.Helper()
	var got any
	if err := c.Call(context.Background(), method, params, &got); err != nil {
		c.t.Errorf("%s %v: got %v, want %v", method, params, err, want)
	} else if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("%s %v: result (-want +got):\n%s", method, params, diff)
	}
}

// wantError calls a method and compares the code of its error.
func (c *testClient) wantError(code int, method string, params any) {
	c.t.Helper()
	var e *packet.Error
	if err := c.Call(context.Background(), method, params, nil); !errors.As(err, &e) || e.Code != code {
		c.t.Errorf("%s %v: got %v, want code %d", method, params, err, code)
	}
}

func (c *testClient) wantNotification(want string) {
	c.t.Helper()
	if got := <-c.notifications; got != want {
		c.t.Errorf("notification: got %s, want %s", got, want)
	}
}

type obj = map[string]any

func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, room.Options{})
		ann, bob := s.client(t), s.client(t)
		ann.wantResult(obj{"members": 1.0}, "room.join", obj{"room": "R", "name": "Ann"})
		bob.wantResult(obj{"members": 2.0}, "room.join", []string{"R", "Bob"})
		ann.wantNotification(`room.joined {"room":"R","name":"Bob"}`)
		bob.wantResult(obj{"members": 2.0}, "room.join", obj{"room": "R", "name": "Bob"}) // again: no notification
		ann.wantResult(obj{"delivered": 1.0}, "room.say", obj{"room": "R", "text": "hello <&>"})
		bob.wantNotification(`room.said {"room":"R","name":"Ann","text":"hello <&>"}`)
		bob.wantResult([]any{"Ann", "Bob"}, "room.members", obj{"room": "R"})
		bob.wantResult([]any{}, "room.members", obj{"room": "nowhere"})
		bob.wantResult(true, "room.leave", obj{"room": "R"})
		ann.wantNotification(`room.left {"room":"R","name":"Bob"}`)
		ann.wantResult(obj{"delivered": 0.0}, "room.say", obj{"room": "R", "text": "alone"})
		bob.wantError(room.CodeNotMember, "room.say", obj{"room": "R", "text": "x"})
		bob.wantError(room.CodeNotMember, "room.leave", obj{"room": "R"})
		bob.wantError(room.CodeTaken, "room.join", obj{"room": "R", "name": "Ann"})
		ann.wantError(room.CodeTaken, "room.join", obj{"room": "R", "name": "Anna"})
		fits := 256<<10 - len(`{"jsonrpc":"2.0","method":"room.say","params":{"room":"R","text":""},"id":10}`)
		ann.wantError(packet.CodeInvalidParams, "room.say", obj{"room": "R", "text": strings.Repeat("x", fits)}) // room.said is longer by the name
		for _, name := range []string{"", strings.Repeat("n", 65), "a\nb"} {
			ann.wantError(packet.CodeInvalidParams, "room.join", obj{"room": "X", "name": name})
			ann.wantError(packet.CodeInvalidParams, "room.join", obj{"room": name, "name": "X"})
		}
	})
}

// When a connection ends in any way, its rooms are notified and its names are free again.
func TestConnectionEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, room.Options{})
		ann := s.client(t)
		ann.wantResult(obj{"members": 1.0}, "room.join", obj{"room": "R", "name": "Ann"})
		for _, end := range []func(c *testClient){
			func(c *testClient) { c.Close() },
			func(*testClient) { s.Kill(conns.Query{ID: 2}) },
			func(c *testClient) { // exceeds the rate limit
				for range 500 {
					c.Notify(context.Background(), "echo", nil)
				}
			},
		} {
			bob := s.client(t)
			bob.wantResult(obj{"members": 1.0}, "room.join", obj{"room": "Q", "name": "Bob"})
			bob.wantResult(obj{"members": 2.0}, "room.join", obj{"room": "R", "name": "Bob"})
			ann.wantNotification(`room.joined {"room":"R","name":"Bob"}`)
			synctest.Wait() // until the previous connection is not counted any more
			if n := len(s.Connections()); n != 2 {
				t.Fatalf("got %d connections, want 2", n)
			}
			end(bob)
			if bob.Err() == nil {
				bob.Close()
			}
			ann.wantNotification(`room.left {"room":"R","name":"Bob"}`)
			ann.wantResult([]any{"Ann"}, "room.members", obj{"room": "R"})
			ann.wantResult([]any{}, "room.members", obj{"room": "Q"})
		}
	})
}

func TestRoomLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, room.Options{MaxRooms: 3, MaxMembers: 2, MaxRoomsPerPeer: 2, MaxName: 3})
		a, b, c := s.client(t), s.client(t), s.client(t)
		a.wantResult(obj{"members": 1.0}, "room.join", []string{"1", "a"})
		a.wantResult(obj{"members": 1.0}, "room.join", []string{"2", "a"})
		a.wantError(room.CodeFull, "room.join", []string{"3", "a"})
		b.wantResult(obj{"members": 2.0}, "room.join", []string{"1", "b"})
		c.wantError(room.CodeFull, "room.join", []string{"1", "c"})
		c.wantResult(obj{"members": 1.0}, "room.join", []string{"3", "c"})
		b.wantError(room.CodeFull, "room.join", []string{"4", "b"})
		c.wantResult(true, "room.leave", []string{"3"})
		b.wantResult(obj{"members": 1.0}, "room.join", []string{"4", "b"}) // the empty room does not count
		c.wantError(packet.CodeInvalidParams, "room.join", []string{"4", "long"})
	})
}

func TestRegisterErrors(t *testing.T) {
	s, err := packet.NewServer(packet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "option MaxRooms -1: allowed are positive numbers, and 0 for 10000\noption MaxName -2: allowed are positive numbers, and 0 for 64"
	if err := room.Register(s, room.Options{MaxRooms: -1, MaxName: -2}); err == nil || err.Error() != want {
		t.Errorf("negative limits: got %v\nwant %s", err, want)
	}
	if err := room.Register(s, room.Options{}); err != nil {
		t.Errorf("first Register: got %v, want nil", err)
	}
	if err := room.Register(s, room.Options{}); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("second Register: got %v, want taken names", err)
	}
}

func TestEchoTimeStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestServer(t, room.Options{}).client(t)
		c.wantResult(obj{"a": []any{1.0, "x", nil}}, "echo", obj{"a": []any{1, "x", nil}})
		c.wantResult("word", "echo", "word")
		c.wantResult(nil, "echo", nil)
		c.wantResult(time.Now().Format(time.RFC3339), "time", nil)
		time.Sleep(3 * time.Second)
		frame := len(`{"jsonrpc":"2.0","method":"stats","id":5}`) + 4
		var first, second connStats
		if err := errors.Join(c.Call(t.Context(), "stats", nil, &first), c.Call(t.Context(), "stats", nil, &second)); err != nil {
			t.Fatal(err)
		}
		bytes := second.Bytes - first.Bytes
		first.Bytes, second.Bytes = 0, 0
		if want := (connStats{Frames: 5, Idle: 3, Age: 3}); first != want {
			t.Errorf("first: got %+v, want %+v", first, want)
		}
		if want := (connStats{Frames: 6, Age: 3}); second != want || bytes != uint64(frame) {
			t.Errorf("second: got %+v and %d bytes more, want %+v and %d", second, bytes, want, frame)
		}
	})
}

// connStats is the result of stats.
type connStats struct {
	Frames uint64  `json:"frames"`
	Bytes  uint64  `json:"bytes"`
	Idle   float64 `json:"idle_seconds"`
	Age    float64 `json:"age_seconds"`
}
