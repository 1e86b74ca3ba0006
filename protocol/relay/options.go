package relay

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"goranch/internal/engine"
	"goranch/internal/option"
	"goranch/transport"
)

// maxUpstreams is the greatest number of upstreams: each connection examines all of them.
const maxUpstreams = 1000

// Upstream is a server to which connections are forwarded.
type Upstream struct {
	// Addr is its address, in a form that Options.Transport accepts: "host:port" or "unix:/path".
	// It identifies the upstream.
	Addr string
	// Weight is the share of connections that it receives, in relation to the others. 0 is 1; the
	// maximum is 1000.
	Weight int
	// MaxConnections is the number of connections that it may have from this Relay. 0, like
	// transport.NoLimit, is no limit. Connections for which every upstream is full are refused.
	MaxConnections int
}

// Options are the settings of a [Relay]. The zero value of each field but Upstreams is its default.
type Options struct {
	// Upstreams are the servers: 1 to 1000, with different addresses.
	Upstreams []Upstream
	// Transport dials them, and its send timeout applies to them. nil is transport.TCP{}.
	// transport.TLS encrypts the connection to the upstream.
	Transport transport.Transport
	// DialTimeout limits each attempt to connect, with the PROXY header and the handshake of TLS. 0
	// is 5 s; negative values are refused.
	DialTimeout time.Duration
	// Attempts is the number of upstreams, one after the other, that are tried for a connection
	// until one can be connected to. 0 is 3; transport.NoLimit tries all. Nothing is sent twice:
	// the client's data is read afterwards.
	Attempts int
	// ProxyHeader is the version, 1 or 2, of the PROXY header that each upstream receives before
	// the data, with the addresses of the client, and the TLS of its connection in version 2. 0 is
	// none.
	ProxyHeader int

	Passive Passive
	Check   Check

	// DrainIdle is the time without traffic in both directions after which a connection ends once
	// its listener stops, as no response can be assumed to be in progress; connections with traffic
	// continue until the shutdown timeout. 0 is 1 s; transport.NoTimeout waits for the ends of the
	// streams.
	DrainIdle time.Duration

	// OnChange, if set, is called when an upstream becomes unusable, for either reason, or when
	// health checks succeed again. It must not block, and must not call methods of the Relay.
	OnChange func(UpstreamStats)
}

// Passive are the rules by which connections find that an upstream fails. A failure is an upstream
// that cannot be connected to, or that resets a connection on which it has sent nothing.
type Passive struct {
	// MaxFailures is the number of failures within Window after which the upstream is not used for
	// BackOff. After that time one more failure within Window is enough. If no other upstream is
	// left, it is used all the same. 0 is 3; transport.NoLimit never stops using an upstream.
	MaxFailures int
	// Window and BackOff are 10 s if they are 0. Negative values are refused.
	Window, BackOff time.Duration
}

// Check are the settings of health checks, which connect to each upstream and close the connection
// at once. With a PROXY header, they send one without addresses. TLS is not checked.
type Check struct {
	// Interval is the time between two checks. 0 is no checks; the minimum is 10 ms.
	Interval time.Duration
	// Timeout limits one check. 0 is DialTimeout; negative values are refused.
	Timeout time.Duration
	// Fall is the number of consecutive failed checks after which an upstream is not used, and Rise
	// that of successful ones after which it is used again. 0 is 3 and 2. At first all are used.
	Fall, Rise int
}

