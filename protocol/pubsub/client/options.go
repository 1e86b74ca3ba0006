package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

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
	DefaultMinBackoff   = 100 * time.Millisecond
	DefaultMaxBackoff   = 10 * time.Second
	DefaultDialTimeout  = 5 * time.Second
	DefaultWriteTimeout = 10 * time.Second
	DefaultSilence      = 3 * pubsub.DefaultHeartbeat
	DefaultMaxFrame     = 1 << 20
)

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, fmt.Errorf("option %s %v: allowed %s", field, value, allowed))
	}
	if o.MinBackoff < 0 || o.MaxBackoff < 0 || o.MaxBackoff > 0 && o.MinBackoff > o.MaxBackoff {
		bad("MinBackoff and MaxBackoff", fmt.Sprintf("%v and %v", o.MinBackoff, o.MaxBackoff), "are positive times, the first not above the second, and 0 for 100ms and 10s")
	}
	if o.MaxAttempts < 0 {
		bad("MaxAttempts", o.MaxAttempts, "are positive numbers, and 0 for no limit")
	}
	if o.DialTimeout < 0 {
		bad("DialTimeout", o.DialTimeout, "are positive times, and 0 for 5s")
	}
	if o.MaxFrame < 0 {
		bad("MaxFrame", o.MaxFrame, "are positive numbers, and 0 for 1048576")
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	if o.Transport == nil {
		o.Transport = transport.TCP{}
	}
	def(&o.MaxBackoff, max(DefaultMaxBackoff, o.MinBackoff))
	def(&o.MinBackoff, min(DefaultMinBackoff, o.MaxBackoff))
	def(&o.DialTimeout, DefaultDialTimeout)
	def(&o.WriteTimeout, DefaultWriteTimeout)
	def(&o.Silence, DefaultSilence)
	def(&o.MaxFrame, DefaultMaxFrame)
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// backoff returns how long to rest after so many failures.
func (o *Options) backoff(failures int) time.Duration {
	d := o.MinBackoff << min(failures, 30)
	if d > o.MaxBackoff || d < o.MinBackoff {
		d = o.MaxBackoff
	}
	return d - rand.N(d/2+1)
}
