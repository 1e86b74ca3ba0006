package main

import (
	"encoding/binary"
	"fmt"
)

// dialect is what the generator says to a server that fans out, and what that says to its members.
type dialect struct {
	join    []byte                      // from a member, first of all
	welcome string                      // ends what a member has been answered, when it is one
	open    []byte                      // from the publisher, first of all; nothing waits for an answer
	publish func(payload []byte) []byte // one message, as the publisher sends it
	deliver func(payload []byte) []byte // the same, as a member gets it
}

// joinFrame is a frame that makes its sender a member, and is answered by itself. All other frames are broadcast.
const joinFrame = "join"

// frameDialect is spoken by servers of frames with four bytes of length.
var frameDialect = dialect{
	join:    frame([]byte(joinFrame)),
	welcome: string(frame([]byte(joinFrame))),
	publish: frame,
	deliver: frame,
}

// frame puts the length before the payload, four bytes in network order.
func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// natsDialect is the protocol of NATS, with one subject.
var natsDialect = dialect{
	join:    []byte(natsConnect + "SUB b 1\r\nPING\r\n"),
	welcome: "PONG\r\n",
	open:    []byte(natsConnect),
	publish: func(p []byte) []byte { return fmt.Appendf(nil, "PUB b %d\r\n%s\r\n", len(p), p) },
	deliver: func(p []byte) []byte { return fmt.Appendf(nil, "MSG b 1 %d\r\n%s\r\n", len(p), p) },
}

const natsConnect = `CONNECT {"verbose":false,"pedantic":false}` + "\r\n"
