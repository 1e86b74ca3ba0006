// Package echo implements the Echo Protocol of RFC 862: the server sends back what it receives.
package echo

import (
	"context"

	"goranch/transport"
)

// Protocol echoes until the client closes its side. An idle connection holds no buffer. A client
// that does not read the echo is closed by the send timeout of its transport.
type Protocol struct{}

// Serve echoes what arrives on conn.
func (Protocol) Serve(_ context.Context, conn *transport.Conn) error {
	_, err := conn.WriteTo(conn)
	return err
}
