package bots

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"goranch/protocol/pubsub"
	"goranch/ranch"
	"goranch/transport"
)

// newTopicServer starts a server of package pubsub and returns its port.
func newTopicServer(t testing.TB) (port string, s *pubsub.Server) {
	t.Helper()
	s, err := pubsub.NewServer(pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(ranch.Server).StartListener("topics", transport.TCP{}, ranch.Options{
		Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Stop()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, s
}

// fakeServer is a Janus server with replaceable steps. A nil function stands for what the protocol
// requires.
type fakeServer struct {
	onConnect   func(i int, c net.Conn) bool // false closes the connection
	onSubscribe func(i int, c net.Conn)
	onDeliver   func(c net.Conn, frame []byte)

	listener    net.Listener
	mu          sync.Mutex // guards subscribers
	subscribers map[net.Conn]bool
	accepted    atomic.Int64
	wg          sync.WaitGroup
}

const tokenFrame = `{"timestamp":[1,2,3],"token":"t"}` + "\x01"

func (f *fakeServer) start(t testing.TB) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.listener, f.subscribers = l, map[net.Conn]bool{}
	conns := &sync.Map{}
	f.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
			f.wg.Go(func() { f.serve(int(f.accepted.Add(1))-1, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		f.wg.Wait()
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func (f *fakeServer) serve(i int, c net.Conn) {
	defer func() {
		f.mu.Lock()
		delete(f.subscribers, c)
		f.mu.Unlock()
		c.Close()
	}()
	if f.onConnect == nil {
		io.WriteString(c, tokenFrame)
	} else if !f.onConnect(i, c) {
		return
	}
	var in []byte
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		in = append(in, buf[:n]...)
		if i := bytes.Index(in, []byte("PUBLISH\x00")); i >= 0 && err != nil {
			f.publish(in[i+len("PUBLISH\x00"):])
		}
		if bytes.Contains(in, []byte(`"subscribe"`)) && in[len(in)-1] == 0 {
			in = nil
			f.mu.Lock()
			f.subscribers[c] = true
			f.mu.Unlock()
			if f.onSubscribe == nil {
				io.WriteString(c, "ACK\x01")
			} else {
				f.onSubscribe(i, c)
			}
		}
		if err != nil {
			return
		}
	}
}

func stampNow() string {
	us := time.Now().UnixMicro()
	return fmt.Sprintf("[%d,%d,%d]", us/1e12, us/1e6%1e6, us%1e6)
}

func (f *fakeServer) publish(m []byte) {
	frame := append([]byte(`{"timestamp":`+stampNow()+`,`), m[1:]...)
	frame = append(frame, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.subscribers {
		if f.onDeliver != nil {
			f.onDeliver(c, frame)
		} else {
			c.Write(frame)
		}
	}
}

// closeAll closes the connections of all subscribers.
func (f *fakeServer) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.subscribers {
		c.Close()
	}
}

// runBots runs the command.
func runBots(t testing.TB, port string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = Command(t.Context(), append([]string{"--port", port}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// unusedPort returns a port on which no server listens.
func unusedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
