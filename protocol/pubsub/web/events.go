package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// wish is what a request for events asks for.
type wish struct {
	topics  []string
	past    map[string]any // of subscribes
	token   string         // of the session to go on with; "" is none
	counter uint64         // of the last message that the browser has
}

func (g *Gateway) parseWish(r *http.Request) (w wish, err error) {
	q := r.URL.Query()
	w.topics = q["topic"]
	if n := len(w.topics); n == 0 || n > g.opts.MaxTopics {
		return w, fmt.Errorf("%d topics: allowed are 1 to %d", n, g.opts.MaxTopics)
	}
	w.past = map[string]any{}
	if v := q.Get("last"); v != "" {
		if w.past["last"], err = strconv.ParseBool(v); err != nil {
			return w, fmt.Errorf("last %.20q: allowed are 0 and 1", v)
		}
	}
	if v := q.Get("history"); v != "" {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			return w, fmt.Errorf("history %.20q: allowed are 0 to 65535", v)
		}
		w.past["history"] = n
	}
	if id := r.Header.Get("Last-Event-ID"); len(id) <= 256 {
		token, counter, ok := strings.Cut(id, ".")
		if n, err := strconv.ParseUint(counter, 10, 64); ok && err == nil {
			w.token, w.counter = token, n
		}
	}
	return w, nil
}

// stream is server-sent events to one browser.
type stream struct {
	g       *Gateway
	w       http.ResponseWriter
	rc      *http.ResponseController
	up      *upstream
	token   string
	resumed bool
	first   []item // what is to be sent before anything else
	lost    uint64
}

func (g *Gateway) serveEvents(w http.ResponseWriter, r *http.Request) {
	wish, err := g.parseWish(r)
	if err != nil {
		g.refuse(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(g.ctx, func() { cancel(ErrShutdown) })()
	s := &stream{g: g, w: w, rc: http.NewResponseController(w)}
	if err := s.open(ctx, wish); err != nil {
		status := http.StatusBadGateway
		var r refusal
		if errors.As(err, &r) {
			status = http.StatusForbidden
		}
		g.refuse(w, status, err)
		return
	}
	defer s.up.close()
	g.count(func(st *Stats) {
		st.Streams++
		if s.resumed {
			st.Resumed++
		}
	})
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // its write deadline is ours
	}
	err = s.serve(ctx)
	if errors.Is(err, errSlow) {
		g.count(func(st *Stats) { st.Slow++ })
	}
	s.end(err)
}

// open connects to the topic server, and subscribes, before anything is answered.
func (s *stream) open(ctx context.Context, w wish) error {
	ctx, cancel := context.WithTimeout(ctx, s.g.opts.WriteTimeout)
	defer cancel()
	var err error
	if w.token != "" {
		err = s.resume(ctx, w)
		if err != nil && !errors.As(err, new(refusal)) {
			return err
		}
	}
	if !s.resumed {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	if err := s.subscribe(ctx, w); err != nil {
		s.up.close()
		return err
	}
	return nil
}

// start begins a session.
func (s *stream) start(ctx context.Context) (err error) {
	if s.up, err = s.g.dial(ctx); err != nil {
		return err
	}
	if s.token, err = s.up.greeting(ctx); err != nil {
		s.up.close()
		return err
	}
	t := &trail{up: s.up}
	s.up.follow(t)
	s.g.trails.put(s.token, t)
	return nil
}

// resume goes on with a session. What the browser had not got comes first, then what the server has
// kept. The error is a refusal if there is no such session.
func (s *stream) resume(ctx context.Context, w wish) (err error) {
	t := s.g.trails.take(w.token)
	if s.up, err = s.g.dial(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.up.close()
		}
	}()
	if _, err = s.up.greeting(ctx); err != nil {
		return err
	}
	if err = s.up.ask("attach", w.token, nil); err != nil {
		return err
	}
	kept, err := s.up.acknowledged(ctx)
	if err != nil {
		return err
	}
	s.token, s.resumed = w.token, true
	next := &trail{up: s.up, last: w.counter}
	if t != nil {
		s.first, s.lost = t.after(w.counter)
		t.mu.Lock()
		next.last, next.items, next.bytes = max(t.last, w.counter), t.items, t.bytes
		t.mu.Unlock()
	}
	for _, it := range kept {
		if isMessage(it.frame) {
			it.n = next.add(it.frame)
		}
		s.first = append(s.first, it)
	}
	s.up.follow(next)
	s.g.trails.put(s.token, next)
	return nil
}

// subscribe has all topics subscribed to. A session that goes on has them already, unless the browser asks
// for others now; of the past it wants to know nothing.
func (s *stream) subscribe(ctx context.Context, w wish) error {
	for _, topic := range w.topics {
		past := w.past
		if s.resumed {
			past = nil
		}
		if err := s.up.ask("subscribe", topic, past); err != nil {
			<-s.up.done
			_, err = s.up.acknowledged(ctx)
			return err
		}
		before, err := s.up.acknowledged(ctx)
		if err != nil {
			return err
		}
		s.first = append(s.first, before...)
	}
	return nil
}

func (s *stream) serve(ctx context.Context) error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // proxies
	fmt.Fprintf(s.w, "retry: 2000\n")
	if err := s.event("session", 0, fmt.Appendf(nil, `{"resumed":%v}`, s.resumed)); err != nil {
		return err
	}
	if s.lost > 0 {
		if err := s.event("notice", 0, fmt.Appendf(nil, `{"lost_events":%d}`, s.lost)); err != nil {
			return err
		}
	}
	for _, it := range s.first {
		if err := s.send(it); err != nil {
			return err
		}
	}
	s.first = nil
	var tick <-chan time.Time
	if s.g.opts.KeepAlive > 0 {
		t := time.NewTicker(s.g.opts.KeepAlive)
		defer t.Stop()
		tick = t.C
	}
	for {
		it, err := s.up.next(ctx, tick)
		switch {
		case err == io.EOF:
			err = s.write([]byte(": alive\n\n"))
		case err == nil:
			err = s.send(it)
		}
		if err != nil {
			return err
		}
	}
}

func (s *stream) send(it item) error {
	if it.n > 0 {
		return s.event("", it.n, it.frame)
	}
	return s.event("notice", 0, it.frame)
}

// lines in data may end in JSON's blanks only, which need not be line ends.
var blanks = strings.NewReplacer("\r", " ", "\n", " ")

func (s *stream) event(kind string, n uint64, data []byte) error {
	var b bytes.Buffer
	if kind != "" {
		fmt.Fprintf(&b, "event: %s\n", kind)
	}
	if n > 0 {
		fmt.Fprintf(&b, "id: %s.%d\n", s.token, n)
	}
	fmt.Fprintf(&b, "data: %s\n\n", blanks.Replace(string(data)))
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) error {
	s.rc.SetWriteDeadline(time.Now().Add(s.g.opts.WriteTimeout)) // where there is none, so be it
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

// end tells the browser why the stream ends, as far as it can be told.
func (s *stream) end(why error) {
	var r refusal
	switch {
	case errors.As(why, &r):
		s.event("refused", 0, errorJSON(why))
	case errors.Is(why, errSlow), errors.Is(why, ErrShutdown), errors.Is(why, errGone):
		s.event("notice", 0, errorJSON(why))
	}
}

func errorJSON(err error) []byte {
	b, _ := json.Marshal(map[string]string{"error": err.Error()})
	return b
}
