package client

import (
	"time"

	"goranch/internal/option"
	"goranch/internal/redial"
	"goranch/transport"
)

// Options configures a [Client]. The zero value of each field is its default.
//
// The callbacks run in the goroutine that reads the connection or in the one that reconnects, in
// order for each connection. They must return soon and must not wait for a method of the client.
type Options struct {
	// Where to connect.

	// Transport makes the connections. nil is transport.TCP{}.
	Transport transport.Transport
	// Addr is the server's address, in a form that Transport accepts.
	Addr string
	// Token is the token of an earlier session, which the client resumes if the server still has
	// it. Messages of the session's subscriptions for which Subscribe has not been called go to
	// OnUnmatched. "" starts a new session.
	Token string

	// Callbacks. nil ignores the event.

	// OnConnect is called when a connection is ready for use. After SessionLost it is called when
	// all subscriptions are in effect again.
	OnConnect func(ConnectInfo)
	// OnDisconnect is called when a connection has ended or an attempt to connect has failed.
	OnDisconnect func(err error)
	// OnDrop is called when n messages were dropped: from the channel of the subscription to topic,
	// or, if topic is "", from the server's queue because the client reads too slowly.
	OnDrop func(topic string, n uint64)
	// OnLostBytes is called after a session was resumed with the number of bytes of messages that
	// exceeded the server's buffer while the client was disconnected.
	OnLostBytes func(n uint64)
	// OnRefused is called when the server has refused the subscription to topic, which has ended.
	OnRefused func(topic string, err error)
	// OnUnmatched is called with each message that matches no subscription.
	OnUnmatched func(Message)

	// Reconnecting.

	// MinBackoff is the delay before the client connects again, doubled after each failed attempt
	// up to MaxBackoff, and shortened at random by up to a half. A connection that has lasted
	// longer than MaxBackoff resets it. 0 is 100 ms and 10 s; negative values are refused.
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts is the number of failed attempts in a row after which the client gives up. 0 is
	// no limit; negative values are refused.
	MaxAttempts int
	// DialTimeout limits connecting, with the transport's handshake, and separately the greeting
	// and attaching to a session. 0 is 5 s; negative values are refused.
	DialTimeout time.Duration

	// Limits of a connection.

	// WriteTimeout ends a connection on which the server has read nothing for that long while data
	// waits. 0 is 10 s; transport.NoTimeout or another negative value disables it.
	WriteTimeout time.Duration
	// ReadTimeout ends a connection on which no frame has arrived for that long. It must exceed the
	// server's heartbeat, which is 30 s by default. 0 is 90 s; transport.NoTimeout or another
	// negative value disables it.
	ReadTimeout time.Duration
	// MaxFrame limits the length of a frame in both directions, in bytes. 0 is 1 MiB; negative
	// values are refused.
	MaxFrame int
}

// ConnectInfo describes the session of a new connection. It is zero if the session is new and
// replaces no earlier one.
type ConnectInfo struct {
	// Resumed: the earlier session continues. Its buffered messages have been delivered.
	Resumed bool
	// SessionLost: the server no longer has the earlier session, and there is a new one. Messages
	// published in the meantime are lost, except the history that subscriptions request.
	SessionLost bool
	// Resubscribed is the number of subscriptions in effect again, after SessionLost.
	Resubscribed int
}

func (o *Options) validate() error {
	var faults option.Faults
	faults.Add(o.redial().Validate())
	faults.NotNegative("MaxFrame", o.MaxFrame, "0 for 1048576")
	return faults.Err()
}

func (o *Options) redial() redial.Options {
	return redial.Options{Transport: o.Transport, Addr: o.Addr, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		MaxAttempts: o.MaxAttempts, DialTimeout: o.DialTimeout}
}

func (o Options) withDefaults() Options {
	option.Default(&o.WriteTimeout, 10*time.Second)
	option.Default(&o.ReadTimeout, 90*time.Second)
	option.Default(&o.MaxFrame, 1<<20)
	if o.OnConnect == nil {
		o.OnConnect = func(ConnectInfo) {}
	}
	if o.OnDisconnect == nil {
		o.OnDisconnect = func(error) {}
	}
	if o.OnDrop == nil {
		o.OnDrop = func(string, uint64) {}
	}
	if o.OnLostBytes == nil {
		o.OnLostBytes = func(uint64) {}
	}
	if o.OnRefused == nil {
		o.OnRefused = func(string, error) {}
	}
	return o
}
