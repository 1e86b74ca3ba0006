package client

import (
	"context"
	"strings"
	"time"

	"goranch/internal/option"
	"goranch/internal/redial"
	"goranch/transport"
)

// Options are the settings of a [Client]. The zero value of each field is its default.
//
// The callbacks run one at a time, in the order of events on the wire, before the call that they
// belong to returns. While a callback runs, nothing is read from the connection. Callbacks must not
// call Call, Complete, Quit or Close.
type Options struct {
	// Server and session.

	// Transport dials the server. nil is transport.TCP{}.
	Transport transport.Transport
	// Addr is the server's address in a form of the transport.
	Addr string
	// Token returns the token with which to authenticate. It is called before each attempt to
	// connect; an error fails the attempt. nil and "" send no token.
	Token func(ctx context.Context) (string, error)
	// Session is the id of an earlier session to resume. If that session is unknown or has expired,
	// the client continues with a new one. "" is a new session.
	Session string

	// Callbacks.

	// OnConnect is called after each connect, also the first. resumed is false if the session is a
	// new one.
	OnConnect func(resumed bool)
	// OnDisconnect is called when a connection has ended or an attempt to reconnect has failed. err
	// is the reason.
	OnDisconnect func(err error)
	// OnOutput is called with output that commands stream before their answers, and with lines that
	// are not answers, such as the server's reason for closing the connection. p may be retained.
	OnOutput func(p []byte)
	// OnFrame is called with each result of a command that redraws. A frame replaces the frame
	// before it.
	OnFrame func(frame *Answer)
	// OnOutputLost is called when the server has discarded output because the client was not
	// connected and the server's buffer was full. n is the number of bytes.
	OnOutputLost func(n int64)
	// OnShutdown is called when the server announces that it stops.
	OnShutdown func()

	// Reconnects and limits.

	// NoReconnect ends the client when its first connection ends.
	NoReconnect bool
	// MinBackoff is the pause before the first attempt to reconnect. It doubles after each failure,
	// up to MaxBackoff; each pause is shortened by a random part of up to half of it. 0 is 100 ms
	// for MinBackoff and 10 s for MaxBackoff; negative values are refused.
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts is the number of consecutive failures after which the client ends with
	// [ErrGaveUp]. 0 is no limit; negative values are refused.
	MaxAttempts int
	// DialTimeout limits dialing with the handshake, and then again the opening exchange with the
	// shell. 0 is 5 s; negative values are refused.
	DialTimeout time.Duration
	// WriteTimeout ends a connection on which the server accepts no data for this long. 0 is 10 s;
	// transport.NoTimeout is no limit; other negative values are refused.
	WriteTimeout time.Duration
	// MaxLine is the maximum length in bytes of a line from the server. A longer line ends the
	// connection. 0 is 16 MiB; negative values are refused.
	MaxLine int
}

func (o Options) validate() error {
	var f option.Faults
	f.Add(o.redial().Validate())
	f.DurationOrNoTimeout("WriteTimeout", o.WriteTimeout, "0 for 10s")
	f.NotNegative("MaxLine", o.MaxLine, "0 for 16777216")
	if strings.ContainsFunc(o.Session, func(r rune) bool { return r <= ' ' }) {
		f.Bad("Session", "(hidden)", "ids without blanks and control characters")
	}
	return f.Err()
}

func (o Options) redial() redial.Options {
	return redial.Options{Transport: o.Transport, Addr: o.Addr, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		MaxAttempts: o.MaxAttempts, DialTimeout: o.DialTimeout}
}

func (o Options) withDefaults() Options {
	option.Default(&o.WriteTimeout, 10*time.Second)
	option.Default(&o.MaxLine, 16<<20)
	if o.Token == nil {
		o.Token = func(context.Context) (string, error) { return "", nil }
	}
	if o.OnConnect == nil {
		o.OnConnect = func(bool) {}
	}
	if o.OnDisconnect == nil {
		o.OnDisconnect = func(error) {}
	}
	if o.OnOutput == nil {
		o.OnOutput = func([]byte) {}
	}
	if o.OnFrame == nil {
		o.OnFrame = func(*Answer) {}
	}
	if o.OnOutputLost == nil {
		o.OnOutputLost = func(int64) {}
	}
	if o.OnShutdown == nil {
		o.OnShutdown = func() {}
	}
	return o
}
