package shell

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"goranch/internal/termtext"
	"goranch/protocol/session"
)

// holder is a connection as the holder of one session. Until release it buffers the output, and
// delays a revocation, so that the greeting is sent first.
type holder struct {
	c *conn

	mu       sync.Mutex
	released bool
	buffered []byte
	lost     int    // bytes of output dropped before buffered
	revoke   func() // a revocation that release has to carry out
}

// Deliver implements session.Holder.
func (h *holder) Deliver(output []byte, lost int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.released {
		h.lost += lost
		h.buffered = append(h.buffered, output...)
		return nil
	}
	err := h.c.peer.Outbox().Send(output)
	if err != nil {
		h.c.markClosed()
	}
	return err
}

// release sends the greeting and the buffered output, and then a delayed revocation. greeting gets
// the number of bytes of output that were dropped.
func (h *holder) release(greeting func(lost int) []byte) {
	h.mu.Lock()
	h.released = true
	h.c.peer.Outbox().Send(append(greeting(h.lost), h.buffered...)) // an error ends the connection
	h.buffered = nil
	revoke := h.revoke
	h.mu.Unlock()
	if revoke != nil {
		revoke()
	}
}

// takeBuffered returns the buffered output and removes it from h.
func (h *holder) takeBuffered() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.buffered
	h.buffered, h.lost = nil, 0
	return b
}

// Revoked implements session.Holder: it sends the client the reason for the loss of the session,
// and closes the connection.
func (h *holder) Revoked(by net.Addr, err error) {
	revoke := func() {
		h.c.peer.Outbox().Send(h.revocation(by, err))
		h.c.close(nil)
	}
	h.mu.Lock()
	if !h.released {
		h.revoke = revoke
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	revoke()
}

func (h *holder) revocation(by net.Addr, err error) []byte {
	if !errors.Is(err, session.ErrStale) {
		return appendTextError(nil, &Error{Message: ErrSessionEnded.Error()})
	}
	address := "a connection of another process"
	if by != nil {
		address = by.String()
	}
	if r := h.c.currentRunner(); r != nil && r.json.Load() {
		return append(appendString([]byte(`{"event":"taken_over","by":`), address), "}\n"...)
	}
	return fmt.Appendf(nil, "The session was taken over by %s.\n", termtext.Line(address))
}
