package sniff

import (
	"context"
	"fmt"

	"goranch/protocol"
	"goranch/transport"
)

// RefuseName returns a protocol for the last [Route]: it sends the TLS alert unrecognized_name (RFC
// 6066, section 3), with which clients report that there is no such server, and ends the connection
// with [ErrNoMatch].
func RefuseName() protocol.Protocol { return protocol.Func(refuseName) }

// unrecognizedName is a record with a fatal alert: RFC 8446, sections 5.1 and 6.
const unrecognizedName = "\x15\x03\x01\x00\x02\x02\x70"

func refuseName(_ context.Context, conn *transport.Conn) error {
	h, err := PeekClientHello(conn)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte(unrecognizedName)); err != nil {
		return err
	}
	return fmt.Errorf("%w: server name %.64q", ErrNoMatch, h.ServerName)
}
