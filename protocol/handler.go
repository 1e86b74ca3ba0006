package protocol

// Handler serves one connection by callbacks instead of a loop that reads. Each connection has a
// Handler of its own, made by the function given to [Handle]. Its callbacks never run at the same
// time, so its fields need no lock. Callbacks should return quickly: the next one waits for them.
//
// A Handler may also have any of the methods of [Callbacks]. It receives only the events for which
// it has a method.
type Handler interface {
	// HandleData is called with each frame. frame is valid until HandleData returns; its bytes may
	// be changed. The next frame is not read before that.
	HandleData(p *Peer, frame []byte) Action
}

// Callbacks lists the optional methods of a [Handler], which need not have all of them. An exported
// method with such a name and another signature, or with a *Peer parameter and a name that is
// misspelled by one letter or in case, ends each connection with a [*PanicError].
type Callbacks interface {
	// HandleConnect is called first, before anything is read.
	HandleConnect(p *Peer) Action

	// HandleMessage receives the messages of [Peer.Post] in order.
	HandleMessage(p *Peer, msg any) Action

	// HandleTick is called once in each period of [Options].Tick. Ticks that become due while
	// another callback runs are combined into one.
	HandleTick(p *Peer) Action

	// HandleTimeout is called when no frame has arrived within the read timeout. The timeout then
	// starts again. Without this method the connection ends with an error that is
	// os.ErrDeadlineExceeded.
	HandleTimeout(p *Peer) Action

	// HandleShutdown is called when the server stops. Frames that it sends are still written, until
	// the shutdown timeout. Nothing more is read.
	HandleShutdown(p *Peer)

	// HandleEnd is called when the peer has closed its side (io.EOF) and all its frames are
	// handled. rest is an incomplete last frame, which is no error then; it is valid until
	// HandleEnd returns. HandleEnd may wait for work in progress and send to the peer, which may
	// still read. The connection ends when HandleEnd returns, as it must when the context of p
	// ends.
	HandleEnd(p *Peer, rest []byte)

	// HandleLeave is called as soon as the connection has ended, for any reason: before queued
	// frames are flushed, which may take FlushTime, and before the peer leaves its groups. rest is
	// an incomplete last frame. err is the error that HandleClose receives later.
	HandleLeave(p *Peer, err error, rest []byte)

	// HandleClose is called exactly once, as the last callback, for any reason. err is nil after
	// [Stop], io.EOF if the peer has closed the connection, a [*PanicError] after a panic of a
	// callback, the argument of [Fail], or the error of a read or write. Queued frames are flushed
	// or discarded by then.
	HandleClose(p *Peer, err error)
}

// Each of these interfaces is one optional callback.
type (
	connecter  interface{ HandleConnect(p *Peer) Action }
	messenger  interface{ HandleMessage(p *Peer, msg any) Action }
	ticker     interface{ HandleTick(p *Peer) Action }
	timeouter  interface{ HandleTimeout(p *Peer) Action }
	shutdowner interface{ HandleShutdown(p *Peer) }
	ender      interface{ HandleEnd(p *Peer, rest []byte) }
	leaver     interface {
		HandleLeave(p *Peer, err error, rest []byte)
	}
	closer interface{ HandleClose(p *Peer, err error) }
)
