package adminhttp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"goranch/ranch"
	"goranch/ranch/admin/adminhttp"
)

// eventStream reads server-sent events.
type eventStream struct {
	t      testing.TB
	resp   *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
}

func (s *testServer) events(query string, header ...string) *eventStream {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), timeout)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	return &eventStream{s.t, resp, bufio.NewReader(resp.Body), cancel}
}

// next returns the next event of that name and decodes its data into v.
func (e *eventStream) next(name string, v any) {
	e.t.Helper()
	got := ""
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			e.t.Fatalf("event %s: got %v, want an event", name, err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case field == "event":
			got = value
		case field == "data" && got == name:
			if err := json.Unmarshal([]byte(value), v); err != nil {
				e.t.Fatalf("event %s: got %s, want JSON: %v", name, value, err)
			}
			return
		}
	}
}

type stats struct {
	Listeners []struct {
		Name, Status, Addr             string
		Active                         int
		Cap                            *int
		Accepted, Ended, Read, Written uint64
	}
}

func TestStatsEvents(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Interval: time.Millisecond})
	s.listener("http").SetMaxConnections(ranch.Unlimited)
	e := s.events("")
	if got := e.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type: got %q, want text/event-stream", got)
	}
	var st stats
	e.next("stats", &st)
	if len(st.Listeners) != 2 || st.Listeners[0].Name != "echo" || st.Listeners[0].Status != "running" || st.Listeners[0].Cap == nil || *st.Listeners[0].Cap != 20_000 || st.Listeners[1].Cap != nil {
		t.Fatalf("stats: got %+v, want the listeners echo and http without a cap", st)
	}
	s.dial(1000).Close()
	s.dial(234)
	s.waitFor("stats of the traffic", func() bool {
		e.next("stats", &st)
		l := st.Listeners[0]
		return l.Active == 1 && l.Accepted == 2 && l.Ended == 1 && l.Read == 1234 && l.Written == 1234
	})
}

func TestListenerEvents(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{})
	e := s.events("?kinds=listeners,connections")
	s.waitFor("the stream", func() bool { return e.resp.StatusCode == 200 })
	s.listener("echo").Suspend()
	var ev struct {
		Listener, Kind, Peer, Reason string
		Read, Written, ID            uint64
		Served                       bool
	}
	e.next("listener", &ev)
	if ev.Listener != "echo" || ev.Kind != "listener suspended" {
		t.Errorf("event: got %+v, want that echo was suspended", ev)
	}
	s.listener("echo").Resume()
	nc := s.dial(7)
	peer := nc.LocalAddr().String()
	e.next("connection", &ev)
	if ev.Kind != "connection started" || ev.Peer != peer {
		t.Errorf("event: got %+v, want the start of %s", ev, peer)
	}
	nc.Close()
	e.next("connection", &ev)
	if ev.Kind != "connection ended" || ev.Peer != peer || !ev.Served || ev.Read != 7 || ev.Reason != "peer closed" && ev.Reason != "finished" {
		t.Errorf("event: got %+v, want the end of %s", ev, peer)
	}
}

// A client that opens many streams gets a quarter of them; other clients still get theirs.
func TestManyStreams(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{MaxStreams: 16})
	open, refused := 0, 0
	var streams []*eventStream
	for range 1000 {
		e := s.events("")
		switch e.resp.StatusCode {
		case 200:
			open++
			streams = append(streams, e)
		case 503:
			refused++
			if e.resp.Header.Get("Retry-After") == "" {
				t.Error("refused stream: got no Retry-After, want one")
			}
			io.Copy(io.Discard, e.resp.Body)
			e.resp.Body.Close()
		}
	}
	if open != 4 || refused != 996 {
		t.Errorf("streams: got %d open and %d refused, want 4 and 996", open, refused)
	}
	other := s.events("", "Authorization", "Bearer viewer")
	if other.resp.StatusCode != 200 {
		t.Errorf("stream of another user: got %d, want 200", other.resp.StatusCode)
	}
	streams[0].cancel()
	s.waitFor("the end of a stream", func() bool {
		e := s.events("")
		if e.resp.StatusCode != 200 {
			e.resp.Body.Close()
		}
		return e.resp.StatusCode == 200
	})
}

// A stream that does not read loses events and is told how many; the server keeps a bounded number
// of bytes for it, and other streams lose none.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, adminhttp.Options{MaxBuffered: 4096, Interval: time.Hour})
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(nc, "GET /events?kinds=listeners HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 16), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v, want 200", resp, err)
	}
	r := bufio.NewReaderSize(resp.Body, 16) // a chunk may end within a line
	alarm := ranch.Event{Kind: ranch.AlarmRaised, Ref: "echo", Alarm: &ranch.AlarmEvent{Name: "a"}, Err: errors.New(strings.Repeat("x", 1000))}
	lost := false
	for n := 0; n < 100_000 && !lost; n++ { // fills the buffers of the sockets, then the queue
		adminhttp.Observe(s.handler, alarm)
		lost = adminhttp.LostEvents(s.handler) > 100
	}
	if size := adminhttp.QueuedBytes(s.handler); !lost || size > 4096 {
		t.Errorf("slow stream: got lost events %v and %d queued bytes, want some and at most 4096", lost, size)
	}
	nc.SetReadDeadline(time.Now().Add(timeout))
	for told := 0; told <= 100; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("events lost: got %d and %v, want more than 100", told, err)
		}
		if strings.HasPrefix(line, "event: lost") {
			var n struct{ Lost int }
			if line, err = r.ReadString('\n'); err != nil || json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &n) != nil {
				t.Fatalf("event lost: got %q, %v, want a number", line, err)
			}
			told += n.Lost
		}
		if r.Buffered() == 0 {
			adminhttp.Observe(s.handler, alarm)
		}
	}
}

// Without a stream, the sampler does not run.
func TestSamplerStops(t *testing.T) {
	s := newTestServer(t, adminhttp.Options{Interval: time.Millisecond})
	e := s.events("")
	var st stats
	e.next("stats", &st)
	e.cancel()
	s.waitFor("the end of the sampler", func() bool { return !adminhttp.Sampling(s.handler) })
	s.events("").next("stats", &st)
}
