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

	"goranch/protocol/packet"
	"goranch/protocol/packet/client"
	"goranch/protocol/packet/room"
	"goranch/ranch"
	"goranch/transport"
)

// house is a server with rooms on the in-memory transport.
type house struct {
	mem *transport.Mem
	*ranch.Listener
}

func serve(t *testing.T, opts room.Options) *house {
	t.Helper()
	s, err := packet.NewServer(packet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := room.Register(s, opts); err != nil {
		t.Fatal(err)
	}
	h := &house{mem: new(transport.Mem)}
	h.Listener, err = new(ranch.Server).StartListener("r", h.mem, ranch.Options{Addr: "r", Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Stop() })
	return h
}

// guest is a client with what it was told.
type guest struct {
	*client.Client
	t    *testing.T
	told chan string
}

func (h *house) guest(t *testing.T) *guest {
	t.Helper()
	g := &guest{t: t, told: make(chan string, 1000)}
	var err error
	g.Client, err = client.Dial(context.Background(), client.Options{Transport: h.mem, Addr: "r", MinBackoff: time.Hour, MaxBackoff: time.Hour,
		OnNotification: func(method string, params json.RawMessage) { g.told <- method + " " + string(params) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// gets calls a method and wants that result.
func (g *guest) gets(want any, method string, params any) {
	g.t.Helper()
	var got any
	if err := g.Call(context.Background(), method, params, &got); err != nil {
		g.t.Errorf("%s %v: %v", method, params, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		g.t.Errorf("%s %v: want -, got +:\n%s", method, params, diff)
	}
}

// fails calls a method and wants an error of that code.
func (g *guest) fails(code int, method string, params any) {
	g.t.Helper()
	var e *packet.Error
	if err := g.Call(context.Background(), method, params, nil); !errors.As(err, &e) || e.Code != code {
		g.t.Errorf("%s %v: %v, want code %d", method, params, err, code)
	}
}

func (g *guest) isTold(want string) {
	g.t.Helper()
	if got := <-g.told; got != want {
		g.t.Errorf("told %s, want %s", got, want)
	}
}

type obj = map[string]any

func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, room.Options{})
		ann, bob := h.guest(t), h.guest(t)
		ann.gets(obj{"members": 1.0}, "room.join", obj{"room": "R", "name": "Ann"})
		bob.gets(obj{"members": 2.0}, "room.join", []string{"R", "Bob"})
		ann.isTold(`room.joined {"room":"R","name":"Bob"}`)
		bob.gets(obj{"members": 2.0}, "room.join", obj{"room": "R", "name": "Bob"}) // again, without notice
		ann.gets(obj{"delivered": 1.0}, "room.say", obj{"room": "R", "text": "hello <&>"})
		bob.isTold(`room.said {"room":"R","name":"Ann","text":"hello <&>"}`)
		bob.gets([]any{"Ann", "Bob"}, "room.members", obj{"room": "R"})
		bob.gets([]any{}, "room.members", obj{"room": "nowhere"})
		bob.gets(true, "room.leave", obj{"room": "R"})
		ann.isTold(`room.left {"room":"R","name":"Bob"}`)
		ann.gets(obj{"delivered": 0.0}, "room.say", obj{"room": "R", "text": "nobody hears"})
		bob.fails(room.CodeNotMember, "room.say", obj{"room": "R", "text": "x"})
		bob.fails(room.CodeNotMember, "room.leave", obj{"room": "R"})
		bob.fails(room.CodeTaken, "room.join", obj{"room": "R", "name": "Ann"})
		ann.fails(room.CodeTaken, "room.join", obj{"room": "R", "name": "Anna"})
		fits := packet.MaxFrame - len(`{"jsonrpc":"2.0","method":"room.say","params":{"room":"R","text":""},"id":10}`)
		ann.fails(packet.CodeInvalidParams, "room.say", obj{"room": "R", "text": strings.Repeat("x", fits)}) // but not with her name
		for _, name := range []string{"", strings.Repeat("n", 65), "a\nb"} {
			ann.fails(packet.CodeInvalidParams, "room.join", obj{"room": "X", "name": name})
			ann.fails(packet.CodeInvalidParams, "room.join", obj{"room": name, "name": "X"})
		}
	})
}

// However a member's connection ends, the others are told, and the name is free again.
func TestLeaveByEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, room.Options{})
		ann := h.guest(t)
		ann.gets(obj{"members": 1.0}, "room.join", obj{"room": "R", "name": "Ann"})
		for _, end := range []func(g *guest){
			func(g *guest) { g.Close() },
			func(g *guest) { h.Kill(2) },
			func(g *guest) { // over the limit
				for range 500 {
					g.Notify(context.Background(), "echo", nil)
				}
			},
		} {
			bob := h.guest(t)
			bob.gets(obj{"members": 1.0}, "room.join", obj{"room": "Q", "name": "Bob"})
			bob.gets(obj{"members": 2.0}, "room.join", obj{"room": "R", "name": "Bob"})
			ann.isTold(`room.joined {"room":"R","name":"Bob"}`)
			if conns := h.Connections(); len(conns) != 2 {
				t.Fatalf("%d connections", len(conns))
			}
			end(bob)
			if bob.Err() == nil {
				bob.Close()
			}
			ann.isTold(`room.left {"room":"R","name":"Bob"}`)
			ann.gets([]any{"Ann"}, "room.members", obj{"room": "R"})
			ann.gets([]any{}, "room.members", obj{"room": "Q"})
		}
	})
}

func TestRoomLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, room.Options{MaxRooms: 3, MaxMembers: 2, MaxPerSession: 2, MaxName: 3})
		a, b, c := h.guest(t), h.guest(t), h.guest(t)
		a.gets(obj{"members": 1.0}, "room.join", []string{"1", "a"})
		a.gets(obj{"members": 1.0}, "room.join", []string{"2", "a"})
		a.fails(room.CodeFull, "room.join", []string{"3", "a"})
		b.gets(obj{"members": 2.0}, "room.join", []string{"1", "b"})
		c.fails(room.CodeFull, "room.join", []string{"1", "c"})
		c.gets(obj{"members": 1.0}, "room.join", []string{"3", "c"})
		b.fails(room.CodeFull, "room.join", []string{"4", "b"})
		c.gets(true, "room.leave", []string{"3"})
		b.gets(obj{"members": 1.0}, "room.join", []string{"4", "b"}) // the empty room is gone
		c.fails(packet.CodeInvalidParams, "room.join", []string{"4", "long"})
	})
	s, err := packet.NewServer(packet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := room.Register(s, room.Options{MaxRooms: -1, MaxName: -2}); err == nil || strings.Count(err.Error(), "option") != 2 {
		t.Errorf("negative limits: %v", err)
	}
	for range 2 {
		_, err = room.Register(s, room.Options{})
	}
	if !errors.Is(err, packet.ErrMethod) {
		t.Errorf("registered twice: %v", err)
	}
}

func TestEchoTimeStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, room.Options{}).guest(t)
		g.gets(obj{"a": []any{1.0, "x", nil}}, "echo", obj{"a": []any{1, "x", nil}})
		g.gets("word", "echo", "word")
		g.gets(nil, "echo", nil)
		g.gets(time.Now().Format(time.RFC3339), "time", nil)
		time.Sleep(3 * time.Second)
		frame := len(`{"jsonrpc":"2.0","method":"stats","id":5}`) + 4
		var first, second room.Stats
		if err := errors.Join(g.Call(t.Context(), "stats", nil, &first), g.Call(t.Context(), "stats", nil, &second)); err != nil {
			t.Fatal(err)
		}
		if first.Frames != 5 || first.Idle != 3 || first.Age != 3 {
			t.Errorf("got %+v", first)
		}
		if second.Frames != 6 || second.Bytes-first.Bytes != uint64(frame) || second.Idle != 0 {
			t.Errorf("got %+v", second)
		}
	})
}
