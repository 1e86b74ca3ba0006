package protocol

import (
	"context"
	"sync"
	"sync/atomic"

	"goranch/transport"
)

// Peer is the other end of a connection that is served by a [Handler]. Its methods may be called
// from any goroutine, also after the connection has ended.
type Peer struct {
	// Set once.
	conn *transport.Conn
	ctx  context.Context
	hp   *handlerProtocol

	// Outbound.
	out Outbox

	// The handler. callMu is held during a callback; it is locked before mu.
	callMu sync.Mutex
	h      Handler
	next   transport.Transport // the target of a requested upgrade
	closed bool                // no more callbacks

	// Reader. Used by the reader only, except paused. The first three are next to closed, because
	// small fields share a word.
	lead       bool        // the reader is the lead, which must not wait
	inCallback bool        // the reader holds callMu, in HandleData or HandleEnd
	paused     atomic.Bool // the reader waits in awaitUnpaused
	err        error       // the result of the last read, and of what followed from it
	partial    []byte      // an incomplete frame
	need       int         // the least number of bytes of that frame, 0 if unknown

	// The end.
	ending ending // set under mu; read without mu too

	// Messages and groups, under mu.
	mu     sync.Mutex
	mail   mailbox
	groups *member // the first membership; they are a list

	// Timers, under callMu; nil until the connection needs one.
	timers *timers
}

// Conn returns the connection, for its addresses, counters and TLS state. Only the Peer may read,
// write and close it.
func (p *Peer) Conn() *transport.Conn { return p.conn }

// Context returns the connection's context, which is cancelled when the connection is to end.
func (p *Peer) Context() context.Context { return p.ctx }

// Outbox returns the outbox of the connection, which sends bytes that are encoded already, has
// counters, and can be waited for.
func (p *Peer) Outbox() *Outbox { return &p.out }

// Send encodes a frame and sends it by [Outbox.Send], with the same errors. If the codec refuses
// the frame, it returns the codec's error.
func (p *Peer) Send(frame []byte) error {
	if p.hp.raw {
		return p.out.Send(frame)
	}
	return p.sendFramed(frame)
}

func (p *Peer) sendFramed(frame []byte) error {
	b, err := p.encode(frame)
	if err == nil {
		err = p.out.Send(*b)
	}
	putScratch(b)
	return err
}

// encode returns the encoded frame in a buffer for putScratch.
//
//go:noinline
func (p *Peer) encode(frame []byte) (b *[]byte, err error) {
	b = scratch.Get().(*[]byte)
	*b, err = p.hp.Codec.Append(*b, frame)
	return b, err
}

// Close ends the connection as [Fail] does, or as [Stop] if err is nil. It does not wait.
func (p *Peer) Close(err error) { p.end(err) }

// end sets the error with which the connection ends, unless it is set, and interrupts the reader.
func (p *Peer) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending.Load() {
		return
	}
	p.ending.set(err)
	p.conn.StopReading(ErrEnded)
	p.out.end()
}

// ending holds the error with which a connection is to end, which may be nil.
type ending struct{ err atomic.Pointer[error] }

// Load reports whether there is one.
func (e *ending) Load() bool { return e.err.Load() != nil }

func (e *ending) set(err error) { e.err.Store(&err) }
