package client

import (
	"context"
	"encoding/json"
	"time"

	"goranch/internal/option"
	"goranch/internal/redial"
	"goranch/transport"
)

// Options are the settings of a [Client]. The zero value of each field but Addr is its default.
type Options struct {
	// Transport dials. nil is transport.TCP{}.
	Transport transport.Transport
	// Addr is the address of the server, in a form that Transport accepts.
	Addr string

	// OnNotification is called with each notification of the server, in order, by the goroutine
	// that reads. It must not wait for a Call.
	OnNotification func(method string, params json.RawMessage)
	// OnConnect is called after each connect, before other calls use the connection: the place to
	// log in and to subscribe. c uses this connection only, also later; ctx is canceled after
	// DialTimeout. An error closes the connection.
	OnConnect func(ctx context.Context, c *Client) error
	// OnDisconnect is called with the reason when a connection has ended or a reconnect has failed.
	OnDisconnect func(err error)

	// MinBackoff is the wait before the first reconnect. It doubles with each consecutive failure,
	// up to MaxBackoff; each wait is shortened at random by up to half. A connection that lasted
	// longer than MaxBackoff resets it. 0 is 100 ms and 10 s; negative values are refused.
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts ends the client: when a connect fails that is at least the MaxAttempts'th since
	// the last connection that lasted longer than MaxBackoff. 0 is no limit; negative values are
	// refused.
	MaxAttempts int
	// DialTimeout limits dialing including the transport's handshake, and again OnConnect. 0 is
	// 5 s; negative values are refused.
	DialTimeout time.Duration

	// Heartbeat is the interval without requests after which the client sends the notification
	// "ping", so that the server's read timeout does not end the connection. 0 is 1 min; negative
	// values disable it.
	Heartbeat time.Duration
	// MaxFrame limits the bytes of a frame in both directions. 0 is 256 KiB; negative values, such
	// as [transport.NoLimit], are 2 GiB.
	MaxFrame int
}

// validate returns the faults of all fields, joined.
func (o Options) validate() error { return o.redial().Validate() }

func (o Options) withDefaults() Options {
	option.Default(&o.Heartbeat, time.Minute)
	return o
}

func (o Options) redial() redial.Options {
	return redial.Options{Transport: o.Transport, Addr: o.Addr, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		MaxAttempts: o.MaxAttempts, DialTimeout: o.DialTimeout}
}
