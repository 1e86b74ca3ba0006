package client

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"goranch/protocol"
)

// Frames of the client end with NUL, frames of the server with SOH.
const (
	clientEnd = 0x00
	serverEnd = 0x01
)

// Message is a published message.
type Message struct {
	Topic string
	Event string          // as published; the JSON text if it is not a string
	ID    string          // the message_id, likewise
	Time  time.Time       // when the server received the message, to the microsecond
	Data  json.RawMessage // as published, any JSON value; nil if absent

	// Offset is the place of the message in its topic. It is 0 unless SubscribeOptions.Since is
	// set.
	Offset uint64
}

// readFrame reads one frame and returns it without its end. The frame is valid until the next call.
func readFrame(r *bufio.Reader, maxLen int) ([]byte, error) {
	var long []byte // the parts of a frame that exceeds the reader's buffer
	for {
		part, err := r.ReadSlice(serverEnd)
		n := len(long) + len(part)
		if err == nil {
			n--
		}
		if n > maxLen {
			return nil, fmt.Errorf("%w: the limit is %d bytes", protocol.ErrFrameTooLarge, maxLen)
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

// stampedFrame is a frame with a timestamp: a message, or the greeting. Fields that publishers may
// set to any JSON value are raw.
type stampedFrame struct {
	Timestamp [3]int64        `json:"timestamp"`
	Token     json.RawMessage `json:"token"` // of the greeting; a string if the server can attach
	Topic     *string         `json:"topic"` // of a message
	Event     json.RawMessage `json:"event"`
	MessageID json.RawMessage `json:"message_id"`
	Data      json.RawMessage `json:"data"`
	Offset    json.RawMessage `json:"offset"`
	Previous  json.RawMessage `json:"previous"`
}

// controlFrame is any other JSON frame: an answer, a notice, or an error.
type controlFrame struct {
	Error       *string         `json:"error"`
	Refused     *string         `json:"refused"`
	Published   *int            `json:"published"`
	Subscribers *int            `json:"subscribers"`
	ID          json.RawMessage `json:"id"`
	Dropped     uint64          `json:"dropped"`
	LostBytes   uint64          `json:"lost_bytes"`
	Subscribed  *string         `json:"subscribed"`
	Epoch       string          `json:"epoch"`
	Offset      uint64          `json:"offset"`
	Recovered   bool            `json:"recovered"`
}

func isStamped(b []byte) bool { return bytes.HasPrefix(b, []byte(`{"timestamp":`)) }

// parseFrame decodes a JSON object into v.
func parseFrame(b []byte, v any) error {
	if !bytes.HasPrefix(b, []byte("{")) {
		return fmt.Errorf("%w: unknown frame %.40q", protocol.ErrBadInput, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: frame %.40q: %w", protocol.ErrBadInput, b, err)
	}
	return nil
}

func (f *stampedFrame) message() Message {
	t := f.Timestamp
	return Message{
		Topic: *f.Topic, Event: textOf(f.Event), ID: textOf(f.MessageID),
		Time: time.Unix(t[0]*1_000_000+t[1], t[2]*1000), Data: f.Data,
	}
}

// textOf returns the value of a JSON string, or the JSON text of another value.
func textOf(b json.RawMessage) string {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return string(b)
	}
	return s
}

// request is a request to the server.
type request struct {
	Action  string  `json:"action"`
	Data    any     `json:"data"`
	ID      *uint64 `json:"id,omitempty"`
	Last    bool    `json:"last,omitempty"`
	History int     `json:"history,omitempty"`
	Since   any     `json:"since,omitempty"`
	Key     string  `json:"key,omitempty"`
}

func (r *request) encode(maxLen int) ([]byte, error) {
	b, err := json.Marshal(r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", r.Action, err)
	case !utf8.Valid(b): // Data may be a json.RawMessage
		return nil, fmt.Errorf("%s: the data is not valid UTF-8", r.Action)
	case len(b) > maxLen:
		return nil, fmt.Errorf("%s: %w: %d bytes, the limit is %d", r.Action, protocol.ErrFrameTooLarge, len(b), maxLen)
	}
	return append(b, clientEnd), nil
}
