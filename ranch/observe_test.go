package ranch_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// Observers of a listener and of its server get the events from when they are added until they are
// removed. The panic of one does not keep events from another.
func TestObserve(t *testing.T) {
	var s ranch.Server
	server, own, late := newRecorder(), newRecorder(), newRecorder()
	stopServer := s.Observe(server.observe)
	l, _, err := tryStartListener(t, &s, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0"}, greetAndEcho)
	if err != nil {
		t.Fatal(err)
	}
	stopPanic := l.Observe(func(ranch.Event) { panic("observer panic") })
	stopOwn := l.Observe(own.observe)
	oneClient := func(n int) {
		t.Helper()
		newClient(t, transport.TCP{}, dialAddr(l)).waitServed(t).close()
		server.wait(t, ranch.ConnEnded, n)
	}
	oneClient(1)
	stopLate := s.Observe(late.observe)
	stopOwn()
	stopOwn()
	oneClient(2)
	late.wait(t, ranch.ConnEnded, 1)
	stopLate()
	stopPanic()
	oneClient(3)
	for name, c := range map[string]struct {
		rec            *recorder
		started, ended int
	}{"server": {server, 1, 3}, "listener": {own, 0, 1}, "late": {late, 0, 1}} {
		if got := c.rec.count(ranch.ListenerStarted); got != c.started {
			t.Errorf("%s: got %d starts of listeners, want %d", name, got, c.started)
		}
		if got := c.rec.count(ranch.ConnEnded); got != c.ended {
			t.Errorf("%s: got %d ends of connections, want %d", name, got, c.ended)
		}
	}
	stopServer()
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	if got := server.count(ranch.ListenerStopped); got != 0 {
		t.Errorf("removed observer: got %d stops of listeners, want 0", got)
	}
}

// The time for which a connection waits for its slot is a part of its times, and not idle time.
func TestPendingTimeIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := protocol.Func(func(_ context.Context, c *transport.Conn) error { _, err := c.Read(make([]byte, 1)); return err })
		mem := new(transport.Mem) // has no handshake, which would count as activity
		opts := ranch.Options{Addr: "pending", MaxConnections: 1, NumAcceptors: 1, RefuseAfter: time.Hour}
		opts.IdleTimeout = 20 * time.Second
		l, rec := startListener(t, mem, opts, silent)
		var clients [2]net.Conn
		for i := range clients {
			nc, err := mem.Dial(t.Context(), "pending")
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			clients[i] = nc
			synctest.Wait()
		}
		time.Sleep(15 * time.Second)
		clients[0].Close()
		time.Sleep(15 * time.Second)
		clients[1].Close()
		if e := rec.wait(t, ranch.ConnEnded, 2)[1]; e.Duration != 30*time.Second || e.Reason == conns.IdleTimeout {
			t.Errorf("got the end %q after %v, want one after 30s because the client closes", e.Reason, e.Duration)
		}
		if d := l.Durations(); d.Wait.Count != 2 || d.Wait.Sum != 15 || d.Connection.Sum != 45 {
			t.Errorf("got waits of %v s and connections of %v s, want 15 and 45", d.Wait.Sum, d.Connection.Sum)
		}
	})
}

// At the cap clients wait in the kernel's queue.
func TestAcceptQueue(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the length of the queue is known on Linux only")
	}
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", MaxConnections: 1}, greetAndEcho)
	servedClients(t, transport.TCP{}, dialAddr(l), 1)
	waitAllWaiting(t, l)
	if i := l.Info(); i.AcceptQueue != 0 || i.AcceptQueueLimit <= 0 {
		t.Errorf("got a queue of %d of %d, want an empty one", i.AcceptQueue, i.AcceptQueueLimit)
	}
	for range 3 {
		newClient(t, transport.TCP{}, dialAddr(l))
	}
	waitUntil(t, "three connections are queued", func() bool { return l.Info().AcceptQueue == 3 })
	if err := l.Suspend(); err != nil {
		t.Fatal(err)
	}
	if i := l.Info(); i.AcceptQueue != -1 || i.AcceptQueueLimit != -1 {
		t.Errorf("suspended: got a queue of %d of %d, want -1 of -1", i.AcceptQueue, i.AcceptQueueLimit)
	}
}

// Sources are those of one listener.
func TestSources(t *testing.T) {
	var s ranch.Server
	for i, name := range []string{"a", "b"} {
		l, err := s.StartListener(name, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: discardLogger}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Stop() })
		servedClients(t, transport.TCP{}, dialAddr(l), i+1)
		if got := l.Sources(conns.Query{Limit: 1}); len(got) != 1 || got[0].Prefix.String() != "127.0.0.1/32" || got[0].Connections != i+1 {
			t.Errorf("listener %s: got %v, want 127.0.0.1/32 with %d connections", name, got, i+1)
		}
	}
}
