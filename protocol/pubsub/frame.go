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

// Frames of a client end with NUL, frames of the server with SOH.
const (
	clientEnd = 0x00
	serverEnd = 0x01
)

// Frames that are not JSON.
const (
	marker  = "<regular-socket/>" // has no effect
	ping    = "PING"
	pong    = "PONG"
	publish = "PUBLISH" // the next frame is a message
)

// ack confirms a subscribe or attach.
var ack = []byte("ACK")

// Prefixes of frames that the server builds.
const (
	stampPrefix     = `{"timestamp":`
	droppedPrefix   = `{"dropped":`
	lostBytesPrefix = `{"lost_bytes":`
)

// codec decodes frames of clients and encodes frames of the server. It cuts a frame that is longer
// than maxFrame at maxFrame+1 bytes; the handler recognizes it by its length and answers with an
// error.
type codec struct{ maxFrame int }

func (c codec) Decode(buf []byte) (frame []byte, took, need int, err error) {
	i := bytes.IndexByte(buf[:min(len(buf), c.maxFrame+1)], clientEnd)
	switch {
	case i >= 0:
		return buf[:i], i + 1, 0, nil
	case len(buf) > c.maxFrame:
		return buf[:c.maxFrame+1], len(buf), 0, nil
	}
	return nil, 0, 0, nil
}

func (c codec) Append(dst, frame []byte) ([]byte, error) {
	return append(append(dst, frame...), serverEnd), nil
}

// request is a client's request in JSON.
type request struct {
	Action  string          `json:"action"`
	Data    json.RawMessage `json:"data"`
	ID      json.RawMessage `json:"id"`      // of publish and presence; repeated in the answer
	Last    bool            `json:"last"`    // of subscribe: send the last message, too
	History int             `json:"history"` // of subscribe: send this many of the last messages, too
}

func parseRequest(frame []byte) (r request, err error) {
	if err := json.Unmarshal(frame, &r); err != nil {
		return r, fmt.Errorf("%w: the request is not a valid JSON object: %w", protocol.ErrBadInput, describeJSONError(err))
	}
	if r.History < 0 {
		return r, fmt.Errorf("%w: negative history %d", protocol.ErrBadInput, r.History)
	}
	return r, nil
}

// describeJSONError removes the names of Go types from an error that is sent to the client.
func describeJSONError(err error) error {
	var typeErr *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &typeErr):
		return err
	case typeErr.Field == "":
		return fmt.Errorf("unexpected %s", typeErr.Value)
	}
	return fmt.Errorf("unexpected %s as %s", typeErr.Value, typeErr.Field)
}

// stringData returns Data, which must be a string.
func (r *request) stringData() (string, error) {
	var s *string
	if err := json.Unmarshal(r.Data, &s); err != nil || s == nil {
		return "", fmt.Errorf("%w: the data of %q must be a string", protocol.ErrBadInput, r.Action)
	}
	return *s, nil
}

// parseMessage returns the topic of a message, and the message without surrounding white space.
func parseMessage(b []byte) (topic string, message []byte, err error) {
	var m struct {
		Topic     *string         `json:"topic"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return "", nil, fmt.Errorf("%w: the message is not a valid JSON object: %w", protocol.ErrBadInput, describeJSONError(err))
	}
	switch {
	case m.Topic == nil:
		return "", nil, fmt.Errorf("%w: the message has no topic", protocol.ErrBadInput)
	case m.Timestamp != nil:
		return "", nil, fmt.Errorf("%w: the message has a timestamp, which only the server may set", protocol.ErrBadInput)
	}
	if err := checkTopicKey(b); err != nil {
		return "", nil, err
	}
	return *m.Topic, bytes.TrimSpace(b), nil
}

// checkTopicKey refuses a message whose topic a subscriber's JSON decoder may read differently than
// this server's: one with several topic keys, or with a key such as "Topic". Otherwise a client
// could get a message for one topic authorized that subscribers take for another. b is valid JSON.
func checkTopicKey(b []byte) error {
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
				return fmt.Errorf("%w: the message must have exactly one key \"topic\"", protocol.ErrBadInput)
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

// stampedFrame returns the frame in which subscribers receive message, a JSON object.
func stampedFrame(message []byte, at time.Time) []byte {
	b := make([]byte, 0, len(message)+48)
	b = appendStamp(append(b, stampPrefix...), at)
	b = append(append(b, ','), message[1:]...)
	return append(b, serverEnd)
}

// droppedIn returns how many of the frames in b are messages, and how many dropped messages the
// notices in b report. No frame contains SOH, because JSON escapes it.
func droppedIn(b []byte) (messages, reported int) {
	for len(b) > 0 {
		frame, rest, _ := bytes.Cut(b, []byte{serverEnd})
		if bytes.HasPrefix(frame, []byte(stampPrefix)) {
			messages++
		} else if n, ok := bytes.CutPrefix(frame, []byte(droppedPrefix)); ok {
			n, err := strconv.Atoi(string(bytes.TrimSuffix(n, []byte("}"))))
			if err == nil {
				reported += n
			}
		}
		b = rest
	}
	return messages, reported
}

// greeting is the first frame that a client receives.
func greeting(token string, at time.Time) []byte {
	b := appendStamp([]byte(stampPrefix), at)
	b = append(b, `,"token":`...)
	t, _ := json.Marshal(token)
	return append(append(b, t...), '}')
}

// sendAlone sends a frame that the client must not receive in one read with others.
func sendAlone(p *protocol.Peer, frame []byte) error {
	return p.Outbox().SendAlone(append(frame[:len(frame):len(frame)], serverEnd))
}

// errorFrame gives the reason why the server closes a connection.
func errorFrame(err error) []byte {
	b, _ := json.Marshal(struct {
		Error string `json:"error"`
	}{err.Error()})
	return b
}

// countFrame is a JSON object whose only value is n.
func countFrame(prefix string, n uint64) []byte {
	return append(strconv.AppendUint([]byte(prefix), n, 10), '}')
}
