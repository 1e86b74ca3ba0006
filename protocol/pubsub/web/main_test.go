package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/protocol/pubsub"
	"goranch/protocol/pubsub/web"
	"goranch/ranch"
	"goranch/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer is a topic server in memory with a gateway, and an HTTP server that serves the gateway
// below /topics/.
type testServer struct {
	t        testing.TB
	topics   *pubsub.Server
	listener *ranch.Listener
	mem      *transport.Mem
	gateway  *web.Gateway
	http     *httptest.Server
}

func newTestServer(t testing.TB, opts pubsub.Options, webOpts web.Options) *testServer {
	t.Helper()
	s, err := pubsub.NewServer(opts)
	if err != nil {
		t.Fatalf("NewServer: got %v, want no error", err)
	}
	srv := &testServer{t: t, topics: s, mem: new(transport.Mem)}
	srv.listener = srv.listen(srv.mem, "topics")
	webOpts.Dial = func(ctx context.Context) (net.Conn, error) { return srv.mem.Dial(ctx, "topics") }
	if srv.gateway, err = web.NewGateway(webOpts); err != nil {
		t.Fatalf("NewGateway: got %v, want no error", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/topics/", http.StripPrefix("/topics", srv.gateway))
	srv.http = httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := srv.gateway.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: got %v, want no error", err)
		}
		srv.http.Close()
		srv.listener.Stop()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: got %v, want no error", err)
		}
	})
	return srv
}

func (srv *testServer) listen(tr transport.Transport, addr string) *ranch.Listener {
	srv.t.Helper()
	l, err := new(ranch.Server).StartListener("topics", tr, ranch.Options{Addr: addr, Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}, srv.topics)
	if err != nil {
		srv.t.Fatalf("StartListener: got %v, want no error", err)
	}
	return l
}

func (srv *testServer) publish(topic string, data ...any) {
	srv.t.Helper()
	for _, d := range data {
		if _, err := srv.topics.Publish(topic, "e", "", d); err != nil {
			srv.t.Fatalf("Publish to %s: got %v, want no error", topic, err)
		}
	}
}

// attachedSessions returns how many sessions have a connection. A message that is published while a
// connection ends may be lost.
func (srv *testServer) attachedSessions() (n int) {
	for _, info := range srv.topics.Sessions() {
		if info.Attached {
			n++
		}
	}
	return n
}

// waitFor polls until cond is true.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: got none within 30 s, want it", what)
		}
	}
}

// Bytes of a client that uses no library.
const (
	upgradeRequest = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	// subscribe subscribes to the topic "x".
	subscribe = `{"action":"subscribe","data":"x"}`
	// subscribeMessage is subscribe as a text frame, masked with zeros.
	subscribeMessage = "\x81\xa1\x00\x00\x00\x00" + subscribe
)

// rawSocket opens a WebSocket that sends its first message together with the request, and waits for
// the answer to both.
func (srv *testServer) rawSocket() (net.Conn, *bufio.Reader) {
	srv.t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(srv.http.URL, "http://"))
	if err != nil {
		srv.t.Fatal(err)
	}
	srv.t.Cleanup(func() { nc.Close() })
	io.WriteString(nc, strings.Replace(upgradeRequest, "/ws", "/topics/ws", 1)+subscribeMessage)
	r := bufio.NewReader(nc)
	for line := ""; !strings.HasSuffix(line, `{"ack":true}`); {
		if line, err = r.ReadString('}'); err != nil {
			srv.t.Fatalf("before the ACK: got %v, want no error", err)
		}
	}
	return nc, r
}

// testSocket is a WebSocket client.
type testSocket struct {
	t     testing.TB
	ws    *websocket.Conn
	token string
}

func (srv *testServer) url() string { return srv.http.URL + "/topics/" }

func (srv *testServer) webSocket() *testSocket {
	srv.t.Helper()
	ws, _, err := websocket.Dial(srv.t.Context(), srv.url()+"ws", nil)
	if err != nil {
		srv.t.Fatalf("Dial: got %v, want no error", err)
	}
	srv.t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	s := &testSocket{t: srv.t, ws: ws}
	first := s.read()
	var greeting struct{ Token string }
	if err := json.Unmarshal([]byte(strings.Replace(first, ":T,", ":0,", 1)), &greeting); err != nil || greeting.Token == "" {
		srv.t.Fatalf("first frame: got %s, %v, want a greeting", first, err)
	}
	s.token = greeting.Token
	return s
}

func (s *testSocket) write(text string) {
	s.t.Helper()
	if err := s.ws.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatalf("Write: got %v, want no error", err)
	}
}

func (s *testSocket) request(action, data string) {
	s.t.Helper()
	s.write(fmt.Sprintf(`{"action":%q,"data":%q}`, action, data))
}

var timestamp = regexp.MustCompile(`"timestamp":\[\d+,\d+,\d+\]`)

// read returns the next message with T as its timestamp, or the status and reason of the close
// frame.
func (s *testSocket) read() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	_, b, err := s.ws.Read(ctx)
	if e := (websocket.CloseError{}); errors.As(err, &e) {
		return fmt.Sprintf("%d %s", e.Code, e.Reason)
	} else if err != nil {
		return err.Error()
	}
	return timestamp.ReplaceAllString(string(b), `"timestamp":T`)
}

func (s *testSocket) expect(want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		got = append(got, s.read())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatalf("messages or events (-want +got):\n%s", diff)
	}
}

// delivered is a message as browsers receive it, with T as the timestamp.
func delivered(topic, data string) string {
	return fmt.Sprintf(`{"timestamp":T,"topic":%q,"event":"e","message_id":"","data":%s}`, topic, data)
}

// eventSource reads server-sent events as a browser does.
type eventSource struct {
	t      testing.TB
	resp   *http.Response
	r      *bufio.Reader
	cancel func()
	lastID string
}

// events requests a stream of events. header may be nil.
func (srv *testServer) events(query string, header http.Header) *eventSource {
	srv.t.Helper()
	ctx, cancel := context.WithTimeout(srv.t.Context(), 30*time.Second)
	srv.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", srv.url()+"events?"+query, nil)
	if err != nil {
		srv.t.Fatalf("NewRequest: got %v, want no error", err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := srv.http.Client().Do(req)
	if err != nil {
		srv.t.Fatalf("GET events?%s: got %v, want no error", query, err)
	}
	srv.t.Cleanup(func() { resp.Body.Close() })
	return &eventSource{t: srv.t, resp: resp, r: bufio.NewReader(resp.Body), cancel: cancel}
}

// reconnect requests events as a browser does after its connection has ended.
func (srv *testServer) reconnect(s *eventSource, query string) *eventSource {
	srv.t.Helper()
	return srv.events(query, http.Header{"Last-Event-Id": {s.lastID}})
}

// event returns the next event: its type, unless that is the default, and its data.
func (s *eventSource) event() string {
	s.t.Helper()
	kind, data, hasData := "", []string(nil), false
	for {
		line, err := s.r.ReadString('\n')
		if err == io.EOF {
			return "EOF"
		} else if err != nil {
			return err.Error()
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			kind = value + " "
		case "data":
			data, hasData = append(data, value), true
		case "id":
			s.lastID = value
		case "":
			if hasData {
				return timestamp.ReplaceAllString(kind+strings.Join(data, "\n"), `"timestamp":T`)
			}
		}
	}
}

func (s *eventSource) expect(want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		got = append(got, s.event())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatalf("messages or events (-want +got):\n%s", diff)
	}
}
