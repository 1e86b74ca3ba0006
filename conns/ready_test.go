package conns_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/transport"
)

// readyHandler handles frames, which are lines, by a function.
type readyHandler struct {
	connected chan<- *protocol.Peer
	data      func(p *protocol.Peer, line string) protocol.Action
}

func (h readyHandler) HandleConnect(p *protocol.Peer) protocol.Action {
	h.connected <- p
	return protocol.Continue()
}

func (h readyHandler) HandleData(p *protocol.Peer, b []byte) protocol.Action {
	return h.data(p, string(b))
}

// startReady starts n connections that are served by the goroutine that finds them readable.
func startReady(h *harness, n int, opts protocol.Options, data func(p *protocol.Peer, line string) protocol.Action) (clients []*net.TCPConn) {
	h.Helper()
	if runtime.GOOS != "linux" {
		h.Skip("connections are parked on Linux only")
	}
	opts.Codec = protocol.Lines{}
	connected := make(chan *protocol.Peer, n)
	p := protocol.Handle(func() protocol.Handler { return readyHandler{connected, data} }, opts)
	for range n {
		server, client := tcpPair(h)
		client.SetDeadline(time.Now().Add(20 * time.Second))
		clients = append(clients, client)
		useSlots(h, h.gate, 1)
		h.sup.Start(bg, transport.TCP{WriteBuffer: 4096}, server, p)
		receive(h, connected)
	}
	h.waitParked()
	return clients
}

func echoLine(p *protocol.Peer, line string) protocol.Action {
	if err := p.Send([]byte(line)); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// wantLine reads a line.
func wantLine(t testing.TB, client net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want)+1)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != want+"\n" {
		t.Fatalf("read: got %q, %v, want %q", got, err, want)
	}
}

// Callbacks that wait for each other all run, although one goroutine has found their connections
// readable.
func TestReadyCallbacksThatWait(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	const n = 20
	var all sync.WaitGroup
	all.Add(n)
	clients := startReady(h, n, protocol.Options{}, func(p *protocol.Peer, line string) protocol.Action {
		all.Done()
		all.Wait()
		return echoLine(p, line)
	})
	for _, c := range clients {
		c.Write([]byte("hello\n"))
	}
	for _, c := range clients {
		wantLine(t, c, "hello")
	}
	h.close()
}

// Each way in which a connection ends ends only that one, with the same reason as in a goroutine of
// its own.
func TestReadyEnds(t *testing.T) {
	bad := errors.New("bad line")
	for _, tc := range []struct {
		name string
		line string
		data func(p *protocol.Peer) protocol.Action
		want conns.Reason
	}{
		{"panic", "x\n", func(*protocol.Peer) protocol.Action { panic("callback") }, conns.Panicked},
		{"goexit", "x\n", func(*protocol.Peer) protocol.Action { runtime.Goexit(); return protocol.Continue() }, conns.Panicked},
		{"fail", "x\n", func(*protocol.Peer) protocol.Action { return protocol.Fail(bad) }, conns.Failed},
		{"stop", "x\n", func(*protocol.Peer) protocol.Action { return protocol.Stop() }, conns.Finished},
		{"close of the peer", "x\n", func(p *protocol.Peer) protocol.Action { p.Close(bad); return protocol.Continue() }, conns.Failed},
		{"a part of a line", "x", nil, conns.PeerClosed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newParkHarness(t, conns.Limits{})
			clients := startReady(h, 2, protocol.Options{}, func(p *protocol.Peer, line string) protocol.Action {
				if line == "x" {
					return tc.data(p)
				}
				return echoLine(p, line)
			})
			clients[0].Write([]byte(tc.line))
			clients[0].CloseWrite()
			wantReason(t, h.end(), tc.want)
			clients[1].Write([]byte("hello\n"))
			wantLine(t, clients[1], "hello")
			h.close()
		})
	}
}

// A client that sends much, and reads no answer until everything is sent, gets all answers in
// order, and does not delay another.
func TestReadyFlood(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	clients := startReady(h, 2, protocol.Options{PauseAt: 2000, Queue: protocol.QueueOptions{MaxBytes: 1 << 20}}, echoLine)
	line := string(bytes.Repeat([]byte("a"), 999))
	const lines = 3000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range lines {
			clients[0].Write([]byte(line + "\n"))
		}
	}()
	for range 100 {
		clients[1].Write([]byte("hello\n"))
		wantLine(t, clients[1], "hello")
	}
	for range lines {
		wantLine(t, clients[0], line)
	}
	<-sent
	h.waitParked()
	clients[0].Write([]byte("hello\n"))
	wantLine(t, clients[0], "hello")
	h.close()
}

// An upgrade needs a goroutine. Afterwards the connection is served by one.
func TestReadyUpgrade(t *testing.T) {
	h := newParkHarness(t, conns.Limits{})
	client := startReady(h, 1, protocol.Options{}, func(p *protocol.Peer, line string) protocol.Action {
		if line == "starttls" {
			echoLine(p, "go ahead")
			return protocol.Upgrade(transport.TLS{Config: serverTLS()})
		}
		return echoLine(p, line)
	})[0]
	client.Write([]byte("hello\nstart")) // the request arrives in two reads
	wantLine(t, client, "hello")
	client.Write([]byte("tls\n"))
	wantLine(t, client, "go ahead")
	secure := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	for range 3 {
		secure.Write([]byte("hello\n"))
		wantLine(t, secure, "hello")
	}
	h.close()
}
