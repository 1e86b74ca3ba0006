package pubsub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// How messages begin, and what tells a client how many of them it has lost.
const (
	stampKey   = `{"timestamp":`
	droppedKey = `{"dropped":`
)

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
		return r, fmt.Errorf("%w: a request is a JSON object: %w", protocol.ErrBadInput, jsonFault(err))
	}
	if r.History < 0 {
		return r, fmt.Errorf("%w: history %d: allowed are positive numbers", protocol.ErrBadInput, r.History)
	}
	return r, nil
}

// jsonFault is err as a client may see it, who knows nothing of our types.
func jsonFault(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &wrong):
		return err
	case wrong.Field == "":
		return fmt.Errorf("unexpected %s", wrong.Value)
	}
	return fmt.Errorf("unexpected %s as %s", wrong.Value, wrong.Field)
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
		return "", nil, fmt.Errorf("%w: a message is a JSON object: %w", protocol.ErrBadInput, jsonFault(err))
	}
	switch {
	case m.Topic == nil:
		return "", nil, fmt.Errorf("%w: a message needs a topic", protocol.ErrBadInput)
	case m.Timestamp != nil:
		return "", nil, fmt.Errorf("%w: the timestamp of a message is the server's", protocol.ErrBadInput)
	}
	if err := oneTopic(b); err != nil {
		return "", nil, err
	}
	return *m.Topic, bytes.TrimSpace(b), nil
}

// oneTopic refuses what subscribers may read otherwise than the server, as the first of two topics or the one in other
// letters: a message must not be allowed for one topic and be to another. b is valid.
func oneTopic(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.Token() // {
	var value json.RawMessage
	for topics := 0; dec.More(); {
		key, err := dec.Token()
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			return err
		}
		if k, _ := key.(string); strings.EqualFold(k, "topic") {
			if topics++; topics > 1 || k != "topic" {
				return fmt.Errorf("%w: a message has one topic, as \"topic\"", protocol.ErrBadInput)
			}
		}
	}
	return nil
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

// lostWith returns how many of the frames in b are messages, and how many the notices in b were to tell
// of. No SOH is in any: JSON has none.
func lostWith(b []byte) (messages, untold int) {
	for len(b) > 0 {
		frame, rest, _ := bytes.Cut(b, []byte{serverEnd})
		if bytes.HasPrefix(frame, []byte(stampKey)) {
			messages++
		} else if n, ok := bytes.CutPrefix(frame, []byte(droppedKey)); ok {
			n, err := strconv.Atoi(string(bytes.TrimSuffix(n, []byte("}"))))
			if err == nil {
				untold += n
			}
		}
		b = rest
	}
	return messages, untold
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

// notice is a frame of one number.
func notice(key string, n uint64) []byte {
	return append(strconv.AppendUint([]byte(key), n, 10), '}')
}
