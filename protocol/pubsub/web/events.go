package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxEventID limits the length of a Last-Event-ID; longer ones are ignored.
const maxEventID = 256

// eventsRequest is a parsed request for events.
type eventsRequest struct {
	topics       []string
	history      map[string]any // the fields last and history of the subscribe requests
	token        string         // of the session to resume; "" is none
	lastReceived uint64         // number of the last message that the browser has received
}

func (g *Gateway) parseEventsRequest(r *http.Request) (req eventsRequest, err error) {
	q := r.URL.Query()
	for _, topic := range q["topic"] {
		if !utf8.ValidString(topic) { // encoding/json would replace it
			return req, fmt.Errorf("topic=%.100q: not valid UTF-8", topic)
		}
		if !slices.Contains(req.topics, topic) {
			req.topics = append(req.topics, topic)
		}
		if len(req.topics) > g.opts.MaxTopics {
			break
		}
	}
	if n := len(req.topics); n == 0 || n > g.opts.MaxTopics {
		return req, fmt.Errorf("%d topics: allowed are 1 to %d", len(q["topic"]), g.opts.MaxTopics)
	}
	req.history = map[string]any{}
	if v := q.Get("last"); v != "" {
		if req.history["last"], err = strconv.ParseBool(v); err != nil {
			return req, fmt.Errorf("last=%.20q: allowed are 0 and 1", v)
		}
	}
	if v := q.Get("history"); v != "" {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			return req, fmt.Errorf("history=%.20q: allowed are 0 to 65535", v)
		}
		req.history["history"] = n
	}
	if id := r.Header.Get("Last-Event-ID"); len(id) <= maxEventID {
		token, number, ok := strings.Cut(id, ".")
		if n, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
			req.token, req.lastReceived = token, n
		}
	}
	return req, nil
}

// eventStream is a stream of server-sent events to one browser.
type eventStream struct {
	g        *Gateway
	w        http.ResponseWriter
	rc       *http.ResponseController
	upstream *upstream
	token    string
	resumed  bool
	initial  []frame  // sent before the frames of upstream
	rest     []string // topics to subscribe to when initial has been sent
	lost     uint64   // messages that could not be replayed
}

func (g *Gateway) serveEvents(w http.ResponseWriter, r *http.Request) {
	defer g.removeBrowser()
	req, err := g.parseEventsRequest(r)
	if err != nil {
		g.refuse(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(g.ctx, func() { cancel(errShutdown) })()
	s := &eventStream{g: g, w: w, rc: http.NewResponseController(w)}
	s.rc.SetReadDeadline(time.Time{}) // that of the request would end the stream
	if err := s.open(withBrowserAddr(ctx, r), req); err != nil {
		status := http.StatusBadGateway
		var refused serverError
		if errors.As(err, &refused) {
			status = http.StatusForbidden
		}
		g.refuse(w, status, err)
		return
	}
	defer s.upstream.close()
	s.upstream.setOnSlow(func() { s.rc.SetWriteDeadline(time.Now()) }) // the stream may be blocked in a write
	g.count(func(st *Stats) {
		st.Streams++
		if s.resumed {
			st.Resumed++
		}
	})
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // the stream changes the connection's write deadline
	}
	err = s.serve(ctx, req)
	select {
	case <-s.upstream.slow:
		err = errSlow // of which a failed write is the consequence
	default:
	}
	if errors.Is(err, errSlow) {
		g.count(func(st *Stats) { st.Slow++ })
	}
	s.sendEnd(err)
}

// open connects to the topic server and subscribes, so that failures can still set the status.
func (s *eventStream) open(ctx context.Context, req eventsRequest) error {
	ctx, cancel := context.WithTimeout(ctx, s.g.opts.WriteTimeout)
	defer cancel()
	if req.token != "" {
		err := s.resumeSession(ctx, req)
		if err != nil && !errors.As(err, new(serverError)) {
			return err
		}
	}
	if !s.resumed {
		if err := s.newSession(ctx); err != nil {
			return err
		}
	}
	if err := s.subscribe(ctx, req); err != nil {
		s.upstream.close()
		return err
	}
	return nil
}

func (s *eventStream) newSession(ctx context.Context) (err error) {
	if s.upstream, err = s.g.dial(ctx); err != nil {
		return err
	}
	if s.token, err = s.upstream.readGreeting(ctx); err != nil {
		s.upstream.close()
		return err
	}
	b := &replayBuffer{table: &s.g.replays, upstream: s.upstream}
	s.upstream.setReplay(b)
	s.g.replays.put(s.token, b)
	return nil
}

// resumeSession attaches to a session. The stream then begins with the messages that the browser
// has not received, followed by those that the server has buffered. The error is a serverError if
// the server does not have the session.
func (s *eventStream) resumeSession(ctx context.Context, req eventsRequest) (err error) {
	earlier := s.g.replays.take(req.token)
	if s.upstream, err = s.g.dial(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.upstream.close()
		}
	}()
	if _, err = s.upstream.readGreeting(ctx); err != nil {
		return err
	}
	if err = s.upstream.request("attach", req.token, nil); err != nil {
		return err
	}
	buffered, err := s.upstream.readACK(ctx)
	if err != nil {
		return err
	}
	s.token, s.resumed = req.token, true
	b := &replayBuffer{table: &s.g.replays, upstream: s.upstream, last: req.lastReceived}
	if earlier != nil {
		s.initial, s.lost = earlier.after(req.lastReceived)
		b = earlier.successor(s.upstream, req.lastReceived)
	}
	for _, f := range buffered {
		if isMessage(f.data) {
			f.number = b.add(f.data)
		}
		s.initial = append(s.initial, f)
	}
	s.upstream.setReplay(b)
	s.g.replays.put(s.token, b)
	return nil
}