// Validate reports all fields with values that cannot be used, those of Transport included.
func (o Options) Validate() error {
	var f option.Faults
	if n := len(o.Upstreams); n < 1 || n > maxUpstreams {
		f.Bad("Upstreams", fmt.Sprintf("of length %d", n), fmt.Sprintf("1 to %d upstreams", maxUpstreams))
	}
	for i, u := range o.Upstreams {
		f.Add(o.checkUpstream(i, u))
	}
	if v, ok := o.Transport.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			f.Add(fmt.Errorf("option Transport: %w", err))
		}
	}
	if o.ProxyHeader < 0 || o.ProxyHeader > 2 {
		f.Bad("ProxyHeader", o.ProxyHeader, "the versions 1 and 2, and 0 for none")
	}
	if t := o.Transport; o.ProxyHeader > 0 && t != nil && t.Secure() {
		if _, ok := engine.StepsOf(t); !ok {
			f.Add(fmt.Errorf("option ProxyHeader: before the handshake of transport %s: %w", t.Name(), errors.ErrUnsupported))
		}
	}
	f.Positive("DialTimeout", o.DialTimeout, "0 for 5s")
	f.CountOrNoLimit("Attempts", o.Attempts, "0 for 3")
	f.CountOrNoLimit("Passive.MaxFailures", o.Passive.MaxFailures, "0 for 3")
	f.Positive("Passive.Window", o.Passive.Window, "0 for 10s")
	f.Positive("Passive.BackOff", o.Passive.BackOff, "0 for 10s")
	if d := o.Check.Interval; d != 0 && d < minInterval {
		f.Bad("Check.Interval", d, fmt.Sprintf("durations from %v, and 0 for no checks", minInterval))
	}
	f.Positive("Check.Timeout", o.Check.Timeout, "0 for DialTimeout")
	f.NotNegative("Check.Fall", o.Check.Fall, "0 for 3")
	f.NotNegative("Check.Rise", o.Check.Rise, "0 for 2")
	f.DurationOrNoTimeout("DrainIdle", o.DrainIdle, "0 for 1s")
	return f.Err()
}

const (
	minInterval = 10 * time.Millisecond
	maxWeight   = 1000
)

func (o Options) checkUpstream(i int, u Upstream) error {
	var f option.Faults
	field := func(name string) string { return fmt.Sprintf("Upstreams[%d].%s", i, name) }
	if usesAddrs(o.Transport) {
		switch network, _, err := transport.ParseAddr(u.Addr); {
		case u.Addr == "" || err == nil && network != "tcp" && network != "unix":
			f.Bad(field("Addr"), fmt.Sprintf("%q", u.Addr), `"host:port" and "unix:/path"`)
		case err != nil:
			f.Add(fmt.Errorf("option %s: %w", field("Addr"), err))
		}
	}
	if slices.IndexFunc(o.Upstreams, func(other Upstream) bool { return other.Addr == u.Addr }) < i {
		f.Bad(field("Addr"), fmt.Sprintf("%q", u.Addr), "addresses that no other upstream has")
	}
	if u.Weight < 0 || u.Weight > maxWeight {
		f.Bad(field("Weight"), u.Weight, fmt.Sprintf("the numbers 1 to %d, and 0 for 1", maxWeight))
	}
	f.CountOrNoLimit(field("MaxConnections"), u.MaxConnections, "0 for no limit")
	return f.Err()
}

// usesAddrs reports whether the addresses of t are those of transport.TCP.
func usesAddrs(t transport.Transport) bool {
	for {
		switch w := t.(type) {
		case nil, transport.TCP, *transport.TCP, transport.TLS, *transport.TLS:
			return true
		case transport.Unwrapper:
			t = w.Unwrap()
		default:
			return false
		}
	}
}

func (o Options) withDefaults() Options {
	if o.Transport == nil {
		o.Transport = transport.TCP{}
	}
	option.Default(&o.DialTimeout, 5*time.Second)
	option.Default(&o.Attempts, 3)
	option.Default(&o.Passive.MaxFailures, 3)
	option.Default(&o.Passive.Window, 10*time.Second)
	option.Default(&o.Passive.BackOff, 10*time.Second)
	option.Default(&o.Check.Timeout, o.DialTimeout)
	option.Default(&o.Check.Fall, 3)
	option.Default(&o.Check.Rise, 2)
	option.Default(&o.DrainIdle, time.Second)
	o.Upstreams = slices.Clone(o.Upstreams)
	for i := range o.Upstreams {
		u := &o.Upstreams[i]
		u.Weight = cmp.Or(u.Weight, 1)
		if u.MaxConnections <= 0 {
			u.MaxConnections = math.MaxInt
		}
	}
	return o
}
