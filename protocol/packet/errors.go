package packet

import (
	"encoding/json"
	"fmt"
)

// Codes of an [Error]. JSON-RPC 2.0 also defines -32700 for a frame that is not JSON, -32600 for
// JSON that is not a request, -32601 for an unknown method, and -32603 for an internal error.
const (
	CodeInvalidParams = -32602
	CodeLimit         = -32000 // a limit was exceeded; the server closes the connection
)

const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeMethodNotFound = -32601
	codeInternal       = -32603
)

// standardMessages are the messages that the specification assigns to its codes.
var standardMessages = map[int]string{
	codeParse:          "Parse error",
	codeInvalidRequest: "Invalid Request",
	codeMethodNotFound: "Method not found",
	CodeInvalidParams:  "Invalid params",
	codeInternal:       "Internal error",
}

// Error is an error that is sent to the client. A method sends it by returning it, also wrapped:
//
//	return 0, &packet.Error{Code: packet.CodeInvalidParams, Data: "points: must be positive"}
type Error struct {
	Code int `json:"code"`
	// Message is a short description. "" is the standard message of Code, if it has one.
	Message string `json:"message"`
	// Data is any value that encoding/json can encode; nil is omitted. In errors that package
	// packet/client returns it is a json.RawMessage or nil.
	Data any `json:"data,omitempty"`
}

// Error returns the message, the code and the data.
func (e *Error) Error() string {
	switch data := e.Data.(type) {
	case nil:
		return fmt.Sprintf("%s (%d)", e.message(), e.Code)
	case json.RawMessage:
		return fmt.Sprintf("%s (%d): %s", e.message(), e.Code, data)
	default:
		return fmt.Sprintf("%s (%d): %v", e.message(), e.Code, data)
	}
}

func (e *Error) message() string {
	if e.Message == "" {
		return standardMessages[e.Code]
	}
	return e.Message
}

// newError returns an error with the standard message of code. data "" is omitted.
func newError(code int, data string) *Error {
	e := &Error{Code: code, Message: standardMessages[code]}
	if data != "" {
		e.Data = data
	}
	return e
}
