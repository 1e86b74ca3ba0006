package engine

import (
	"context"
	"errors"
	"net"
)

// HandoverProtocol is a protocol that hands its connections over to code that Serve does not call.
// Its connections need no goroutine of the supervisor.
type HandoverProtocol interface {
	// HandOver is called instead of Serve of p. It returns nil if p is another protocol that embeds
	// this one, and may have a Serve of its own, which is then called. conn is a *transport.Conn.
	HandOver(ctx context.Context, p any, conn net.Conn, owner HandoverOwner) Handover
}

// HandoverOwner is the supervisor's side of a connection that was handed over.
type HandoverOwner interface {
	// HandBack ends the connection by a last call of Run in another goroutine. It is called
	// once, and may be called before Run has returned [ErrHandedOver].
	HandBack()
}

// Handover is the protocol's side of a connection that was handed over.
type Handover interface {
	// Run hands the connection over and returns [ErrHandedOver]. It is called again, and for the
	// last time, after HandBack. Any other result ends the connection.
	Run(mayPark bool) error
	// Stop is called when the context of the connection was cancelled, unless this happened before
	// Run. It may be called several times and from any goroutine, also after Run. It must not
	// block.
	Stop()
}

// ErrHandedOver is the result of Run for a connection that was handed over.
var ErrHandedOver = errors.New("the connection was handed over")
