// Package packet provides a JSON-RPC 2.0 server over length-prefixed frames: each frame is one
// message after its length as four big-endian bytes, Erlang's {packet, 4}. Every connection has
// its own state and rate limits, and the server can send notifications at any time. Package
// packet/client is a client that reconnects by itself.
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
// The methods, hooks, ticks and posted functions of one connection run one at a time. The next
// frame is read when the response to the current one is queued, so a method should return soon, and
// when the client has read earlier responses: [protocol.Options].PauseAt. Responses have the order
// of their requests.
//
// # Methods
//
// encoding/json decodes params to the type P of the method. If P is a struct, an array fills its
// fields in their order. Params may be absent or null if P has no fields or can be nil; a method
// without params takes a struct{}. If P or *P has a method Validate() error, it is called next;
// assert it in your code, as a misspelled method is not called:
//
//	var _ interface{ Validate() error } = (*params)(nil)
//
// If decoding or Validate fails, the client gets [CodeInvalidParams] with the error's text. If a
// method returns an [*Error], the client gets that; any other error becomes an internal error
// (-32603) without its text, and is passed to Options.OnError.
//
// # Wire format
//
// A frame is a request, a notification (a request without id, which gets no response) or a batch
// of at most Options.MaxBatch of them. A response repeats the id as the client wrote it: a string,
// a number or null; other ids are invalid. Member names are case-sensitive, unknown members are
// ignored, and the last of several members with one name counts.
//
// Errors have the codes of the specification. Before the server closes a connection that has
// exceeded a limit, it sends an error with [CodeLimit] and the id null.
package packet
