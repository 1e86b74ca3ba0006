package protocol

// Handler serves one connection by callbacks instead of a loop that reads. Each connection has a
// Handler of its own, made by the function given to [Handle]. Its callbacks never run at the same
// time, so its fields need no lock. Callbacks should return quickly: the next one waits for them.
//
// The callbacks below are optional: a Handler that has the method receives the event. An exported
// method with such a name and another signature, or with a *Peer parameter and a name that is
// misspelled by one letter or in case, ends each connection with a [*PanicError]. The compiler
// finds this earlier with
//
//	var _ protocol.Ticker = (*handler)(nil)
type Handler interface {
	// HandleData is called with each frame. frame is valid until HandleData returns; its bytes may
	// be changed. The next frame is not read before that.
	HandleData(p *Peer, frame []byte) Action
}

// Connecter is a [Handler] that is called first, before anything is read.
type Connecter interface {
	HandleConnect(p *Peer) Action
}

// Messenger is a [Handler] that receives the messages of [Peer.Post], in their order.
type Messenger interface {
	HandleMessage(p *Peer, msg any) Action
}

// Ticker is a [Handler] that is called once in each period of [Options].Tick. Ticks that become due
// while another callback runs are combined into one.
type Ticker interface {
	HandleTick(p *Peer) Action
}

// Timeouter is a [Handler] that is called when no frame has arrived within the read timeout. The
// timeout then starts again. Without this method the connection ends with an error that is
// os.ErrDeadlineExceeded.
type Timeouter interface {
	HandleTimeout(p *Peer) Action
}

// Shutdowner is a [Handler] that is called when the server stops. Frames that it sends are still
// written, until the shutdown limit. Nothing is read any more.
type Shutdowner interface {
	HandleShutdown(p *Peer)
}

// Ender is a [Handler] that is called when the peer has closed its side (io.EOF) and all its frames
// are handled. rest is an incomplete last frame, which is no error then; it is valid until
// HandleEnd returns. HandleEnd may wait for work in progress and send to the peer, which may still
// read. The connection ends when HandleEnd returns, as it must when the context of p ends.
type Ender interface {
	HandleEnd(p *Peer, rest []byte)
}

// Leaver is a [Handler] that is called as soon as the connection has ended, for any reason: before
// queued frames are flushed, which may take FlushTime, and before the peer leaves its groups. rest
// is an incomplete last frame. err is the error that [Closer] receives later.
type Leaver interface {
	HandleLeave(p *Peer, err error, rest []byte)
}

// Closer is a [Handler] that is called exactly once, as the last callback, for any reason. err is
// nil after [Stop], io.EOF if the peer has closed the connection, a [*PanicError] after a panic of
// a callback, the argument of [Fail], or the error of a read or write. Queued frames are flushed or
// discarded by then.
type Closer interface {
	HandleClose(p *Peer, err error)
}
