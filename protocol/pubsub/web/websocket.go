package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"goranch/internal/bufpool"
	"goranch/internal/websock"
)

// errBadMessage ends a WebSocket whose browser has sent a message that is not a request.
var errBadMessage = errors.New("a message must be one JSON object in a text frame")

// webSocket is a WebSocket and its connection to the topic server. While it is idle it has one
// goroutine, which reads the browser.
type webSocket struct {
	g         *Gateway
	conn      *websocket.Conn
	browser   *browserConn // under conn
	upstream  *upstream
	pings     *time.Timer // nil: none
	unwatch   func() bool // removes the function that Shutdown calls
	forwarded chan struct{}
	ended     sync.Once
}

func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	served := false
	defer func() {
		if !served {
			g.removeBrowser()
		}
	}()
	up, err := g.dial(withBrowserAddr(r.Context(), r))
	if err != nil {
		g.refuse(w, http.StatusBadGateway, err)
		return
	}
	conn, browser, err := acceptWebSocket(w, r, g.opts.WriteTimeout)
	if err != nil { // the answer is sent
		up.close()
		g.count(func(s *Stats) { s.Refused++ })
		return
	}
	g.count(func(s *Stats) { s.WebSockets++ })
	conn.SetReadLimit(int64(g.opts.MaxMessage))
	served = true
	s := &webSocket{g: g, conn: conn, browser: browser, upstream: up, forwarded: make(chan struct{})}
	s.unwatch = context.AfterFunc(g.ctx, func() { s.end(errShutdown) })
	if d := g.opts.KeepAlive; d > 0 {
		s.pings = time.AfterFunc(math.MaxInt64, s.ping)
		s.pings.Reset(d) // after the assignment, because ping uses it
	}
	up.setOnSlow(func() { s.end(errSlow) }) // forwardFrames may be blocked in a write
	up.setForward(s.forwardFrames)
	go s.serve()
}

// serve sends the browser's requests to the topic server, until the WebSocket is closed and nothing
// uses it any more. It uses little stack, because an idle WebSocket keeps the stack of this
// goroutine.
func (s *webSocket) serve() {
	for {
		kind, r, err := s.conn.Reader(context.Background())
		if err == nil {
			err = s.readMessage(kind, r)
		}
		if err != nil {
			s.close(err)
			return
		}
	}
}

// close ends the WebSocket after an error of a read.
//
//go:noinline
func (s *webSocket) close(err error) {
	if err == errUpstreamClosed {
		<-s.forwarded // the last frames of the server are sent first, and the WebSocket is closed
	}
	s.end(err)
	s.unwatch()
	if s.pings != nil {
		s.pings.Stop()
	}
	s.upstream.close()
	<-s.forwarded
	s.g.removeBrowser()
}

// end closes the WebSocket with the status and reason for err. Only the first call counts; others
// wait for it.
func (s *webSocket) end(err error) {
	s.ended.Do(func() {
		if err == errSlow {
			s.g.count(func(st *Stats) { st.Slow++ })
		}
		s.conn.Close(closeStatus(err)) // waits some seconds for the browser's close frame
	})
}

// closeStatus returns the status and reason of the close frame.
func closeStatus(err error) (websocket.StatusCode, string) {
	status := websocket.StatusPolicyViolation
	var refused serverError
	switch {
	case errors.As(err, &refused):
	case errors.Is(err, errShutdown), errors.Is(err, errUpstreamClosed):
		status = websocket.StatusGoingAway
	case errors.Is(err, errSlow), errors.Is(err, errBusy):
		status = websocket.StatusTryAgainLater
	case errors.Is(err, errBadMessage):
		status = websocket.StatusUnsupportedData
	case websocket.CloseStatus(err) == -1: // the server has interrupted the connection, or it is broken
		return websocket.StatusGoingAway, ""
	default: // the browser has closed it
		return websocket.StatusNormalClosure, ""
	}
	return status, websock.Reason(err.Error())
}

// forwardRequest sends a message of the browser, of incoming.join, to the topic server.
func (s *webSocket) forwardRequest(kind websocket.MessageType, message []byte) error {
	defer bufpool.Put(message)
	b := bytes.TrimSpace(message)
	if kind != websocket.MessageText || !bytes.HasPrefix(b, []byte("{")) || bytes.IndexByte(b, clientEnd) >= 0 {
		return errBadMessage
	}
	if s.upstream.send(append(b, clientEnd)) != nil {
		return errUpstreamClosed
	}
	return nil
}

// messageTime limits how long a message of a browser may take to arrive.
const messageTime = time.Minute

// readMessage reads a message and forwards it.
//
//go:noinline
func (s *webSocket) readMessage(kind websocket.MessageType, r io.Reader) error {
	timer := time.AfterFunc(messageTime, func() { s.conn.CloseNow() })
	defer timer.Stop()
	m := incoming{budget: &s.g.incomplete}
	defer m.free()
	for {
		space, err := m.space()
		if err != nil {
			return err
		}
		n, err := r.Read(space)
		m.filled(n)
		if err == io.EOF {
			return s.forwardRequest(kind, m.join())
		} else if err != nil {
			return err
		}
	}
}

// forwardFrames sends the queued frames of the topic server to the browser.
func (s *webSocket) forwardFrames() {
	for {
		f, err := s.upstream.poll()
		if err == errEmpty {
			return
		}
		if err == nil {
			if string(f.data) == "ACK" {
				f.data = []byte(`{"ack":true}`)
			}
			err = s.browser.writeText(f.data)
		} else if refused := serverError(""); errors.As(err, &refused) {
			s.browser.writeText(errorJSON(err))
		}
		if err != nil {
			s.end(err)
			close(s.forwarded) // once: forwardFrames is not started again
			return
		}
	}
}

// ping pings the browser after KeepAlive, and ends the WebSocket if it does not answer.
func (s *webSocket) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), s.g.opts.KeepAlive)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		s.end(err)
		return
	}
	s.pings.Reset(s.g.opts.KeepAlive)
}
