package client

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"goranch/protocol"
)

// How frames end: ours by NUL, the server's by SOH.
const (
	ourEnd    = 0x00
	serverEnd = 0x01
)

// ErrBadFrame is wrapped by the error of a connection on which the server has sent what is no frame of the
// protocol.
var ErrBadFrame = errors.New("bad frame")

// Message is what was published.
type Message struct {
	Topic string
	Event string          // as published; JSON if that was no string
	ID    string          // likewise
	Time  time.Time       // when the server got it, in microseconds
	Data  json.RawMessage // as published, any JSON; nil if there was none
}

// readFrame reads up to an end, which is not part of the frame. The frame is good until the next call.
func readFrame(r *bufio.Reader, most int) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice(serverEnd)
		n := len(long) + len(part)
		if err == nil {
			n--
		}
		if n > most {
			return nil, fmt.Errorf("%w: %w: allowed are %d bytes", ErrBadFrame, protocol.ErrFrameTooLarge, most)
		}
		switch {
		case err == nil && long == nil:
			return part[:n], nil
		case err == nil:
			return append(long, part[:len(part)-1]...), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
		long = append(long, part...)
	}
}

// stamped is a frame with a timestamp: a message, or the greeting. Who publishes may add what else it likes,
// so only what the server vouches for has a type.
type stamped struct {
	Timestamp [3]int64        `json:"timestamp"`
	Token     json.RawMessage `json:"token"` // of the greeting; of a server that cannot attach it is no string
	Topic     *string         `json:"topic"` // of a message
	Event     json.RawMessage `json:"event"`
	MessageID json.RawMessage `json:"message_id"`
	Data      json.RawMessage `json:"data"`
}

// notice is any other frame in JSON. Only the fields of one kind are there.
type notice struct {
	Error       *string         `json:"error"`
	Published   *int            `json:"published"`
	Subscribers *int            `json:"subscribers"`
	ID          json.RawMessage `json:"id"`
	Dropped     uint64          `json:"dropped"`
	LostBytes   uint64          `json:"lost_bytes"`
}

func isStamped(b []byte) bool { return bytes.HasPrefix(b, []byte(`{"timestamp":`)) }

func parse(b []byte, to any) error {
	if !bytes.HasPrefix(b, []byte("{")) {
		return fmt.Errorf("%w: %.40q", ErrBadFrame, b)
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%w: %w", ErrBadFrame, err)
	}
	return nil
}

func (s *stamped) message() Message {
	t := s.Timestamp
	return Message{
		Topic: *s.Topic, Event: text(s.Event), ID: text(s.MessageID),
		Time: time.Unix(t[0]*1_000_000+t[1], t[2]*1000), Data: s.Data,
	}
}

// text returns what a JSON string says, and other JSON as it is.
func text(b json.RawMessage) string {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return string(b)
	}
	return s
}

// request is what the client asks for.
type request struct {
	Action  string  `json:"action"`
	Data    any     `json:"data"`
	ID      *uint64 `json:"id,omitempty"`
	Last    bool    `json:"last,omitempty"`
	History int     `json:"history,omitempty"`
}

func (r *request) encode(most int) ([]byte, error) {
	b, err := json.Marshal(r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", r.Action, err)
	case len(b) > most:
		return nil, fmt.Errorf("%s: %w: %d bytes: allowed are %d", r.Action, protocol.ErrFrameTooLarge, len(b), most)
	}
	return append(b, ourEnd), nil
}
