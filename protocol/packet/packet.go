// Package packet is a server in the manner of Erlang's game servers: frames with a length of
// four bytes before them ({packet, 4}), one request a frame, a state per connection, limits on what
// a client may send, and messages from the server at any time. What is in a frame is JSON-RPC 2.0,
// so that any client of that which can put a length before its messages will do; package
// packet/client is one that comes back by itself.
//
// A [Server] is a [protocol.Protocol]. Its methods are functions with typed parameters:
//
//	s, err := packet.NewServer(packet.Options{})
//	…
//	err = packet.Register(s, "add", func(call *packet.Call, in struct{ A, B int }) (int, error) {
//		return in.A + in.B, nil
//	})
//	…
//	l, err := ranch.StartListener("game", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:8082"}, s)
//
// All that concerns one connection runs one after the other: methods, hooks, ticks, and what was
// given to [Session.Run]. The next frame is not read before the one in hand is answered. Methods
// ought to be quick therefore; answers come in the order of the requests.
//
// # On the wire
//
// A frame is one request, a notification (no id, never answered), or a batch of either, of no
// more than Options.MaxBatch. Ids are echoed as they were written: strings, numbers and null; other
// kinds are no requests. Names of members are compared by case, others than those of JSON-RPC are
// ignored, and of two with one name the last counts. Params may be left out or null for methods
// that take none; by position (an array) they fill the fields of a struct in their order.
//
// Errors have the codes of the specification; [CodeLimit] is how a client learns of a limit that
// it has exceeded, with id null, before the connection is closed.
package packet

import (
	"encoding/json"
	"errors"
	"fmt"

	"goranch/protocol"
)

// MaxFrame is the longest frame in bytes, in both directions, unless Options.MaxFrame says otherwise.
const MaxFrame = protocol.DefaultMaxFrame

// Codes of errors. -32000 to -32099 are for servers; of these we use one.
const (
	CodeParse          = -32700 // the frame is not JSON; the connection goes on
	CodeInvalidRequest = -32600 // it is JSON, but no request
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
	CodeLimit          = -32000 // a limit was exceeded, and the connection is closed
)

var messages = map[int]string{
	CodeParse: "Parse error", CodeInvalidRequest: "Invalid Request", CodeMethodNotFound: "Method not found",
	CodeInvalidParams: "Invalid params", CodeInternal: "Internal error",
}

// Error is the error of a call, as it goes over the wire. A method that returns one, wrapped or not,
// has it sent as it is.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	// Data is anything that JSON can express; nil is left out. A client finds a json.RawMessage.
	Data any `json:"data,omitempty"`
}

func (e *Error) Error() string {
	switch data := e.Data.(type) {
	case nil:
		return fmt.Sprintf("%s (%d)", e.Message, e.Code)
	case json.RawMessage:
		return fmt.Sprintf("%s (%d): %s", e.Message, e.Code, data)
	default:
		return fmt.Sprintf("%s (%d): %v", e.Message, e.Code, data)
	}
}

// UnmarshalJSON keeps the data as they were written.
func (e *Error) UnmarshalJSON(b []byte) error {
	var in struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*e = Error{Code: in.Code, Message: in.Message}
	if in.Data != nil {
		e.Data = in.Data
	}
	return nil
}

// InvalidParams is the error of a method that cannot use its parameters; why goes to the client.
func InvalidParams(why string) *Error { return fault(CodeInvalidParams, why) }

func fault(code int, why string) *Error {
	e := &Error{Code: code, Message: messages[code]}
	if why != "" {
		e.Data = why
	}
	return e
}

var (
	// ErrLimit is wrapped by the error of a connection that has sent more than it may in a second. It
	// is [protocol.ErrBadInput] as well. A frame that is too long is [protocol.ErrFrameTooLarge].
	ErrLimit = fmt.Errorf("%w: too much in a second", protocol.ErrBadInput)
	// ErrMethod is wrapped by the error of [Register].
	ErrMethod = errors.New("the method cannot be registered")
)

// codec is LengthPrefix, but a frame that is too long becomes one that says so to the handler,
// for the peer is to be told. Nothing is kept of it.
type codec struct{ protocol.LengthPrefix }

// tooLarge is known by its place in memory, whatever is in it.
var tooLarge = []byte("a frame that is too large")

func (c codec) Decode(buf []byte) (frame []byte, took, need int, err error) {
	frame, took, need, err = c.LengthPrefix.Decode(buf)
	if errors.Is(err, protocol.ErrFrameTooLarge) {
		return tooLarge, len(buf), 0, nil
	}
	return frame, took, need, err
}

func isTooLarge(frame []byte) bool { return len(frame) > 0 && &frame[0] == &tooLarge[0] }
