package wslisten

import (
	"errors"
	"net/http"
	"time"

	"goranch/internal/option"
	"goranch/internal/weborigin"
)

// Options are the settings of a [Transport]. The zero value of each field is its default.
type Options struct {
	// Access.

	// Authorize decides whether a request is served, before it waits for an acceptor. An error is
	// answered with status 403, or 401 if it wraps [ErrUnauthenticated]; its text is sent to the
	// client. [Value] returns the other result. Authorize is called concurrently. nil serves all.
	Authorize func(r *http.Request) (value any, err error)
	// Origins lists the hosts, with port unless it is the default one, whose pages may connect in
	// addition to those of the handler's own host; entries may be patterns of path.Match. nil is
	// none. "*" allows all origins, so that any page that a user visits can act with the user's
	// cookies. Clients that are no browsers send no origin and are allowed.
	Origins []string
	// Hosts lists the hosts, in the same form, by which requests may name the handler, in addition
	// to those of Origins and to loopback names and addresses. nil is all, but none on loopback
	// addresses, where the requests of a page whose name resolves to a loopback address would
	// otherwise be served. "*" allows all.
	Hosts []string
	// Subprotocols lists the supported subprotocols, the preferred one first. A client that offers
	// none of them is served without one. nil is none.
	Subprotocols []string

	// Messages.

	// Text sends messages of text instead of binary ones. Each write must then be UTF-8; a
	// character that is divided between two writes is sent with the second one.
	Text bool
	// MaxMessage limits the length of a message of the client, in bytes. It occupies no memory
	// here: it is passed on as it arrives. 0 is 1 MiB; transport.NoLimit, or any negative value, is
	// no limit.
	MaxMessage int64

	// Times.

	// KeepAlive is the time after which a client that sends nothing is pinged, and after which the
	// connection ends if it still sends nothing. It applies while the protocol reads. 0 is 30 s;
	// transport.NoTimeout, or any negative value, sends no pings.
	KeepAlive time.Duration
	// WriteTimeout limits one write. 0 is the send timeout of the ranch listener that the HTTP
	// server runs on, and 10 s if there is none; transport.NoTimeout, or any negative value, is no
	// limit.
	WriteTimeout time.Duration
	// CloseTimeout limits the closing handshake: the time to send a close frame and to receive that
	// of the client. 0 is 1 s; negative values are refused.
	CloseTimeout time.Duration

	// Requests that wait for an acceptor, as connections do in the queue of the kernel.

	// Backlog limits their number; more are answered with status 503. 0 is 1024; negative values
	// are refused.
	Backlog int
	// AcceptTimeout limits the time that they wait before they are answered with status 503. 0 is
	// 10 s; negative values are refused.
	AcceptTimeout time.Duration
}

// ErrUnauthenticated is wrapped by errors of Options.Authorize that ask for authentication.
var ErrUnauthenticated = errors.New("authentication required")

func (o *Options) validate() error {
	var f option.Faults
	for field, patterns := range map[string][]string{"Origins": o.Origins, "Hosts": o.Hosts} {
		for _, p := range patterns {
			if !weborigin.IsPattern(p) {
				f.Bad(field, p, "hosts without a scheme, and patterns of path.Match")
			}
		}
	}
	f.Positive("CloseTimeout", o.CloseTimeout, "0 for 1s")
	f.Positive("AcceptTimeout", o.AcceptTimeout, "0 for 10s")
	f.NotNegative("Backlog", o.Backlog, "0 for 1024")
	return f.Err()
}

func (o Options) withDefaults() Options {
	option.Default(&o.MaxMessage, 1<<20)
	option.Default(&o.KeepAlive, 30*time.Second)
	option.Default(&o.CloseTimeout, time.Second)
	option.Default(&o.Backlog, 1024)
	option.Default(&o.AcceptTimeout, 10*time.Second)
	if o.Authorize == nil {
		o.Authorize = func(*http.Request) (any, error) { return nil, nil }
	}
	return o
}
