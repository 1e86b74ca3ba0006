package client

import (
	"cmp"
	"time"

	"goranch/internal/option"
	"goranch/internal/redial"
	"goranch/protocol/pubsub"
	"goranch/transport"
)

// Options are the settings of a [Client]. The zero value of each field is its default.
type Options struct {
	// Transport connects. nil is transport.TCP{}.
	Transport transport.Transport
	// Addr is where to; the forms are those of the transport.
	Addr string
	// Token is that of an earlier session, which is gone on with if the server still has it. "" is a new
	// session. The session's subscriptions go on as well: what comes of those that are not subscribed to
	// here goes to OnMessage.
	Token string
	// OnMessage is called, as handlers are, with messages that no subscription has asked for. nil is to
	// count them as Unclaimed.
	OnMessage func(Message)
	// OnEvent is called with what happens to the client, in order as far as one connection is concerned. It
	// must return soon, and must not wait for a method of the client. nil is to ignore it.
	OnEvent func(Event)
	// MinBackoff is the rest before connecting again, doubled after each failure up to MaxBackoff;
	// up to half of it, at random, is left out. It begins anew after a connection that has lived longer
	// than MaxBackoff. 0 are 100 ms and 10 s; negative values are refused.
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts is after how many failures in a row the client gives up. 0 is never; negative values
	// are refused.
	MaxAttempts int
	// DialTimeout is the time to connect, with the handshake, and once more to be greeted and to attach.
	// 0 is 5 s; negative values are refused.
	DialTimeout time.Duration
	// WriteTimeout is how long the server may take nothing of what is sent. 0 is 10 s; negative is no limit.
	WriteTimeout time.Duration
	// Silence is after how long without a word from the server the connection is taken for lost. It has to
	// be longer than the server's heartbeat. 0 is 90 s; negative is never.
	Silence time.Duration
	// MaxFrame is the longest frame in bytes, both ways. 0 is 1 MiB; negative values are refused.
	MaxFrame int
}

// Defaults of [Options].
const (
	DefaultMinBackoff   = redial.DefaultMinBackoff  // 100 ms
	DefaultMaxBackoff   = redial.DefaultMaxBackoff  // 10 s
	DefaultDialTimeout  = redial.DefaultDialTimeout // 5 s
	DefaultWriteTimeout = 10 * time.Second
	DefaultSilence      = 3 * pubsub.DefaultHeartbeat
	DefaultMaxFrame     = 1 << 20
)

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var f option.Faults
	f.Add(o.redial().Validate())
	f.NotNegative("MaxFrame", o.MaxFrame, "0 for 1048576")
	return f.Err()
}

func (o Options) redial() redial.Options {
	return redial.Options{Transport: o.Transport, Addr: o.Addr, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		MaxAttempts: o.MaxAttempts, DialTimeout: o.DialTimeout}
}

func (o Options) withDefaults() Options {
	o.WriteTimeout = cmp.Or(o.WriteTimeout, DefaultWriteTimeout)
	o.Silence = cmp.Or(o.Silence, DefaultSilence)
	o.MaxFrame = cmp.Or(o.MaxFrame, DefaultMaxFrame)
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	return o
}
