package pubsub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"goranch/protocol"
)

// How frames end: a client's by NUL, the server's by SOH.
const (
	clientEnd = 0x00
	serverEnd = 0x01
)

// What clients send besides JSON.
const (
	marker  = "<regular-socket/>" // carries nothing
	ping    = "PING"
	pong    = "PONG"
	publish = "PUBLISH" // a message follows
)

// stampKey is how messages begin.
const stampKey = `{"timestamp":`

// ack answers what has taken effect.
var ack = []byte("ACK")

// codec takes a client's frames and makes the server's. A frame that is too long is cut off
// behind the limit, so that the handler, who sees its length, can say so.
type codec struct{ max int }

func (c codec) Decode(buf []byte) (frame []byte, took, need int, err error) {
	i := bytes.IndexByte(buf[:min(len(buf), c.max+1)], clientEnd)
	switch {
	case i >= 0:
		return buf[:i], i + 1, 0, nil
	case len(buf) > c.max:
		return buf[:c.max+1], len(buf), 0, nil
	}
	return nil, 0, 0, nil
}

func (c codec) Append(dst, frame []byte) ([]byte, error) {
	return append(append(dst, frame...), serverEnd), nil
}

// request is what a client asks for in JSON.
type request struct {
	Action  string          `json:"action"`
	Data    json.RawMessage `json:"data"`
	ID      json.RawMessage `json:"id"`      // of a publish or presence, comes back with the answer
	Last    bool            `json:"last"`    // of a subscribe: the last message too
	History int             `json:"history"` // of a subscribe: so many of the last messages
}

func parseRequest(frame []byte) (r request, err error) {
	if err := json.Unmarshal(frame, &r); err != nil {
		return r, fmt.Errorf("%w: a request is a JSON object: %w", protocol.ErrBadInput, err)
	}
	if r.History < 0 {
		return r, fmt.Errorf("%w: history %d: allowed are positive numbers", protocol.ErrBadInput, r.History)
	}
	return r, nil
}

// text returns Data, which has to be a string.
func (r *request) text() (string, error) {
	var s *string
	if err := json.Unmarshal(r.Data, &s); err != nil || s == nil {
		return "", fmt.Errorf("%w: data of %q must be a string", protocol.ErrBadInput, r.Action)
	}
	return *s, nil
}

// parseMessage returns the topic of a message, and the message without blanks around it.
func parseMessage(b []byte) (topic string, message []byte, err error) {
	var m struct {
		Topic     *string         `json:"topic"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return "", nil, fmt.Errorf("%w: a message is a JSON object: %w", protocol.ErrBadInput, err)
	}
	switch {
	case m.Topic == nil:
		return "", nil, fmt.Errorf("%w: a message needs a topic", protocol.ErrBadInput)
	case m.Timestamp != nil:
		return "", nil, fmt.Errorf("%w: the timestamp of a message is the server's", protocol.ErrBadInput)
	}
	return *m.Topic, bytes.TrimSpace(b), nil
}

// appendStamp appends t as [megaseconds, seconds, microseconds] since the Unix epoch.
func appendStamp(b []byte, t time.Time) []byte {
	const mega = 1_000_000
	s := t.Unix()
	b = strconv.AppendInt(append(b, '['), s/mega, 10)
	b = strconv.AppendInt(append(b, ','), s%mega, 10)
	b = strconv.AppendInt(append(b, ','), int64(t.Nanosecond()/1000), 10)
	return append(b, ']')
}

// stamped returns a message as subscribers get it, with what ends the frame.
func stamped(message []byte, at time.Time) []byte {
	b := make([]byte, 0, len(message)+48)
	b = appendStamp(append(b, stampKey...), at)
	b = append(append(b, ','), message[1:]...)
	return append(b, serverEnd)
}

// messagesIn returns how many of the frames in b are messages. No SOH is in any: JSON has none.
func messagesIn(b []byte) (n int) {
	for len(b) > 0 {
		frame, rest, _ := bytes.Cut(b, []byte{serverEnd})
		if bytes.HasPrefix(frame, []byte(stampKey)) {
			n++
		}
		b = rest
	}
	return n
}

// hello is the first frame that a client gets.
func hello(token string, at time.Time) []byte {
	b := appendStamp([]byte(stampKey), at)
	b = append(b, `,"token":`...)
	t, _ := json.Marshal(token)
	return append(append(b, t...), '}')
}

// complaint is the frame that says why a connection is closed.
func complaint(err error) []byte {
	b, _ := json.Marshal(struct {
		Error string `json:"error"`
	}{err.Error()})
	return b
}

// notice is a frame of one number: {"dropped":3}.
func notice(what string, n uint64) []byte {
	return append(strconv.AppendUint([]byte(`{"`+what+`":`), n, 10), '}')
}
