package redial

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"goranch/transport"
)

// Defaults of [Options].
const (
	DefaultMinBackoff  = 100 * time.Millisecond
	DefaultMaxBackoff  = 10 * time.Second
	DefaultDialTimeout = 5 * time.Second
)

// Options are what the options of clients, where they are described, have in common.
type Options struct {
	Transport              transport.Transport
	Addr                   string
	MinBackoff, MaxBackoff time.Duration
	MaxAttempts            int
	DialTimeout            time.Duration
}

// Validate reports every field that cannot be used.
func (o Options) Validate() error {
	var backoff, attempts, dial error
	if o.MinBackoff < 0 || o.MaxBackoff < 0 || o.MaxBackoff > 0 && o.MinBackoff > o.MaxBackoff {
		backoff = Bad("MinBackoff and MaxBackoff", fmt.Sprintf("%v and %v", o.MinBackoff, o.MaxBackoff), "are positive times, the first not above the second, and 0 for 100ms and 10s")
	}
	if o.MaxAttempts < 0 {
		attempts = Bad("MaxAttempts", o.MaxAttempts, "are positive numbers, and 0 for no limit")
	}
	if o.DialTimeout < 0 {
		dial = Bad("DialTimeout", o.DialTimeout, "are positive times, and 0 for 5s")
	}
	return errors.Join(backoff, attempts, dial)
}

// Bad is the error about a field that cannot be used.
func Bad(field string, value any, allowed string) error {
	return fmt.Errorf("option %s %v: allowed %s", field, value, allowed)
}

func (o Options) withDefaults() Options {
	if o.Transport == nil {
		o.Transport = transport.TCP{}
	}
	o.MaxBackoff = cmp.Or(o.MaxBackoff, max(DefaultMaxBackoff, o.MinBackoff))
	o.MinBackoff = cmp.Or(o.MinBackoff, min(DefaultMinBackoff, o.MaxBackoff))
	o.DialTimeout = cmp.Or(o.DialTimeout, DefaultDialTimeout)
	return o
}

// backoff returns how long to rest after so many failures.
func (o *Options) backoff(failures int) time.Duration {
	d := o.MinBackoff << min(failures, 30)
	if d > o.MaxBackoff || d < o.MinBackoff {
		d = o.MaxBackoff
	}
	return d - rand.N(d/2+1)
}
