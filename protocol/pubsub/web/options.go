package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"goranch/internal/option"
	"goranch/internal/weborigin"
)

// Options configures a [Gateway]. The zero value of each field but Dial is its default.
type Options struct {
	// Dial connects to the topic server, once for each browser. It is required. The gateway owns
	// the connection and closes it. A [transport.Mem] needs no sockets. The server's limits per
	// source address apply to the address that the connection has: none in memory, and over TCP one
	// for all browsers, unless Dial passes on [BrowserAddr], such as in a PROXY header.
	Dial func(ctx context.Context) (net.Conn, error)

	// Access.

	// Authorize decides whether a WebSocket or event stream is served; the page is always served.
	// An error is answered with status 403, or 401 if it wraps [ErrUnauthenticated]. Authorize is
	// called concurrently. nil serves all. The topic server decides what a browser may do with a
	// topic.
	Authorize func(r *http.Request) error
	// Origins lists the hosts, with port unless it is the default one, whose pages may connect in
	// addition to those of the gateway's own host; entries may be patterns of path.Match. nil is
	// none. "*" allows all origins, so that any page that a user visits can act with the user's
	// cookies.
	Origins []string
	// Hosts lists the hosts, in the same form, by which requests may name the gateway, in addition
	// to those of Origins and to loopback names and addresses. nil is all, but none on loopback
	// addresses, where the requests of a page whose name resolves to a loopback address would
	// otherwise be served. Behind a proxy on the same machine it must contain the names that the
	// proxy passes on. "*" allows all.
	Hosts []string

	// Limits.

	// MaxMessage limits the length of a message from a browser, in bytes. 0 is 256 KiB; negative
	// values are refused.
	MaxMessage int
	// MaxBuffered limits the data that waits for a browser without the longest frame, in bytes.
	// Beyond the limit the connection is closed, and the browser can resume its session. It should
	// exceed the buffer that the server keeps for a session, which arrives at once. 0 is 128 KiB;
	// negative values are refused.
	MaxBuffered int
	// MaxBufferedTotal limits the data that waits for all browsers, in bytes; their messages that
	// have not arrived completely may take a quarter as much. A browser that exceeds it with more
	// than 16 KiB is closed like one that exceeds MaxBuffered. 0 is 64 MiB; transport.NoLimit or
	// another negative value disables the limit.
	MaxBufferedTotal int
	// MaxTopics limits the topics of one request for events. 0 is 100; negative values are refused.
	MaxTopics int
	// MaxBrowsers limits the connected browsers; more are answered with status 503. 0 is 10,000;
	// transport.NoLimit or another negative value disables the limit.
	MaxBrowsers int
	// KeepAlive is the interval of WebSocket pings, which the browser must answer within the same
	// time, and of comments in event streams. 0 is 30 s; transport.NoTimeout or another negative
	// value sends none.
	KeepAlive time.Duration
	// WriteTimeout limits one write to a browser or to the topic server, and connecting to the
	// latter. 0 is 10 s; negative values are refused.
	WriteTimeout time.Duration

	// NoPage disables the page: only WebSockets and events are served.
	NoPage bool
}

// ErrUnauthenticated is wrapped by errors of Options.Authorize that ask for authentication.
var ErrUnauthenticated = errors.New("authentication required")

func (o *Options) validate() error {
	var faults option.Faults
	if o.Dial == nil {
		faults.Bad("Dial", "nil", "functions; it is required")
	}
	faults.NotNegative("MaxMessage", o.MaxMessage, "0 for 262144")
	faults.NotNegative("MaxBuffered", o.MaxBuffered, "0 for 131072")
	faults.NotNegative("MaxTopics", o.MaxTopics, "0 for 100")
	faults.Positive("WriteTimeout", o.WriteTimeout, "0 for 10s")
	for field, patterns := range map[string][]string{"Origins": o.Origins, "Hosts": o.Hosts} {
		for _, p := range patterns {
			if !weborigin.IsPattern(p) {
				faults.Bad(field, p, "hosts without a scheme, and patterns of path.Match")
			}
		}
	}
	return faults.Err()
}

func (o Options) withDefaults() Options {
	option.Default(&o.MaxMessage, 256<<10)
	option.Default(&o.MaxBuffered, 128<<10)
	option.Default(&o.MaxBufferedTotal, 64<<20)
	option.Default(&o.MaxTopics, 100)
	option.Default(&o.MaxBrowsers, 10_000)
	option.Default(&o.KeepAlive, 30*time.Second)
	option.Default(&o.WriteTimeout, 10*time.Second)
	if o.Authorize == nil {
		o.Authorize = func(*http.Request) error { return nil }
	}
	return o
}
