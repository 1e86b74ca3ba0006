package web_test

import (
	"bufio"
	"context"
	"encoding/json"
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

// town is a topic server in memory, a gateway, and a web server on loopback.
type town struct {
	t   testing.TB
	s   *pubsub.Server
	l   *ranch.Listener
	mem *transport.Mem
	gw  *web.Gateway
	web *httptest.Server
}

func found(t testing.TB, opts pubsub.Options, webOpts web.Options) *town {
	t.Helper()
	s, err := pubsub.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	tn := &town{t: t, s: s, mem: new(transport.Mem)}
	tn.l = tn.listen(tn.mem, "topics")
	webOpts.Dial = func(ctx context.Context) (net.Conn, error) { return tn.mem.Dial(ctx, "topics") }
	if tn.gw, err = web.Handler(webOpts); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/topics/", http.StripPrefix("/topics", tn.gw))
	tn.web = httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := tn.gw.Shutdown(ctx); err != nil {
			t.Errorf("shutdown of the gateway: %v", err)
		}
		tn.web.Close()
		tn.l.Stop()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return tn
}

func (tn *town) listen(tr transport.Transport, addr string) *ranch.Listener {
	tn.t.Helper()
	l, err := new(ranch.Server).StartListener("topics", tr, ranch.Options{Addr: addr, Logger: slog.New(slog.DiscardHandler), MaxConnections: ranch.Unlimited}, tn.s)
	if err != nil {
		tn.t.Fatal(err)
	}
	return l
}

func (tn *town) publish(topic string, data ...any) {
	tn.t.Helper()
	for _, d := range data {
		if _, err := tn.s.Publish(topic, "e", "", d); err != nil {
			tn.t.Fatal(err)
		}
	}
}

// attached returns how many sessions have a connection. What is published while one ends may be lost.
func (tn *town) attached() (n int) {
	for _, one := range tn.s.Sessions() {
		if one.Attached {
			n++
		}
	}
	return n
}

// waits until something is so.
func waits(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

// sock is a WebSocket of a test.
type sock struct {
	t     testing.TB
	ws    *websocket.Conn
	token string
}

func (tn *town) url() string { return tn.web.URL + "/topics/" }

func (tn *town) sock() *sock {
	tn.t.Helper()
	ws, _, err := websocket.Dial(tn.t.Context(), tn.url()+"ws", nil)
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	s := &sock{t: tn.t, ws: ws}
	var hello struct{ Token string }
	if err := json.Unmarshal([]byte(strings.Replace(s.read(), ":T,", ":0,", 1)), &hello); err != nil || hello.Token == "" {
		tn.t.Fatalf("no token: %v", err)
	}
	s.token = hello.Token
	return s
}

func (s *sock) write(text string) {
	s.t.Helper()
	if err := s.ws.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sock) asks(action, data string) {
	s.t.Helper()
	s.write(fmt.Sprintf(`{"action":%q,"data":%q}`, action, data))
}

var stamp = regexp.MustCompile(`"timestamp":\[\d+,\d+,\d+\]`)

// read returns the next message, its timestamp left out, or how the WebSocket was closed.
func (s *sock) read() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	_, b, err := s.ws.Read(ctx)
	if e := (websocket.CloseError{}); err != nil && asClose(err, &e) {
		return fmt.Sprintf("%d %s", e.Code, e.Reason)
	} else if err != nil {
		return err.Error()
	}
	return stamp.ReplaceAllString(string(b), `"timestamp":T`)
}

func (s *sock) expects(want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		got = append(got, s.read())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatalf("(-want +got):\n%s", diff)
	}
}

func heard(topic, data string) string {
	return fmt.Sprintf(`{"timestamp":T,"topic":%q,"event":"e","message_id":"","data":%s}`, topic, data)
}

// source reads server-sent events as a browser does.
type source struct {
	t      testing.TB
	resp   *http.Response
	r      *bufio.Reader
	cancel func()
	last   string // id
}

// source asks for events. header may be nil.
func (tn *town) source(query string, header http.Header) *source {
	tn.t.Helper()
	ctx, cancel := context.WithTimeout(tn.t.Context(), 30*time.Second)
	tn.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", tn.url()+"events?"+query, nil)
	if err != nil {
		tn.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := tn.web.Client().Do(req)
	if err != nil {
		tn.t.Fatal(err)
	}
	tn.t.Cleanup(func() { resp.Body.Close() })
	return &source{t: tn.t, resp: resp, r: bufio.NewReader(resp.Body), cancel: cancel}
}

// again comes back as a browser does whose connection has ended.
func (tn *town) again(s *source, query string) *source {
	tn.t.Helper()
	return tn.source(query, http.Header{"Last-Event-Id": {s.last}})
}

// event returns the next one: its type, unless that is the default, and its data.
func (s *source) event() string {
	s.t.Helper()
	kind, data, has := "", []string(nil), false
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
			data, has = append(data, value), true
		case "id":
			s.last = value
		case "":
			if has {
				return stamp.ReplaceAllString(kind+strings.Join(data, "\n"), `"timestamp":T`)
			}
		}
	}
}

func (s *source) expects(want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		got = append(got, s.event())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatalf("(-want +got):\n%s", diff)
	}
}
