package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

)

// Defaults of [Options].
const (
	DefaultMaxMessage   = 256 << 10
	DefaultMaxBuffered  = 256 << 10
	DefaultMaxTopics    = 100
	DefaultMaxBrowsers  = 10_000
	DefaultKeepAlive    = 30 * time.Second
	DefaultWriteTimeout = 10 * time.Second
)

// Options are the settings of a [Gateway]. The zero value of each field but Dial is its default.
type Options struct {
	// Dial connects to the topic server, once for each browser. It is required. With [transport.Mem] no
	// socket is needed. Over TCP all browsers have one address for the server: those who try to attach with
	// wrong tokens make the others wait. The connection is the gateway's.
	Dial func(ctx context.Context) (net.Conn, error)
	// Authorize says whether a request is served; its error is answered with 403, or 401 if it
	// wraps [ErrLogin]. It concerns WebSockets and events, not the page. nil is to serve all. It is called
	// from many goroutines. What one may do with a topic is the server's to say.
	Authorize func(r *http.Request) error
	// Origins are the hosts, with port, whose pages may connect besides the gateway's own, and patterns of
	// path.Match for them. nil is none; "*" is all, which lets every page a user visits act in the
	// user's name.
	Origins []string
	// MaxMessage is the longest message of a browser in bytes. 0 is 256 KiB; negative values are refused.
	MaxMessage int
	// MaxBuffered is how many bytes may wait for a browser that does not keep up; what exceeds it ends the
	// connection, and the browser may come back for the rest. It should be more than the server keeps for a
	// session, which comes at once. 0 is 256 KiB; negative values are refused.
	MaxBuffered int
	// MaxTopics is how many topics one request for events may name. 0 is 100; negative values are refused.
	MaxTopics int
	// MaxBrowsers is how many may be connected. More are answered with 503. 0 is 10,000; negative
	// is no limit.
	MaxBrowsers int
	// KeepAlive is how often a sign of life is sent: a ping, which has to be answered within as much, or
	// a comment. 0 is 30 s; negative is never.
	KeepAlive time.Duration
	// WriteTimeout is how long one write to a browser or to the server may take. 0 is 10 s;
	// negative values are refused.
	WriteTimeout time.Duration
	// NoPage leaves out the page, and serves WebSockets and events only.
	NoPage bool
}

// ErrLogin is wrapped by errors of Options.Authorize that are about who asks.
var ErrLogin = errors.New("not logged in")

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var faults []error
	if o.Dial == nil {
		faults = append(faults, errors.New("option Dial nil: a function is required"))
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"MaxMessage", o.MaxMessage}, {"MaxBuffered", o.MaxBuffered}, {"MaxTopics", o.MaxTopics}} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("option %s %d: allowed are positive numbers, and 0 for the default", f.name, f.value))
		}
	}
	if o.WriteTimeout < 0 {
		faults = append(faults, fmt.Errorf("option WriteTimeout %v: allowed are positive times, and 0 for 10s", o.WriteTimeout))
	}
	for _, p := range o.Origins {
		if _, err := matchHost(p, ""); err != nil {
			faults = append(faults, fmt.Errorf("option Origins %q: allowed are hosts and patterns of path.Match: %w", p, err))
		}
	}
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	def(&o.MaxMessage, DefaultMaxMessage)
	def(&o.MaxBuffered, DefaultMaxBuffered)
	def(&o.MaxTopics, DefaultMaxTopics)
	def(&o.MaxBrowsers, DefaultMaxBrowsers)
	def(&o.KeepAlive, DefaultKeepAlive)
	def(&o.WriteTimeout, DefaultWriteTimeout)
	if o.Authorize == nil {
		o.Authorize = func(*http.Request) error { return nil }
	}
	return o
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
