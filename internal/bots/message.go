package bots

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// serverEnd is the last byte of each frame of the server.
const serverEnd = 0x01

// Requests of clients. The original server drops a request without the marker before it or that
// arrives in several segments, and stops reading at a NUL after a published message.
const (
	marker   = "<regular-socket/>\x00"
	greeting = marker + "PING\x00"
	pong     = marker + "PONG\x00"
)

func request(action, topic string) []byte {
	t, _ := json.Marshal(topic)
	return fmt.Appendf(nil, marker+`{"action":%q,"data":%s}`+"\x00", action, t)
}

// message is the published message. Messages of a run differ only in their number, which is in the
// message_id. A run of one message leaves the message_id empty, as the original bots do.
type message struct {
	Topic  string `json:"topic"`
	Data   string `json:"data"`
	Prefix string `json:"prefix"` // of the message_id, unique to the run; "": the message has no number

	head, tail []byte // the encoded message before and after the number
}

// prepare encodes head and tail.
func (m *message) prepare() {
	topic, _ := json.Marshal(m.Topic)
	data, _ := json.Marshal(m.Data)
	m.head = fmt.Appendf(nil, `"topic":%s,"event":"test_event","message_id":"%s`, topic, m.Prefix)
	m.tail = fmt.Appendf(nil, `","data":%s}`, data)
}

// publishRequest returns the request that publishes message n, counted from 1.
func (m *message) publishRequest(n int) []byte {
	b := append([]byte(marker+"PUBLISH\x00{"), m.head...)
	if m.Prefix != "" {
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, m.tail...)
}

// errForeign reports a message that this run has not published.
var errForeign = errors.New("message of another publisher")

// parse returns the timestamp of a received message, in microseconds since the Unix epoch, and its
// number. It avoids encoding/json for messages that are encoded as they were published: one thread
// parses the messages of all clients.
func (m *message) parse(f []byte) (stamp int64, n int, err error) {
	if rest, ok := bytes.CutPrefix(f, []byte(`{"timestamp":[`)); ok {
		var parts [3]int64
		if rest, ok = cutNumbers(rest, &parts); ok {
			if n, ok := m.number(rest); ok {
				return micros(parts), n, nil
			}
		}
	}
	return m.parseJSON(f)
}

// cutNumbers parses three numbers, the bracket and the comma after them.
func cutNumbers(b []byte, parts *[3]int64) (rest []byte, ok bool) {
	for i, end := range [...]byte{',', ',', ']'} {
		digits := 0
		for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' && digits < 15 {
			parts[i] = parts[i]*10 + int64(b[digits]-'0')
			digits++
		}
		if digits == 0 || digits >= len(b) || b[digits] != end {
			return nil, false
		}
		b = b[digits+1:]
	}
	return bytes.CutPrefix(b, []byte{','})
}

func micros(parts [3]int64) int64 { return (parts[0]*1_000_000+parts[1])*1_000_000 + parts[2] }

// number parses the part of a message after the timestamp if it is encoded as it was published.
func (m *message) number(rest []byte) (n int, ok bool) {
	if rest, ok = bytes.CutPrefix(rest, m.head); !ok {
		return 0, false
	}
	if rest, ok = bytes.CutSuffix(rest, m.tail); !ok {
		return 0, false
	}
	return m.parseID(string(rest))
}

// parseID parses the part of a message_id after the prefix.
func (m *message) parseID(digits string) (n int, ok bool) {
	if m.Prefix == "" {
		return 1, digits == ""
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0
}

// parseJSON parses any frame: of servers that encode JSON in another way, and of other publishers.
func (m *message) parseJSON(f []byte) (stamp int64, n int, err error) {
	var got struct {
		Timestamp *[3]int64 `json:"timestamp"`
		Topic     *string   `json:"topic"`
		MessageID string    `json:"message_id"`
		Data      any       `json:"data"`
		Error     *string   `json:"error"`
	}
	if err := json.Unmarshal(f, &got); err != nil {
		return 0, 0, invalid("message", f)
	}
	switch {
	case got.Error != nil:
		return 0, 0, serverError(*got.Error)
	case got.Topic == nil || got.Timestamp == nil: // a notice of the server
		return 0, 0, errForeign
	}
	digits, ours := strings.CutPrefix(got.MessageID, m.Prefix)
	n, ok := m.parseID(digits)
	if *got.Topic != m.Topic || got.Data != m.Data || !ours || !ok {
		return 0, 0, errForeign
	}
	return micros(*got.Timestamp), n, nil
}

// parseToken checks the first frame of the server. The token is a string or an array of character
// codes. The error of an error frame is the server's.
func parseToken(f []byte) error {
	var hello struct {
		Timestamp []int64         `json:"timestamp"`
		Token     json.RawMessage `json:"token"`
		Error     *string         `json:"error"`
	}
	if err := json.Unmarshal(f, &hello); err != nil {
		return invalid("token", f)
	}
	if hello.Error != nil {
		return serverError(*hello.Error)
	}
	var text string
	var codes []int
	if json.Unmarshal(hello.Token, &text) != nil && json.Unmarshal(hello.Token, &codes) != nil || text == "" && len(codes) == 0 {
		return invalid("token", f)
	}
	return nil
}

func invalid(what string, f []byte) error {
	return fmt.Errorf("invalid %s: %q", what, f[:min(len(f), 24)])
}

func serverError(s string) error { return fmt.Errorf("server error: %.80s", s) }

// plausible reports whether a frame can start with b.
func plausible(b []byte) bool { return len(b) == 0 || b[0] == '{' || b[0] == 'A' || b[0] == 'P' }

// shorten formats a duration for a message text.
func shorten(d time.Duration) string { return d.Round(time.Millisecond).String() }
