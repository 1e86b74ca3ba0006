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
	"goranch/internal/room"
	"goranch/protocol"
	"goranch/protocol/packet"
	"goranch/protocol/packet/client"
	"goranch/ranch"
	"goranch/transport"
)

const silent = 20 // connections that read nothing

// readers is the number of clients. The race detector makes each about ten times as expensive.
var readers = func() int {
	if raceEnabled {
		return 80
	}
	return 380
}()

// loadTest counts what happens to all clients.
type loadTest struct {
	t      *testing.T
	file   *os.File      // gets a line for each call of OnEnd
	said   chan struct{} // one for each room.said that a client receives
	joined chan struct{} // one for each connect of a client
}

func newLoadTest(t *testing.T) *loadTest {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "saved"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &loadTest{t: t, file: file, said: make(chan struct{}, 10*readers), joined: make(chan struct{}, 10*readers)}
}

func (lt *loadTest) listen(addr string) *ranch.Listener {
	lt.t.Helper()
	s, err := packet.NewServer(packet.Options{
		Queue: protocol.QueueOptions{MaxBytes: 192 << 10},
		OnEnd: func(p *packet.Peer, _ error) { fmt.Fprintln(lt.file, p.Conn().RemoteAddr()) },
	})
	if err != nil {
		lt.t.Fatal(err)
	}
	if err := room.Register(s, room.Options{}); err != nil {
		lt.t.Fatal(err)
	}
	l, err := new(ranch.Server).StartListener("load", transport.TCP{WriteBuffer: 32 << 10}, ranch.Options{
		Addr: addr, MaxConnections: 2000, ShutdownTimeout: 20 * time.Second, Logger: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		lt.t.Fatal(err)
	}
	lt.t.Cleanup(func() { l.Stop() })
	return l
}

// dialSilent joins the room by connections that read nothing.
func (lt *loadTest) dialSilent(addr string) {
	lt.t.Helper()
	for i := range silent {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			lt.t.Fatal(err)
		}
		lt.t.Cleanup(func() { nc.Close() })
		nc.(*net.TCPConn).SetReadBuffer(4096)
		request := fmt.Sprintf(`{"jsonrpc":"2.0","method":"room.join","params":["R","silent-%d"],"id":1}`, i)
		b, _ := protocol.LengthPrefix{}.Append(nil, []byte(request))
		if _, err := nc.Write(b); err != nil {
			lt.t.Fatal(err)
		}
	}
}

// dialReaders connects the clients, 20 at a time. They join the room after each connect.
func (lt *loadTest) dialReaders(addr string) []*client.Client {
	lt.t.Helper()
	clients := make([]*client.Client, readers)
	var group sync.WaitGroup
	for first := range 20 {
		group.Go(func() {
			for i := first; i < readers; i += 20 {
				c, err := lt.dial(addr, fmt.Sprint("client-", i))
				if err != nil {
					lt.t.Errorf("client %d: %v", i, err)
					return
				}
				clients[i] = c
			}
		})
	}
	group.Wait()
	for _, c := range clients {
		if c != nil {
			lt.t.Cleanup(func() { c.Close() })
		}
	}
	return clients
}

func (lt *loadTest) dial(addr, name string) (*client.Client, error) {
	return client.Dial(context.Background(), client.Options{Addr: addr, MaxBackoff: 500 * time.Millisecond, DialTimeout: time.Minute,
		OnConnect: func(ctx context.Context, c *client.Client) error {
			err := c.Call(ctx, "room.join", []string{"R", name}, nil)
			if err == nil {
				lt.joined <- struct{}{}
			}
			return err
		},
		OnNotification: func(method string, _ json.RawMessage) {
			if method == "room.said" {
				lt.said <- struct{}{}
			}
		}})
}

// receive receives n values.
func (lt *loadTest) receive(what string, ch <-chan struct{}, n int) {
	lt.t.Helper()
	limit := time.After(3 * time.Minute) // under the race detector most of one minute is needed
	for i := range n {
		select {
		case <-ch:
		case <-limit:
			lt.t.Fatalf("%s: got %d, want %d", what, i, n)
		}
	}
}

// Hundreds of clients are in one room, and some of them read nothing. What is said reaches the
// others, and the silent connections are closed. After a restart of the server all clients join
// again, and OnEnd has been called once for each connection.
func TestLoad(t *testing.T) {
	lt := newLoadTest(t)
	l := lt.listen("127.0.0.1:0")
	addr := l.Addr().String()
	lt.dialSilent(addr)
	clients := lt.dialReaders(addr)
	lt.receive("joined", lt.joined, readers)
	text := strings.Repeat("x", 40_000)
	for range 12 { // more than the socket buffers and queues of a silent connection take
		if err := clients[0].Call(t.Context(), "room.say", []string{"R", text}, nil); err != nil {
			t.Fatal(err)
		}
		lt.receive("said", lt.said, readers-1)
	}
	waitFor(t, "the silent connections to be closed", func() bool { return l.Info().Reasons[conns.QueueFull] == silent })

	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	restarted := lt.listen(addr)
	lt.receive("joined again", lt.joined, readers)
	if err := clients[0].Call(t.Context(), "room.say", []string{"R", "again"}, nil); err != nil {
		t.Fatal(err)
	}
	lt.receive("said again", lt.said, readers-1)
	restarted.Stop()

	saved, err := os.ReadFile(lt.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	accepted := int(l.Info().Accepted + restarted.Info().Accepted)
	if n := strings.Count(string(saved), "\n"); n != accepted || n < 2*readers+silent {
		t.Errorf("calls of OnEnd: got %d, want %d, at least %d", n, accepted, 2*readers+silent)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(limit) {
			t.Fatalf("timed out waiting for %s", what)
		}
		time.Sleep(time.Millisecond) // real sockets: no synctest
	}
}
