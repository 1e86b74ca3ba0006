//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"goranch/protocol/pubsub"
	topics "goranch/protocol/pubsub/client"
	"goranch/transport"
)

// startNATS starts a NATS server with JetStream for clients, and returns its address.
func startNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(timeout) {
		t.Fatal("nats-server has not started")
	}
	return s.ClientURL()
}

// An upgrade of a node whose NATS servers are elsewhere refuses nothing: sessions continue at the
// successor, and subscriptions with positions miss no message.
func testUpgradeElsewhere(t *testing.T, bin string) {
	file := filepath.Join(t.TempDir(), "ranchd.toml")
	if err := os.WriteFile(file, []byte(clusterListeners+fmt.Sprintf("[cluster]\nname = \"a\"\nurl = %q\n", startNATS(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startUpgradable(t, bin, nil, "--config", file, "--admin", "none")
	pid := p.serving(t, 0)
	p.log.event(t, "cluster ready", nil)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	addr := p.log.addr(t, "topics")

	connected := make(chan topics.ConnectInfo, 100)
	var subs []*topics.Subscription
	for range 5 {
		c, err := topics.Dial(ctx, topics.Options{Addr: addr, OnConnect: func(i topics.ConnectInfo) { connected <- i }})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := c.Subscribe(ctx, "news", topics.SubscribeOptions{
			Since: &pubsub.Position{}, Buffer: 10_000,
			OnGap: func(from, to pubsub.Position) { t.Errorf("subscription: got a gap from %v to %v, want none", from, to) },
		})
		if err != nil {
			t.Fatal(err)
		}
		<-connected
		subs = append(subs, s)
	}
	publisher, sent := topicsClient(t, addr), 0
	publish := func() bool {
		for {
			_, err := publisher.PublishKey(ctx, fmt.Sprint(sent), "news", "e", fmt.Sprint(sent), nil)
			if err == nil {
				sent++
				return true
			}
			if errors.Is(err, topics.ErrRefused) || errors.Is(err, pubsub.ErrUnavailable) || ctx.Err() != nil {
				t.Errorf("publish: got error %v, want none but that of a connection that has ended", err)
				return false
			}
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // clients publish and arrive all the time
		defer close(stopped)
		for tick := time.NewTicker(5 * time.Millisecond); publish(); {
			nc, err := transport.TCP{}.Dial(ctx, addr)
			if err != nil {
				t.Errorf("new connection: got error %v, want none", err)
				return
			}
			nc.Close()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	successor := p.upgrade(t, pid)
	for range subs {
		if i := <-connected; !i.Resumed {
			t.Errorf("session: got %+v, want it resumed", i)
		}
	}
	p.wantExit(t, exitOK)
	close(stop)
	<-stopped
	for i, s := range subs {
		for want := range sent {
			if m, err := s.Next(ctx); err != nil || m.ID != fmt.Sprint(want) {
				t.Fatalf("subscription %d: got message %q and error %v, want %d", i, m.ID, err, want)
			}
		}
	}
	p.stopSuccessor(t, successor)
}
