package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"goranch/internal/bufpool"
)

// errBadMessage ends a WebSocket whose browser has sent a message that is not a request.
var errBadMessage = errors.New("a message must be one JSON object in a text frame")

// errBusy ends a WebSocket whose message exceeds what is left of MaxBufferedTotal.
var errBusy = errors.New("too many messages are incomplete")

// maxCloseReason is the length of the longest reason in a close frame, in bytes (RFC 6455).
const maxCloseReason = 123

// webSocket is a WebSocket and its connection to the topic server.
type webSocket struct {
	g        *Gateway
	conn     *websocket.Conn
	upstream *upstream
}

func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	up, err := g.dial(withBrowserAddr(r.Context(), r))
	if err != nil {
		g.refuse(w, http.StatusBadGateway, err)
		return
	}
	defer up.close()
	// admit has checked the origin.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil { // Accept has sent the answer
		g.count(func(s *Stats) { s.Refused++ })
		return
	}
	g.count(func(s *Stats) { s.WebSockets++ })
	conn.SetReadLimit(int64(g.opts.MaxMessage))
	(&webSocket{g, conn, up}).serve()
}

// serve returns when the WebSocket is closed and its goroutines have returned.
func (s *webSocket) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	var tasks sync.WaitGroup
	for _, task := range []func(context.Context) error{s.forwardRequests, s.forwardFrames, s.keepAlive} {
		tasks.Go(func() { ended <- task(ctx) })
	}
	var err error
	select {
	case err = <-ended:
	case <-s.upstream.slow: // forwardFrames may be blocked in a write
		err = errSlow
	case <-s.g.ctx.Done():
		err = context.Cause(s.g.ctx)
	}
	if err == errSlow {
		s.g.count(func(st *Stats) { st.Slow++ })
	}
	s.conn.Close(closeStatus(err)) // waits some seconds for the browser's close frame
	cancel()
	tasks.Wait()
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
	reason := err.Error()
	for len(reason) > maxCloseReason || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, maxCloseReason)]
	}
	return status, reason
}

// forwardRequests sends the browser's requests to the topic server.
func (s *webSocket) forwardRequests(ctx context.Context) error {
	for {
		err := s.readMessage(ctx, s.forwardRequest)
		if err == errUpstreamClosed {
			// forwardFrames still sends what the server has said, and ends the WebSocket.
			<-s.upstream.done
			<-ctx.Done()
		}
		if err != nil {
			return err
		}
	}
}

func (s *webSocket) forwardRequest(kind websocket.MessageType, b []byte) error {
	b = bytes.TrimSpace(b)
	if kind != websocket.MessageText || !bytes.HasPrefix(b, []byte("{")) || bytes.IndexByte(b, 0x00) >= 0 {
		return errBadMessage
	}
	if s.upstream.write(b) != nil {
		return errUpstreamClosed
	}
	return nil
}

// messageTime limits how long a message of a browser may take to arrive.
const messageTime = time.Minute

// readMessage passes the next message to handle. Its buffer grows with what has arrived.
func (s *webSocket) readMessage(ctx context.Context, handle func(websocket.MessageType, []byte) error) error {
	kind, r, err := s.conn.Reader(ctx)
	if err != nil {
		return err
	}
	timer := time.AfterFunc(messageTime, func() { s.conn.CloseNow() })
	defer timer.Stop()
	var b []byte
	defer func() {
		s.g.incomplete.release(cap(b))
		bufpool.Put(b)
	}()
	for {
		if len(b) == cap(b) {
			before := cap(b)
			b = bufpool.Grow(b, before+1)
			if !s.g.incomplete.charge(cap(b)-before, cap(b)) {
				return errBusy
			}
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return handle(kind, b)
		} else if err != nil {
			return err
		}
	}
}

// forwardFrames sends the frames of the topic server to the browser.
func (s *webSocket) forwardFrames(ctx context.Context) error {
	write := func(b []byte) error {
		ctx, cancel := context.WithTimeout(ctx, s.g.opts.WriteTimeout)
		defer cancel()
		return s.conn.Write(ctx, websocket.MessageText, b)
	}
	for {
		f, err := s.upstream.next(ctx, nil)
		var refused serverError
		if errors.As(err, &refused) {
			write(errorJSON(err))
		}
		if err != nil {
			return err
		}
		if string(f.data) == "ACK" {
			f.data = []byte(`{"ack":true}`)
		}
		if err := write(f.data); err != nil {
			return err
		}
	}
}

// keepAlive pings the browser, and returns an error when it does not answer.
func (s *webSocket) keepAlive(ctx context.Context) error {
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
		pingCtx, cancel := context.WithTimeout(ctx, s.g.opts.KeepAlive)
		err := s.conn.Ping(pingCtx)
		cancel()
		if err != nil {
			return err
		}
	}
}
