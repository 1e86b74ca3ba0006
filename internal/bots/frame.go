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

// serverEnd ends each frame of the server.
const serverEnd = 0x01

// What bots send. The original server loses a request that has no marker before it, or that does not arrive in
// one piece, and stops at a NUL behind a published message.
const (
	marker = "<regular-socket/>\x00"
	greet  = marker + "PING\x00"
	pong   = marker + "PONG\x00"
)

func request(action, topic string) []byte {
	t, _ := json.Marshal(topic)
	return fmt.Appendf(nil, marker+`{"action":%q,"data":%s}`+"\x00", action, t)
}

// message is what is published: the same each time but for its number, which is its message_id. A run of one
// message leaves that empty, as the original does.
type message struct {
	Topic  string `json:"topic"`
	Data   string `json:"data"`
	Prefix string `json:"prefix"` // of the message_id, of this run only; "" if there is no number

	head, tail []byte // around the number
}

func (m *message) prepare() {
	topic, _ := json.Marshal(m.Topic)
	data, _ := json.Marshal(m.Data)
	m.head = fmt.Appendf(nil, `"topic":%s,"event":"test_event","message_id":"%s`, topic, m.Prefix)
	m.tail = fmt.Appendf(nil, `","data":%s}`, data)
}

// publish returns the bytes of a publish. n counts from 1.
func (m *message) publish(n int) []byte {
	b := append([]byte(marker+"PUBLISH\x00{"), m.head...)
	if m.Prefix != "" {
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, m.tail...)
}

// errForeign is of messages that this run has not published.
var errForeign = errors.New("somebody else's message")

// read returns the timestamp of a message, in microseconds since the Unix epoch, and its number.
func (m *message) read(f []byte) (stamp int64, n int, err error) {
	if rest, ok := bytes.CutPrefix(f, []byte(`{"timestamp":[`)); ok {
		var parts [3]int64
		if rest, ok = cutNumbers(rest, &parts); ok {
			if n, ok := m.number(rest); ok {
				return micros(parts), n, nil
			}
		}
	}
	return m.readSlowly(f)
}

// cutNumbers reads three numbers up to the bracket and the comma after it.
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

// number takes apart what follows a timestamp if it is written as it was published.
func (m *message) number(rest []byte) (n int, ok bool) {
	if rest, ok = bytes.CutPrefix(rest, m.head); !ok {
		return 0, false
	}
	if rest, ok = bytes.CutSuffix(rest, m.tail); !ok {
		return 0, false
	}
	return m.count(string(rest))
}

// count reads what follows the prefix of a message_id.
func (m *message) count(digits string) (n int, ok bool) {
	if m.Prefix == "" {
		return 1, digits == ""
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0
}

// readSlowly is for servers that write the JSON in their own way, and for what is no message of ours.
func (m *message) readSlowly(f []byte) (stamp int64, n int, err error) {
	var got struct {
		Timestamp *[3]int64 `json:"timestamp"`
		Topic     *string   `json:"topic"`
		MessageID string    `json:"message_id"`
		Data      any       `json:"data"`
		Error     *string   `json:"error"`
	}
	if err := json.Unmarshal(f, &got); err != nil {
		return 0, 0, garbage("a message", f)
	}
	switch {
	case got.Error != nil:
		return 0, 0, complaintOf(*got.Error)
	case got.Topic == nil || got.Timestamp == nil: // a notice of some kind
		return 0, 0, errForeign
	}
	digits, ours := strings.CutPrefix(got.MessageID, m.Prefix)
	n, ok := m.count(digits)
	if *got.Topic != m.Topic || got.Data != m.Data || !ours || !ok {
		return 0, 0, errForeign
	}
	return micros(*got.Timestamp), n, nil
}

// readToken checks the server's first frame. The token is a string, or an array of character codes.
func readToken(f []byte) error {
	var hello struct {
		Timestamp []int64         `json:"timestamp"`
		Token     json.RawMessage `json:"token"`
		Error     *string         `json:"error"`
	}
	if err := json.Unmarshal(f, &hello); err != nil {
		return garbage("a token", f)
	}
	if hello.Error != nil {
		return complaintOf(*hello.Error)
	}
	var text string
	var codes []int
	if json.Unmarshal(hello.Token, &text) != nil && json.Unmarshal(hello.Token, &codes) != nil || text == "" && len(codes) == 0 {
		return garbage("a token", f)
	}
	return nil
}

func garbage(want string, f []byte) error {
	return fmt.Errorf("garbage instead of %s: %q", want, f[:min(len(f), 24)])
}

func complaintOf(s string) error { return fmt.Errorf("the server says: %.80s", s) }

// plausible tells whether a frame can begin like that.
func plausible(b []byte) bool { return len(b) == 0 || b[0] == '{' || b[0] == 'A' || b[0] == 'P' }

// shorten makes a time readable in a sentence.
func shorten(d time.Duration) string { return d.Round(time.Millisecond).String() }
