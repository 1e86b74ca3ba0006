package protocol

import (
	"errors"
	"fmt"
	"time"

	"goranch/transport"
)

// Handler serves one connection by callbacks, instead of a loop that reads. Each connection
// has a Handler value of its own, made by the function given to [Handle]. Its callbacks are
// never called at the same time, so its fields need no lock.
//
// The other interfaces of this page are add-ons: a Handler that has their method gets their
// events. All callbacks ought to be quick, for the next event of the connection waits.
type Handler interface {
	// HandleData is called with each frame that has arrived. frame is valid until HandleData
	// returns; its bytes may be changed. The next is not read before.
	HandleData(p *Peer, frame []byte) Action
}

// Connecter is called first, before anything is read.
type Connecter interface {
	HandleConnect(p *Peer) Action
}

// Messenger is called with what others have given to [Peer.Post], in that order.
type Messenger interface {
	HandleMessage(p *Peer, msg any) Action
}

// Ticker is called once in each period of [Options].Tick. A tick that comes due while
// another callback runs is made up for once, however many were missed.
type Ticker interface {
	HandleTick(p *Peer) Action
}

// Timeouter is called when no frame has arrived within the read timeout, which then starts
// again. Without it the connection ends, with an error that is os.ErrDeadlineExceeded.
type Timeouter interface {
	HandleTimeout(p *Peer) Action
}

// Shutdowner is called when the server stops. What is sent now still goes out, within the
// shutdown limit; nothing is read any more.
type Shutdowner interface {
	HandleShutdown(p *Peer)
}

// Ender is called when the peer has ended in order, by an io.EOF, once all that it has sent is handled. rest
// is what it has left behind of a frame, which is no failure then; it is valid until HandleEnd returns.
// The connection ends when that returns: it may wait for what is still under way for the peer, who
// may be reading yet, as nothing else happens. It has to return when the context of p ends.
type Ender interface {
	HandleEnd(p *Peer, rest []byte)
}

// Leaver is called first when the connection has ended, whatever the reason: before what was sent is let
// out, which may take up to FlushTime, and before the peer leaves its groups. rest is what has arrived of
// a frame. err is that of [Closer], which is called later.
type Leaver interface {
	HandleLeave(p *Peer, err error, rest []byte)
}

// Closer is called last, exactly once, whatever has ended the connection: err is nil if a callback
// has returned [Stop], io.EOF if the peer has ended, a [*PanicError] if a callback has panicked, what
// [Fail] was given, or the error of a read or write. What was sent has gone out by then, or
// will not.
type Closer interface {
	HandleClose(p *Peer, err error)
}

// Action is what a callback wants to happen next. Its zero value is to go on.
type Action struct {
	do      verb // few fields: it is passed in registers
	timeout time.Duration
	with    any // an error, a Handler, or a transport
}

// verb is what to do, with what there is to say of the timeout.
type verb uint8

const (
	goOn verb = iota
	stop
	switchTo
	upgrade
	timed   verb = 1 << 6
	lasting verb = 1 << 7
)

func (v verb) what() verb { return v &^ (timed | lasting) }

// Continue goes on.
func Continue() Action { return Action{} }

// Stop ends the connection in order: what was sent goes out before.
func Stop() Action { return Action{do: stop} }

// Fail ends the connection with that error, which is logged and counted as [Protocol] says.
// What was sent goes out before. A nil error is [Stop].
func Fail(err error) Action { return Action{do: stop, with: err} }

// Switch goes on with another handler, whose HandleConnect is called now. The one before is
// not called any more, its HandleClose included. Ticks go on. A nil handler is a failure.
func Switch(h Handler) Action { return Action{do: switchTo, with: h} }

// Upgrade runs the handshake of t on the connection, as STARTTLS does, and goes on above it.
// What the peer has sent behind the frame, in plain text, ends the connection with
// [transport.ErrBuffered]. What is sent meanwhile waits, and goes out above it. See
// [transport.Conn.Upgrade] for the time it may take. A nil transport is a failure.
func Upgrade(t transport.Transport) Action { return Action{do: upgrade, with: t} }

// Within says how long the next frame may take: it replaces the read timeout until that has
// arrived. Negative is no limit.
func (a Action) Within(d time.Duration) Action {
	a.timeout, a.do = d, a.do.what()|timed
	return a
}

// WithinAlways replaces the read timeout from now on. 0 or negative is no limit.
func (a Action) WithinAlways(d time.Duration) Action {
	a.timeout, a.do = d, a.do|timed|lasting
	return a
}

// Options are the settings of [Handle]. The zero value of each field is its default.
type Options struct {
	// Codec divides the stream into frames. nil is [Raw]: what has arrived is a frame.
	Codec Codec
	// Tick is the time between two calls of a [Ticker]. 0 is never; negative values are refused.
	Tick time.Duration
	// ReadTimeout is how long a frame may take to arrive, counted from the last, or from the
	// beginning. Messages and ticks do not change it. 0 is no limit; negative values are refused.
	//
	// Ticks and timeouts are looked after by one goroutine for all connections; they come up to
	// a tenth of a second late, or a sixteenth of the shorter of the two if that is less, but
	// 10 ms.
	ReadTimeout time.Duration
	// Mailbox is how many messages may wait. 0 is 64; negative values are refused.
	Mailbox int
	// FullMailbox is what happens to more. The default is to tell the sender.
	FullMailbox FullMailbox
	// Queue are the settings of what is sent.
	Queue QueueOptions
	// FlushTime is how long a connection that ends may go on sending what waits. 0 is 5 s;
	// negative is no time.
	FlushTime time.Duration
}

// FullMailbox is what happens to a message for which there is no room.
type FullMailbox uint8

const (
	RefuseMessage FullMailbox = iota // Post returns ErrMailboxFull
	ForgetOldest                     // the message that has waited longest is dropped
	CloseBusy                        // the connection is ended, with ErrMailboxFull
	numFullMailboxes
)

// Defaults of [Options].
const (
	DefaultMailbox   = 64
	DefaultFlushTime = 5 * time.Second
)

// ErrMailboxFull is returned by [Peer.Post] when the message was dropped, and how a connection
// ends under the policy [CloseBusy].
var ErrMailboxFull = errors.New("mailbox full")

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, fmt.Errorf("option %s %v: allowed %s", field, value, allowed))
	}
	if o.Tick < 0 {
		bad("Tick", o.Tick, "are positive times, and 0 for never")
	}
	if o.ReadTimeout < 0 {
		bad("ReadTimeout", o.ReadTimeout, "are positive times, and 0 for no limit")
	}
	if o.Mailbox < 0 {
		bad("Mailbox", o.Mailbox, "are positive numbers, and 0 for 64")
	}
	if o.FullMailbox >= numFullMailboxes {
		bad("FullMailbox", o.FullMailbox, "are RefuseMessage, ForgetOldest and CloseBusy")
	}
	if c, ok := o.Codec.(interface{ Validate() error }); ok {
		if err := c.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("option Codec: %w", err))
		}
	}
	return errors.Join(append(faults, o.Queue.Validate())...)
}
