package session

import "net"

// Holder is the connection that a session is attached to.
type Holder interface {
	// Deliver queues output for the client, in order and without blocking. lost is the number of
	// bytes of older output that were dropped before this piece; output is empty if all of it was
	// dropped. Attach delivers the kept output before it returns, so lost is 0 in later calls.
	//
	// The session is locked during the call: Deliver must neither use the session nor retain
	// output. After an error the holder gets no more output; this piece, with its lost bytes, and
	// all later ones are kept for the next holder.
	Deliver(output []byte, lost int) error
	// Revoked is called at most once, in its own goroutine, when the holder has lost the session
	// without detaching. err is [ErrStale] if the connection from address by has taken the session
	// over; by is nil if that connection is in another process. err is [ErrUnknown] if the session
	// was ended by Manager.End; by is nil then too.
	Revoked(by net.Addr, err error)
}
