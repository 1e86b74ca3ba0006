package packet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// request is one request or notification of a frame.
type request struct {
	id     json.RawMessage // as the client wrote it; nil: a notification
	method string
	params json.RawMessage // nil: absent or null
	fault  *Error          // why it is invalid; nil: valid
}

var null = json.RawMessage("null")

// parse splits a frame into its requests. fault is the error of the frame as a whole.
func parse(frame []byte, maxBatch int) (requests []request, batch bool, fault *Error) {
	if !json.Valid(frame) {
		return nil, false, newError(codeParse, "")
	}
	if !utf8.Valid(frame) { // encoding/json accepts it, but ids and params are passed on as they are
		return nil, false, newError(codeParse, "the frame is not UTF-8")
	}
	if frame = bytes.TrimLeft(frame, " \t\r\n"); frame[0] != '[' {
		return []request{parseRequest(frame)}, false, nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(frame, &all); err != nil {
		return nil, true, newError(codeInvalidRequest, "")
	}
	switch {
	case len(all) == 0:
		return nil, true, newError(codeInvalidRequest, "")
	case len(all) > maxBatch:
		return nil, true, newError(codeInvalidRequest, fmt.Sprintf("batch of %d requests: allowed are %d", len(all), maxBatch))
	}
	requests = make([]request, len(all))
	for i, b := range all {
		requests[i] = parseRequest(b)
	}
	return requests, true, nil
}

// parseRequest parses valid JSON as a request. It decodes to a map, as encoding/json would accept
// "METHOD" for the field "method" of a struct.
func parseRequest(b []byte) (r request) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil || members == nil {
		return request{id: null, fault: newError(codeInvalidRequest, "")}
	}
	id, hasID := members["id"]
	if hasID {
		switch id[0] {
		case '{', '[', 't', 'f':
			return request{id: null, fault: newError(codeInvalidRequest, "an id is a string, a number or null")}
		}
		r.id = id
	}
	var version string
	if json.Unmarshal(members["jsonrpc"], &version) != nil || version != "2.0" {
		r.fault = newError(codeInvalidRequest, "")
	} else if m := members["method"]; len(m) == 0 || m[0] != '"' || json.Unmarshal(m, &r.method) != nil {
		r.fault = newError(codeInvalidRequest, "")
	}
	if r.fault != nil && r.id == nil {
		r.id = null // an invalid request without id is not a notification: it gets an error
	}
	if r.params = members["params"]; string(r.params) == "null" {
		r.params = nil
	}
	return r
}

// marshal is json.Marshal without the escaping of <, > and &.
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
	out := Error{Code: e.Code, Message: e.message(), Data: e.Data}
	b, err := marshal(&out)
	if err != nil { // Data cannot be encoded
		out.Data = nil
		b, _ = marshal(&out)
	}
	dst = append(dst, `{"jsonrpc":"2.0","error":`...)
	dst = append(dst, b...)
	return appendID(dst, id)
}

func appendID(dst, id []byte) []byte {
	dst = append(dst, `,"id":`...)
	return append(append(dst, id...), '}')
}

// notification encodes a notification. nil params are omitted.
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
