package netlisten

import (
	"bytes"
	"context"
	"io"
	"time"

	"goranch/transport"
)

// RefuseGreeting returns an [Options].Refuse for protocols in which the server speaks first, such
// as SMTP: it sends message at once.
//
//	Refuse: netlisten.RefuseGreeting("421 4.3.2 too many connections\r\n")
func RefuseGreeting(message string) func(context.Context, *transport.Conn, error) {
	return func(_ context.Context, conn *transport.Conn, _ error) { io.WriteString(conn, message) }
}

// RefuseAnswer returns an [Options].Refuse for protocols in which the client speaks first, such as
// MQTT: it waits for the first byte of the client, sends message, and waits up to half a second for
// the client to close the connection.
//
//	Refuse: netlisten.RefuseAnswer("\x20\x02\x00\x03") // CONNACK of MQTT 3.1.1: server unavailable
func RefuseAnswer(message string) func(context.Context, *transport.Conn, error) {
	return func(_ context.Context, conn *transport.Conn, _ error) {
		if _, err := conn.Peek(1); err == nil {
			finish(conn, message)
		}
	}
}

// finish sends message as the last one. A client that still sends when the socket is closed would
// receive a reset, which can overtake the message.
func finish(conn *transport.Conn, message string) {
	if _, err := io.WriteString(conn, message); err != nil || conn.CloseWrite() != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(answerGrace))
	io.Copy(io.Discard, conn)
}

// answerGrace is the time in which a client that has received an answer may close the connection.
const answerGrace = 500 * time.Millisecond

const (
	// http1Refusal is the answer to a request of HTTP/1.
	http1Refusal = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 24\r\n\r\n503 Service Unavailable\n"
	// http2Refusal is SETTINGS and GOAWAY, which says that no request was processed, with
	// ENHANCE_YOUR_CALM. Its debug data is the text of the status.
	http2Refusal = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
		"\x00\x00\x1f\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x0b" + "503 Service Unavailable"
	// http2Preface is how a connection of HTTP/2 begins; no request of HTTP/1 begins with it.
	http2Preface = "PRI"
)

// RefuseHTTP is an [Options].Refuse for HTTP: it waits for the beginning of a request, as
// [RefuseAnswer] does, and answers it with the status 503. A client of HTTP/2 receives GOAWAY,
// which tells it that no request was processed.
func RefuseHTTP(_ context.Context, conn *transport.Conn, _ error) {
	begin, err := conn.Peek(len(http2Preface))
	switch {
	case err != nil:
	case bytes.HasPrefix(begin, []byte(http2Preface)):
		finish(conn, http2Refusal)
	default:
		finish(conn, http1Refusal)
	}
}

// Refuses reports whether there is a rejection message; see [protocol.Refuser].
func (l *Listener) Refuses() bool { return l.opts.Refuse != nil }

// Refuse implements [protocol.Refuser].
func (l *Listener) Refuse(ctx context.Context, conn *transport.Conn, cause error) {
	if l.opts.Refuse != nil {
		l.opts.Refuse(ctx, conn, cause)
	}
}

// rejectTime is how long the rejection message for a connection that was not accepted may take.
const rejectTime = time.Second

// reject sends the rejection message to a connection that Accept has not returned, unless the
// connection was killed. When the listener stops, it may be closed earlier.
func (l *Listener) reject(ctx context.Context, conn *transport.Conn, cause error) {
	if l.opts.Refuse == nil || ctx.Err() != nil && !isShutdown(ctx) {
		return
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), rejectTime)
	defer cancel()
	defer context.AfterFunc(limit, conn.Abort)()
	l.opts.Refuse(limit, conn, cause)
	conn.StopReading(cause) // Close then drains: unread data would reset the message
}
