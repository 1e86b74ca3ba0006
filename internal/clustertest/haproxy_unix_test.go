//go:build unix

package clustertest

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/client"
)

var behindProxy = flag.Int("haproxy", 0, "number of clients of three processes of ranchd behind haproxy")

// balanced are clients that connect through haproxy.
type balanced struct {
	c       *processes3
	addr    string
	topic   string
	clients []*balancedClient
	gaps    atomic.Int64
}

type balancedClient struct {
	c           *client.Client
	received    atomic.Int64 // number of the last message
	outOfOrder  atomic.Int64
	disconnects atomic.Int64
}

// Clients behind haproxy, whose node is killed, come back through it to other nodes and miss
// nothing; the other clients notice nothing.
func TestHAProxy(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil || *behindProxy == 0 {
		t.Skip("SKIPPED: to run this test: apt-get install haproxy, and go test ./internal/clustertest -run HAProxy -haproxy 300")
	}
	c := newProcesses(t, buildRanchd(t), Schedule{Keep: 1000})
	defer c.close()
	if !c.ready() {
		return
	}
	b := &balanced{c: c, topic: "news", addr: startHAProxy(t, haproxy, c, *behindProxy)}
	defer b.close()
	b.connect(*behindProxy)
	b.publish(1, 20)
	perNode := c.kill(1, b)
	b.publish(21, 40)
	time.Sleep(2 * time.Second)
	b.publish(41, 60)
	b.await(60)
	came, unnoticed := 0, 0
	for _, bc := range b.clients {
		if n := bc.outOfOrder.Load(); n > 0 {
			t.Errorf("client: got %d messages out of order or missing, want none", n)
		}
		if bc.disconnects.Load() > 0 {
			came++
		} else {
			unnoticed++
		}
	}
	t.Logf("%d clients: %d came back after the node was killed, %d noticed nothing, %d gaps", len(b.clients), came, unnoticed, b.gaps.Load())
	if b.gaps.Load() > 0 || came == 0 || came > perNode {
		t.Errorf("got %d gaps and %d clients that lost their connection, want none and 1 to %d", b.gaps.Load(), came, perNode)
	}
}

// startHAProxy starts as many instances as the limit of descriptors needs: each connection takes
// two.
func startHAProxy(t *testing.T, haproxy string, c *processes3, clients int) (addr string) {
	t.Helper()
	addr = FreeAddresses(t, 1)[0]
	text := "global\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n  retries 3\n  option redispatch\n" +
		"frontend topics\n  bind " + addr + "\n  default_backend nodes\nbackend nodes\n  balance roundrobin\n  default-server check inter 500ms fall 2 rise 2\n"
	for i, n := range c.nodes {
		text += fmt.Sprintf("  server n%d %s\n", i, n.topics)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 1 + clients/8500 {
		cmd := exec.Command(haproxy, "-db", "-f", file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	c.waitFor("haproxy", func() bool {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		defer nc.Close()
		w, err := Open(nc)
		if err == nil {
			w.Close()
		}
		return err == nil
	})
	return addr
}

// connect connects and subscribes clients, 50 at a time.
func (b *balanced) connect(n int) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 50)
	var mu sync.Mutex
	for range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			bc := new(balancedClient)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var err error
			bc.c, err = client.Dial(ctx, client.Options{Addr: b.addr, OnDisconnect: func(error) { bc.disconnects.Add(1) }})
			if err == nil {
				_, err = bc.c.Subscribe(ctx, b.topic, client.SubscribeOptions{
					Since: new(pubsub.Position), OnGap: func(_, _ pubsub.Position) { b.gaps.Add(1) },
					Handler: func(m client.Message) {
						k, _ := strconv.ParseInt(m.ID, 10, 64)
						if bc.received.Swap(k) != k-1 {
							bc.outOfOrder.Add(1)
						}
					},
				})
			}
			if err != nil {
				b.c.t.Errorf("client: got %v, want no error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			b.clients = append(b.clients, bc)
		})
	}
	wg.Wait()
}

func (b *balanced) close() {
	for _, bc := range b.clients {
		bc.c.Close()
	}
}

// publish publishes messages with these numbers through haproxy.
func (b *balanced) publish(from, to int) {
	for k := from; k <= to; k++ {
		b.c.waitFor("acknowledgement", func() bool {
			nc, err := net.Dial("tcp", b.addr)
			if err != nil {
				return false
			}
			defer nc.Close()
			w, err := Open(nc)
			return err == nil && w.Publish(b.c.rec, b.topic, strconv.Itoa(k), true, 6*time.Second) == Accepted
		})
		time.Sleep(20 * time.Millisecond)
	}
}

// await waits until all clients have received a message.
func (b *balanced) await(k int64) {
	b.c.waitFor("last message at all clients", func() bool {
		for _, bc := range b.clients {
			if bc.received.Load() < k {
				return false
			}
		}
		return true
	})
}

// kill kills a node after all clients have received the messages so far. It returns how many
// clients it may have had.
func (c *processes3) kill(i int, b *balanced) int {
	b.await(20)
	c.nodes[i].kill()
	return len(b.clients)/3 + len(b.clients)/10 + 3
}
