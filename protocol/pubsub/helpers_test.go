package pubsub_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/protocol/pubsub"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer is a topic server with one listener.
type testServer struct {
	*pubsub.Server
	t         testing.TB
	listener  *ranch.Listener
	transport transport.Transport
	addr      string
}

// newTestServer starts a server on the in-memory transport.
func newTestServer(t testing.TB, opts pubsub.Options) *testServer {
	t.Helper()
	return newTestServerOn(t, opts, new(transport.Mem), "topics")
}

func newTestServerOn(t testing.TB, opts pubsub.Options, tr transport.Transport, addr string) *testServer {
	t.Helper()
	s, err := pubsub.NewServer(opts)
	if err != nil {
		t.Fatalf("NewServer: got %v, want no error", err)
	}
	srv := &testServer{Server: s, t: t, transport: tr}
	srv.listener, err = new(ranch.Server).StartListener("topics", tr, ranch.Options{Addr: addr, Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}, s)
	if err != nil {
		t.Fatalf("StartListener: got %v, want no error", err)
	}
	srv.addr = srv.listener.Addr().String()
	t.Cleanup(srv.stop)
	return srv
}

func (srv *testServer) stop() {
	srv.t.Helper()
	srv.listener.Stop()
	if err := srv.Close(context.Background()); err != nil {
		srv.t.Errorf("Close: got %v, want no error", err)
	}
}

// publish publishes over a connection, as a Janus publisher does.
func (srv *testServer) publish(topic, data string) {
	srv.t.Helper()
	c := srv.client()
	c.write("<regular-socket/>\x00PUBLISH\x00" + message(topic, data) + "\x00")
	c.expect("EOF")
}

// testClient speaks the wire protocol without any client code.
type testClient struct {
	t     testing.TB
	nc    net.Conn
	token string
	in    []byte // received, not yet returned by frame
}

var greeting = regexp.MustCompile(`^\{"timestamp":\[\d+,\d+,\d+\],"token":"(\d+)"\}$`)

// client connects and reads the greeting.
func (srv *testServer) client() *testClient {
	srv.t.Helper()
	nc, err := srv.transport.Dial(context.Background(), srv.addr)
	if err != nil {
		srv.t.Fatalf("Dial: got %v, want no error", err)
	}
	srv.t.Cleanup(func() { nc.Close() })
	c := &testClient{t: srv.t, nc: nc}
	first := c.frame()
	m := greeting.FindStringSubmatch(first)
	if m == nil {
		srv.t.Fatalf("first frame: got %q, want a greeting", first)
	}
	c.token = m[1]
	return c
}

func (c *testClient) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatalf("Write: got %v, want no error", err)
	}
}

// frame returns the next frame, "EOF" at the end of the stream, or the text of a read error.
func (c *testClient) frame() string {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if f, rest, ok := strings.Cut(string(c.in), "\x01"); ok {
			c.in = []byte(rest)
			return f
		}
		buf := make([]byte, 4096)
		n, err := c.nc.Read(buf)
		c.in = append(c.in, buf[:n]...)
		if err == io.EOF && n == 0 {
			return "EOF" + string(c.in)
		} else if err != nil && n == 0 {
			return err.Error()
		}
	}
}

var timestamp = regexp.MustCompile(`"timestamp":\[\d+,\d+,\d+\]`)

// expect compares the next frames with want, in which T stands for the timestamp.
func (c *testClient) expect(want ...string) {
	c.t.Helper()
	var got []string
	for range want {
		got = append(got, timestamp.ReplaceAllString(c.frame(), `"timestamp":T`))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Fatalf("frames (-want +got):\n%s", diff)
	}
}

func (c *testClient) request(action, data string) {
	c.t.Helper()
	c.write(fmt.Sprintf("{\"action\":%q,\"data\":%q}\x00", action, data))
}

func (c *testClient) subscribe(topic string) {
	c.t.Helper()
	c.request("subscribe", topic)
	c.expect("ACK")
}

// message is a message as publishers send it.
func message(topic, data string) string {
	return fmt.Sprintf(`{"topic":%q,"event":"e","message_id":"","data":%s}`, topic, data)
}

// delivered is a message as subscribers receive it, with T as the timestamp.
func delivered(topic, data string) string { return `{"timestamp":T,` + message(topic, data)[1:] }

// waitFor polls until cond is true.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: got none within 20 s, want it", what)
		}
	}
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// subscribeAll subscribes to names in batches until the server refuses one. It returns the number
// of subscriptions.
func (c *testClient) subscribeAll(names []string) (acks int) {
	for len(names) > 0 {
		n := min(100, len(names))
		var b strings.Builder
		for _, name := range names[:n] {
			fmt.Fprintf(&b, "{\"action\":\"subscribe\",\"data\":%q}\x00", name)
		}
		if _, err := io.WriteString(c.nc, b.String()); err != nil {
			return acks
		}
		for range n {
			if c.frame() != "ACK" {
				return acks
			}
			acks++
		}
		names = names[n:]
	}
	return acks
}

// namesOf returns n names made from a format with one %d.
func namesOf(format string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf(format, i))
	}
	return names
}
