package web

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// errInput is why a WebSocket ends whose browser sends what is no request.
var errInput = errors.New("a message is one JSON object, as text")

// socket is a WebSocket and its connection to the topic server.
type socket struct {
	g  *Gateway
	ws *websocket.Conn
	up *upstream
}

func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	up, err := g.dial(r.Context())
	if err != nil {
		g.refuse(w, http.StatusBadGateway, err)
		return
	}
	defer up.close()
	// Who may connect was looked at before.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		g.count(func(s *Stats) { s.Refused++ })
		return // the answer is sent
	}
	g.count(func(s *Stats) { s.WebSockets++ })
	ws.SetReadLimit(int64(g.opts.MaxMessage))
	(&socket{g, ws, up}).serve()
}

// serve returns when the WebSocket is closed, and its goroutines have ended.
func (s *socket) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	ends := make(chan error, 3)
	var tasks sync.WaitGroup
	for _, task := range []func(context.Context) error{s.receive, s.send, s.keepAlive} {
		tasks.Go(func() { ends <- task(ctx) })
	}
	var why error
	select {
	case why = <-ends:
	case <-s.up.slow: // send may be at a write that the browser does not take
		why = errSlow
	case <-s.g.ctx.Done():
		why = context.Cause(s.g.ctx)
	}
	if why == errSlow {
		s.g.count(func(st *Stats) { st.Slow++ })
	}
	s.ws.Close(closing(why)) // it waits some seconds for the browser to take it
	cancel()
	tasks.Wait()
}

// closing returns what a browser is told about the end.
func closing(why error) (websocket.StatusCode, string) {
	status := websocket.StatusPolicyViolation
	var r refusal
	switch {
	case errors.As(why, &r):
	case errors.Is(why, ErrShutdown), errors.Is(why, errGone):
		status = websocket.StatusGoingAway
	case errors.Is(why, errSlow):
		status = websocket.StatusTryAgainLater
	case errors.Is(why, errInput):
		status = websocket.StatusUnsupportedData
	default:
		return websocket.StatusNormalClosure, ""
	}
	reason := why.Error()
	for len(reason) > 123 || !utf8.ValidString(reason) { // as much as a close frame holds
		reason = reason[:min(len(reason)-1, 123)]
	}
	return status, reason
}

// receive passes on what the browser asks for.
func (s *socket) receive(ctx context.Context) error {
	for {
		kind, b, err := s.ws.Read(ctx)
		if err != nil {
			return err
		}
		b = bytes.TrimSpace(b)
		if kind != websocket.MessageText || !bytes.HasPrefix(b, []byte("{")) || bytes.IndexByte(b, 0x00) >= 0 {
			return errInput
		}
		if err := s.up.write(b); err != nil {
			<-s.up.done // what the server has said is to be sent
			<-ctx.Done()
			return errGone
		}
	}
}

// send passes on what the server says.
func (s *socket) send(ctx context.Context) error {
	write := func(b []byte) error {
		ctx, cancel := context.WithTimeout(ctx, s.g.opts.WriteTimeout)
		defer cancel()
		return s.ws.Write(ctx, websocket.MessageText, b)
	}
	for {
		it, err := s.up.next(ctx, nil)
		var r refusal
		if errors.As(err, &r) {
			write(errorJSON(err))
		}
		if err != nil {
			return err
		}
		if string(it.frame) == "ACK" {
			it.frame = []byte(`{"ack":true}`)
		}
		if err := write(it.frame); err != nil {
			return err
		}
	}
}

// keepAlive sees to it that a browser that has vanished is noticed.
func (s *socket) keepAlive(ctx context.Context) error {
	if s.g.opts.KeepAlive < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	t := time.NewTicker(s.g.opts.KeepAlive)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		ping, cancel := context.WithTimeout(ctx, s.g.opts.KeepAlive)
		err := s.ws.Ping(ping)
		cancel()
		if err != nil {
			return err
		}
	}
}
