package room_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/protocol/packet"
	"goranch/protocol/packet/client"
	"goranch/protocol/packet/room"
	"goranch/ranch"
	"goranch/transport"
)

const silent = 20

// talkers are fewer under the race detector, which makes each cost ten times as much.
var talkers = func() int {
	if raceEnabled {
		return 180
	}
	return 980
}()

// crowd is a server that saves to a file, and clients that count what is said.
type crowd struct {
	t    *testing.T
	save *os.File
	said chan struct{}
	back chan struct{}
}

func (c *crowd) listen(addr string) *ranch.Listener {
	c.t.Helper()
	s, err := packet.NewServer(packet.Options{
		Queue: protocol.QueueOptions{MaxBytes: 192 << 10},
		OnEnd: func(s *packet.Session, _ error) { fmt.Fprintln(c.save, s.Conn().RemoteAddr()) },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := room.Register(s, room.Options{}); err != nil {
		c.t.Fatal(err)
	}
	l, err := new(ranch.Server).StartListener("crowd", transport.TCP{WriteBuffer: 32 << 10}, ranch.Options{
		Addr: addr, MaxConnections: 2000, ShutdownTimeout: 20 * time.Second, Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Stop() })
	return l
}

func (c *crowd) member(addr, name string) (*client.Client, error) {
	return client.Dial(context.Background(), client.Options{Addr: addr, MaxBackoff: 500 * time.Millisecond, DialTimeout: time.Minute,
		OnConnect: func(ctx context.Context, caller client.Caller) error {
			err := caller.Call(ctx, "room.join", []string{"R", name}, nil)
			if err == nil {
				c.back <- struct{}{}
			}
			return err
		},
		OnNotification: func(method string, _ json.RawMessage) {
			if method == "room.said" {
				c.said <- struct{}{}
			}
		}})
}

// wait takes n off a channel.
func (c *crowd) wait(what string, ch <-chan struct{}, n int) {
	c.t.Helper()
	limit := time.After(3 * time.Minute) // the race detector takes most of one
	for i := range n {
		select {
		case <-ch:
		case <-limit:
			c.t.Fatalf("%s: %d of %d", what, i, n)
		}
	}
}

// A thousand in one room, of whom some read nothing: what is said reaches the others, and they are
// dropped. After a restart of the server everybody is back, and each end was saved once.
func TestCrowd(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "saved"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := &crowd{t: t, save: file, said: make(chan struct{}, 10*talkers), back: make(chan struct{}, 10*talkers)}
	l := c.listen("127.0.0.1:0")
	addr := l.Addr().String()
	for i := range silent {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.(*net.TCPConn).SetReadBuffer(4096)
		body := fmt.Sprintf(`{"jsonrpc":"2.0","method":"room.join","params":["R","silent-%d"],"id":1}`, i)
		b, _ := protocol.LengthPrefix{}.Append(nil, []byte(body))
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	members := make([]*client.Client, talkers)
	var group sync.WaitGroup
	for first := range 20 {
		group.Go(func() {
			for i := first; i < talkers; i += 20 {
				m, err := c.member(addr, fmt.Sprint("member-", i))
				if err != nil {
					t.Error(err)
					return
				}
				members[i] = m
			}
		})
	}
	group.Wait()
	for _, m := range members {
		if m != nil {
			defer m.Close()
		}
	}
	c.wait("join", c.back, talkers)
	text := strings.Repeat("x", 40_000)
	for range 12 { // more than buffers and queues hold
		if err := members[0].Call(t.Context(), "room.say", []string{"R", text}, nil); err != nil {
			t.Fatal(err)
		}
		c.wait("said", c.said, talkers-1)
	}
	waitFor(t, "the silent to be dropped", func() bool { return l.Info().Reasons[conns.QueueFull] == silent })

	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	again := c.listen(addr)
	c.wait("come back", c.back, talkers)
	if err := members[0].Call(t.Context(), "room.say", []string{"R", "again"}, nil); err != nil {
		t.Fatal(err)
	}
	c.wait("said again", c.said, talkers-1)
	again.Stop()

	saved, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	total := int(l.Info().Accepted + again.Info().Accepted)
	if n := strings.Count(string(saved), "\n"); n != total || n < 2*talkers+silent {
		t.Errorf("saved %d times, of %d connections", n, total)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond) // sockets are real here
	}
}
