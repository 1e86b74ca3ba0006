package protocol

import (
	"time"

	"goranch/transport"
)

// Action is the result of a callback: what the connection does next. The zero value is [Continue].
type Action struct {
	do      verb // one word with flags: Action has few fields, so that it is passed in registers
	timeout time.Duration
	with    any // an error, a Handler, or a Transport
}

// verb is what to do, with flags that say whether and how the read timeout changes.
type verb uint8

const (
	proceed verb = iota
	stop
	switchTo
	upgrade
	timed   verb = 1 << 6 // Action.timeout is set
	lasting verb = 1 << 7 // for all frames, not only the next one
)

func (v verb) withoutFlags() verb { return v &^ (timed | lasting) }

// Continue continues with the next event.
func Continue() Action { return Action{} }

// Stop ends the connection normally. Queued frames are sent first.
func Stop() Action { return Action{do: stop} }

// Fail ends the connection with err, which is logged and counted as [Protocol] describes. Queued
// frames are sent first. A nil error is [Stop].
func Fail(err error) Action { return Action{do: stop, with: err} }

// Switch replaces the handler by h and calls its HandleConnect at once. The replaced handler gets
// no more calls, not even HandleClose. Ticks continue. A nil h ends the connection with an error.
func Switch(h Handler) Action { return Action{do: switchTo, with: h} }

// Upgrade runs the handshake of t on the connection, as STARTTLS does, and continues over t. Frames
// that are sent during the handshake are queued and go out over t. If the peer has already sent
// plain text after the current frame, the connection ends with [transport.ErrBuffered]. The
// handshake has the time limit of [transport.Conn.Upgrade]. A nil t is an error.
func Upgrade(t transport.Transport) Action { return Action{do: upgrade, with: t} }

// Within sets the read timeout until the next frame has arrived. transport.NoTimeout, 0 and
// negative values are no limit.
func (a Action) Within(d time.Duration) Action {
	a.timeout, a.do = d, a.do.withoutFlags()|timed
	return a
}

// WithinAlways sets the read timeout from now on. transport.NoTimeout, 0 and negative values are no
// limit.
func (a Action) WithinAlways(d time.Duration) Action {
	a.timeout, a.do = d, a.do|timed|lasting
	return a
}
