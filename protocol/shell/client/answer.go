package client

import (
	"bytes"
	"encoding/json"

	"goranch/protocol/shell"
)

// Answer is the result of a command, or one frame of a command that redraws.
type Answer struct {
	Result  json.RawMessage // the JSON document of the result; nil if there is none
	Columns []shell.Column  // of a table, whose Result is an array of objects
	Fields  []shell.Column  // of names and values, whose Result is an object; only Key, Title and Kind are set
	Total   int             // number of rows of a table that was cut; 0 if it is complete
}

// message is one line of a server that answers in JSON: an answer, output, a frame or an event.
// encoding/json matches the fields of shell.Column and shell.Error, which have no tags, by name
// without regard to case.
type message struct {
	ID      *int64          `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *shell.Error    `json:"error"`
	Out     *string         `json:"out"`
	Out64   []byte          `json:"out64"`
	Frame   bool            `json:"frame"`
	Columns []shell.Column  `json:"columns"`
	Fields  []shell.Column  `json:"fields"`
	Total   int             `json:"total"`
	Event   string          `json:"event"`
	By      string          `json:"by"`
	Bytes   int64           `json:"bytes"`
}

// parse decodes a line. ok is false for a line of text, which servers send before they switch to
// JSON and before they close a connection.
func parse(line []byte) (m message, ok bool) {
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &m) != nil || m.ID == nil && m.Event == "" {
		return message{}, false
	}
	return m, true
}

// isOutput reports whether m is output, which may be empty.
func (m *message) isOutput() bool { return m.Out != nil || m.Out64 != nil }

// answers reports whether m ends request id.
func (m *message) answers(id int64) bool {
	return m.ID != nil && *m.ID == id && !m.Frame && !m.isOutput() && m.Event == ""
}

func (m *message) output() []byte {
	if m.Out == nil {
		return m.Out64
	}
	return []byte(*m.Out)
}

func (m *message) answer() *Answer {
	a := &Answer{Result: m.Result, Columns: m.Columns, Fields: m.Fields, Total: m.Total}
	if string(a.Result) == "null" {
		a.Result = nil
	}
	return a
}
