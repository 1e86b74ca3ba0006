package console

import (
	"bytes"
	"encoding/json"
	"strings"
)

// message is one line of a server that answers in JSON: an answer, output that comes
// before it, a frame or an event.
type message struct {
	ID        int64           `json:"id"`
	Result    json.RawMessage `json:"result"`
	Error     *RemoteError    `json:"error"`
	Out       *string         `json:"out"`
	Out64     []byte          `json:"out64"`
	Frame     bool            `json:"frame"`
	Columns   []Column        `json:"columns"`
	Fields    []Field         `json:"fields"`
	Total     int             `json:"total"`
	Event     string          `json:"event"`
	By        string          `json:"by"`
	BytesLost int64           `json:"bytes"`
}

// Answer is the result of a command, or a frame of one that redraws.
type Answer struct {
	Result  json.RawMessage // as it came; nil is null
	Columns []Column        // of a table, whose Result is an array of objects
	Fields  []Field         // of names and values, whose Result is an object
	Total   int             // rows that there are, if some were left out
}

// Column is a column of a table.
type Column struct {
	Key   string `json:"key"`
	Title string `json:"title"` // "" is Key
	Right bool   `json:"right"` // aligned to the right
	Wide  bool   `json:"wide"`  // the first to go where there is little room
	Kind  string `json:"kind"`  // "", "bytes", "duration" or "time"
}

// Field is one of the names of an object.
type Field struct {
	Key   string `json:"key"`
	Title string `json:"title"` // "" is Key
	Kind  string `json:"kind"`
}

// Codes of a RemoteError. A server may send none.
const (
	CodeDenied    = "denied"
	CodeUnknown   = "unknown" // there is no such command
	CodeUsage     = "usage"   // the arguments are wrong
	CodeCancelled = "cancelled"
)

// RemoteError is the server's answer to a command that failed.
type RemoteError struct {
	Message    string `json:"message"`
	Suggestion string `json:"suggestion"` // what may have been meant; "" is nothing
	Code       string `json:"code"`
}

func (e *RemoteError) Error() string {
	if e.Suggestion == "" || strings.Contains(e.Message, e.Suggestion) {
		return e.Message
	}
	return e.Message + "; did you mean " + e.Suggestion + "?"
}

// parseMessage reads a line. Whatever is no JSON object is text, which a server sends
// until it has been asked for JSON.
func parseMessage(line []byte) (m message, ok bool) {
	if trimmed := bytes.TrimSpace(line); len(trimmed) == 0 || trimmed[0] != '{' {
		return message{}, false
	}
	if json.Unmarshal(line, &m) != nil {
		return message{}, false
	}
	return m, true
}

// answer reports whether m ends a request.
func (m *message) answer() bool {
	return m.ID > 0 && !m.Frame && !m.output() && m.Event == ""
}

// output reports whether m is output, be it empty.
func (m *message) output() bool { return m.Out != nil || m.Out64 != nil }

// content returns the bytes of output.
func (m *message) content() []byte {
	if m.Out == nil {
		return m.Out64
	}
	return []byte(*m.Out)
}

func (m *message) value() *Answer {
	a := &Answer{Result: m.Result, Columns: m.Columns, Fields: m.Fields, Total: m.Total}
	if string(a.Result) == "null" {
		a.Result = nil
	}
	return a
}
