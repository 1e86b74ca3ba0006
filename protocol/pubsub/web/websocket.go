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
	default:
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
		kind, b, err := s.readMessage(ctx)
		if err != nil {
			return err
		}
		b = bytes.TrimSpace(b)
		if kind != websocket.MessageText || !bytes.HasPrefix(b, []byte("{")) || bytes.IndexByte(b, 0x00) >= 0 {
			return errBadMessage
		}
		if err := s.upstream.write(b); err != nil {
			// forwardFrames still sends what the server has said, and ends the WebSocket.
			<-s.upstream.done
			<-ctx.Done()
			return errUpstreamClosed
		}
	}
}

// messageTime limits how long a message of a browser may take to arrive.
const messageTime = time.Minute

// readMessage reads a message. Its buffer grows with what has arrived.
func (s *webSocket) readMessage(ctx context.Context) (kind websocket.MessageType, b []byte, err error) {
	kind, r, err := s.conn.Reader(ctx)
	if err != nil {
		return 0, nil, err
	}
	timer := time.AfterFunc(messageTime, func() { s.conn.CloseNow() })
	defer timer.Stop()
	defer func() { s.g.incomplete.release(cap(b)) }()
	for {
		if len(b) == cap(b) {
			larger := make([]byte, len(b), max(512, cap(b)+cap(b)/2))
			copy(larger, b)
			n := cap(larger) - cap(b)
			b = larger
			if !s.g.incomplete.charge(n, cap(b)) {
				return 0, b, errBusy
			}
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return kind, b, nil
		} else if err != nil {
			return 0, b, err
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
