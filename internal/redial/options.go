package redial

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"

	"goranch/internal/option"
	"goranch/transport"
)

// Defaults of [Options].
const (
	DefaultMinBackoff  = 100 * time.Millisecond
	DefaultMaxBackoff  = 10 * time.Second
	DefaultDialTimeout = 5 * time.Second
)

// Options are the settings of a [Connector]. The options of each client have fields of the same
// names and meaning. The zero value of each field but Addr is its default.
type Options struct {
	// Transport dials. nil is transport.TCP{}.
	Transport transport.Transport
	// Addr is the address to dial, in a form that Transport accepts.
	Addr string
	// MinBackoff is the wait before the first reconnect. It doubles with each consecutive failure,
	// up to MaxBackoff; each wait is shortened at random by up to half. A connection that lasted
	// longer than MaxBackoff resets it. 0 is 100 ms and 10 s; negative values are refused.
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts ends the client: when a connect fails that is at least the MaxAttempts'th since
	// the last connection that lasted longer than MaxBackoff. 0 is no limit; negative values are
	// refused.
	MaxAttempts int
	// DialTimeout limits dialing, and again the handshake of the client's protocol. 0 is 5 s;
	// negative values are refused.
	DialTimeout time.Duration
}

// Validate returns the faults of all fields, joined; nil if there are none.
func (o Options) Validate() error {
	var f option.Faults
	if o.MinBackoff < 0 || o.MaxBackoff < 0 || o.MaxBackoff > 0 && o.MinBackoff > o.MaxBackoff {
		f.Bad("MinBackoff and MaxBackoff", fmt.Sprintf("%v and %v", o.MinBackoff, o.MaxBackoff),
			"positive durations, the first not above the second, and 0 for 100ms and 10s")
	}
	f.NotNegative("MaxAttempts", o.MaxAttempts, "0 for no limit")
	f.Positive("DialTimeout", o.DialTimeout, "0 for 5s")
	return f.Err()
}

func (o Options) withDefaults() Options {
	if o.Transport == nil {
		o.Transport = transport.TCP{}
	}
	// The default of one backoff gives way to the value of the other.
	o.MaxBackoff = cmp.Or(o.MaxBackoff, max(DefaultMaxBackoff, o.MinBackoff))
	o.MinBackoff = cmp.Or(o.MinBackoff, min(DefaultMinBackoff, o.MaxBackoff))
	o.DialTimeout = cmp.Or(o.DialTimeout, DefaultDialTimeout)
	return o
}

// backoff returns the wait after a number of consecutive failures. The random part keeps clients
// that lost their server at the same moment from reconnecting at the same moment.
func (o *Options) backoff(failures int) time.Duration {
	d := o.MinBackoff << min(failures, 30)
	if d > o.MaxBackoff || d < o.MinBackoff { // the shift may overflow
		d = o.MaxBackoff
	}
	return d - rand.N(d/2+1)
}
