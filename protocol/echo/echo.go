// Package echo is the Echo protocol of RFC 862: whatever a client sends comes back.
package echo

import (
	"context"

	"goranch/transport"
)

// Protocol echoes until the client closes its side. A connection that is silent holds
// no buffer, and one whose client does not read what comes back is closed by the send
// timeout of its transport.
type Protocol struct{}

// Serve echoes what arrives on conn.
func (Protocol) Serve(_ context.Context, conn *transport.Conn) error {
	_, err := conn.WriteTo(conn)
	return err
}
