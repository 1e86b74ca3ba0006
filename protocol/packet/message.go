package packet

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// request is one of a frame.
type request struct {
	id     json.RawMessage // as written; nil: a notification
	method string
	params json.RawMessage // nil: left out, or null
	fault  *Error          // why it is none
}

var null = json.RawMessage("null")

// parse takes a frame apart. If the frame as a whole cannot be used, fault says why.
func parse(frame []byte, maxBatch int) (requests []request, batch bool, fault *Error) {
	if !json.Valid(frame) {
		return nil, false, &Error{Code: CodeParse, Message: messages[CodeParse]}
	}
	if frame = bytes.TrimLeft(frame, " \t\r\n"); frame[0] != '[' {
		return []request{parseOne(frame)}, false, nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(frame, &all); err != nil {
		return nil, true, invalid("")
	}
	switch {
	case len(all) == 0:
		return nil, true, invalid("")
	case len(all) > maxBatch:
		return nil, true, invalid(fmt.Sprintf("a batch of %d, allowed are %d", len(all), maxBatch))
	}
	requests = make([]request, len(all))
	for i, one := range all {
		requests[i] = parseOne(one)
	}
	return requests, true, nil
}

func invalid(why string) *Error { return fault(CodeInvalidRequest, why) }

// parseOne reads one request, of what is known to be JSON. A struct would do, if encoding/json
// did not take "METHOD" for "method".
func parseOne(b []byte) (r request) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil || members == nil {
		return request{id: null, fault: invalid("")}
	}
	id, hasID := members["id"]
	if hasID {
		switch id[0] {
		case '{', '[', 't', 'f':
			return request{id: null, fault: invalid("an id is a string, a number or null")}
		}
		r.id = id
	}
	var version string
	if json.Unmarshal(members["jsonrpc"], &version) != nil || version != "2.0" {
		r.fault = invalid("")
	} else if m := members["method"]; len(m) == 0 || m[0] != '"' || json.Unmarshal(m, &r.method) != nil {
		r.fault = invalid("")
	}
	if r.fault != nil && r.id == nil {
		r.id = null // what is no request is no notification either
	}
	if r.params = members["params"]; string(r.params) == "null" {
		r.params = nil
	}
	return r
}

// marshal is json.Marshal, but leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func appendResult(dst, id, result []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","result":`...)
	dst = append(dst, result...)
	return appendID(dst, id)
}

func appendError(dst, id []byte, e *Error) []byte {
	b, err := marshal(e)
	if err != nil { // its data cannot be expressed
		b, _ = marshal(&Error{Code: e.Code, Message: e.Message})
	}
	dst = append(dst, `{"jsonrpc":"2.0","error":`...)
	dst = append(dst, b...)
	return appendID(dst, id)
}

func appendID(dst, id []byte) []byte {
	dst = append(dst, `,"id":`...)
	return append(append(dst, id...), '}')
}

// notification returns a message without id. nil params are left out.
func notification(method string, params any) ([]byte, error) {
	m := struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params,omitempty"`
	}{"2.0", method, params}
	b, err := marshal(m)
	if err != nil {
		return nil, fmt.Errorf("notification %s: %w", method, err)
	}
	return b, nil
}
