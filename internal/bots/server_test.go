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

// topics starts a real server, and returns its port.
func topics(t testing.TB) (port string, s *pubsub.Server) {
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

// fake is a Janus server that can be told to misbehave. Functions left nil do what is right.
type fake struct {
	hello     func(i int, c net.Conn) bool // false: go no further
	subscribe func(i int, c net.Conn)
	deliver   func(c net.Conn, frame []byte)

	listener net.Listener
	mu       sync.Mutex
	members  map[net.Conn]bool
	accepted atomic.Int64
	all      sync.WaitGroup
}

const stampedHello = `{"timestamp":[1,2,3],"token":"t"}` + "\x01"

func (f *fake) start(t testing.TB) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.listener, f.members = l, map[net.Conn]bool{}
	conns := &sync.Map{}
	f.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
			f.all.Go(func() { f.serve(int(f.accepted.Add(1))-1, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		f.all.Wait()
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func (f *fake) serve(i int, c net.Conn) {
	defer func() {
		f.mu.Lock()
		delete(f.members, c)
		f.mu.Unlock()
		c.Close()
	}()
	if f.hello == nil {
		io.WriteString(c, stampedHello)
	} else if !f.hello(i, c) {
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
			f.members[c] = true
			f.mu.Unlock()
			if f.subscribe == nil {
				io.WriteString(c, "ACK\x01")
			} else {
				f.subscribe(i, c)
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

func (f *fake) publish(m []byte) {
	frame := append([]byte(`{"timestamp":`+stampNow()+`,`), m[1:]...)
	frame = append(frame, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.members {
		if f.deliver != nil {
			f.deliver(c, frame)
		} else {
			c.Write(frame)
		}
	}
}

// runs is the command, run with a server's port and more flags.
func runs(t testing.TB, port string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = Command(t.Context(), append([]string{"--port", port}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// unusedPort is one where nobody listens.
func unusedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