// subscribe subscribes to the topics, so that a refusal can still set the status. Topics whose
// history exceeds the memory of a stream are left for later.
func (s *eventStream) subscribe(ctx context.Context, req eventsRequest) error {
	for i, topic := range req.topics {
		bytes := 0
		for _, f := range s.initial {
			bytes += len(f.data)
		}
		if bytes > s.g.opts.MaxBuffered/4 && !s.resumed {
			s.rest = req.topics[i:]
			return nil
		}
		before, err := s.subscribeTo(ctx, topic, req)
		if err != nil {
			return err
		}
		s.initial = append(s.initial, before...)
	}
	return nil
}

// subscribeTo subscribes to a topic and returns the frames before the ACK. A resumed session is
// subscribed already, unless the browser has changed its topics; history is requested for new
// sessions only.
func (s *eventStream) subscribeTo(ctx context.Context, topic string, req eventsRequest) (before []frame, err error) {
	history := req.history
	if s.resumed {
		history = nil
	}
	if err := s.upstream.request("subscribe", topic, history); err != nil {
		// The server has closed the connection; its error frame gives the reason.
		<-s.upstream.done
		_, err = s.upstream.readACK(ctx)
		return nil, err
	}
	return s.upstream.readACK(ctx)
}

// serve sends events until the stream ends.
func (s *eventStream) serve(ctx context.Context, req eventsRequest) error {
	if err := s.sendStart(); err != nil {
		return err
	}
	for _, topic := range s.rest {
		before, err := s.subscribeTo(ctx, topic, req)
		if err != nil {
			return err
		}
		if err := s.sendFrames(before); err != nil {
			return err
		}
	}
	var tick <-chan time.Time
	if s.g.opts.KeepAlive > 0 {
		t := time.NewTicker(s.g.opts.KeepAlive)
		defer t.Stop()
		tick = t.C
	}
	for {
		f, err := s.upstream.next(ctx, tick)
		switch {
		case err == io.EOF:
			err = s.write([]byte(": keep-alive\n\n"))
		case err == nil:
			err = s.sendFrame(f)
		}
		if err != nil {
			return err
		}
	}
}

// sendStart sends the headers and the events with which the stream begins.
func (s *eventStream) sendStart() error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // disables the response buffer of nginx
	fmt.Fprintf(s.w, "retry: 2000\n")
	if err := s.sendEvent("session", 0, fmt.Appendf(nil, `{"resumed":%v}`, s.resumed)); err != nil {
		return err
	}
	if s.lost > 0 {
		if err := s.sendEvent("notice", 0, fmt.Appendf(nil, `{"lost_events":%d}`, s.lost)); err != nil {
			return err
		}
	}
	initial := s.initial
	s.initial = nil
	return s.sendFrames(initial)
}

func (s *eventStream) sendFrames(all []frame) error {
	for _, f := range all {
		if err := s.sendFrame(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *eventStream) sendFrame(f frame) error {
	if f.number > 0 {
		return s.sendEvent("", f.number, f.data)
	}
	return s.sendEvent("notice", 0, f.data)
}

func (s *eventStream) sendEvent(kind string, number uint64, data []byte) error {
	head := make([]byte, 0, 128)
	if kind != "" {
		head = fmt.Appendf(head, "event: %s\n", kind)
	}
	if number > 0 {
		head = fmt.Appendf(head, "id: %s.%d\n", s.token, number)
	}
	head = append(head, "data: "...)
	if bytes.ContainsAny(data, "\r\n") { // which would end the field; in JSON they are white space
		data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r"), []byte(" ")), []byte("\n"), []byte(" "))
	}
	return s.write(head, data, []byte("\n\n"))
}

// write writes parts and flushes them.
func (s *eventStream) write(parts ...[]byte) error {
	s.rc.SetWriteDeadline(time.Now().Add(s.g.opts.WriteTimeout)) // not all ResponseWriters support it
	for _, b := range parts {
		if _, err := s.w.Write(b); err != nil {
			return err
		}
	}
	return s.rc.Flush()
}

// sendEnd sends the reason why the stream ends.
func (s *eventStream) sendEnd(err error) {
	var refused serverError
	switch {
	case errors.As(err, &refused):
		s.sendEvent("refused", 0, errorJSON(err))
	case errors.Is(err, errSlow), errors.Is(err, errShutdown), errors.Is(err, errUpstreamClosed):
		s.sendEvent("notice", 0, errorJSON(err))
	}
}

func errorJSON(err error) []byte {
	b, _ := json.Marshal(map[string]string{"error": err.Error()})
	return b
}
