// Package sniff serves several protocols on one port: it looks at the first bytes of a
// connection, and has it served by the protocol that they belong to, which reads them
// again.
//
//	secure := &sniff.Upgrade{To: transport.TLS{Config: config}, Protocol: web}
//	mux, err := sniff.New(sniff.Config{
//		Rules: []sniff.Rule{
//			{Name: "tls", Match: sniff.TLS(), Protocol: secure},
//			{Name: "http", Match: sniff.HTTP1(), Protocol: web},
//			{Name: "ssh", Match: sniff.SSH(), Protocol: ssh},
//		},
//		Default: echo.Protocol{},
//	})
//	…
//	ranch.StartListener("all", transport.TCP{}, opts, mux)
//
// A [Mux] is a protocol, and so may be the protocol of an [Upgrade], to tell apart what is
// spoken inside TLS.
package sniff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"goranch/internal/engine"
	"goranch/protocol"
	"goranch/transport"
)

// Defaults of [Config].
const (
	DefaultMaxBytes = 512
	DefaultTimeout  = 3 * time.Second
)

// How connections end that get no protocol. The first two are also
// [os.ErrDeadlineExceeded] to errors.Is.
var (
	ErrSilent    = badInput("the client has sent nothing in time")
	ErrTooSlow   = badInput("the client has not sent enough in time to tell what it speaks")
	ErrTooMuch   = badInput("the first bytes do not tell what the client speaks")
	ErrNoMatch   = badInput("the client speaks none of the protocols here")
	ErrBadConfig = errors.New("bad configuration") // what [New] returns
	errUndecided = errors.New("undecided")
)

func badInput(text string) error { return fmt.Errorf("%w: %s", protocol.ErrBadInput, text) }

// Rule gives what Match says yes to to Protocol.
type Rule struct {
	// Name is for errors; "" is fine.
	Name string
	// Match must not be nil.
	Match Match
	// Protocol must not be nil.
	Protocol protocol.Protocol
}

// Config is what a [Mux] is made of.
type Config struct {
	// Rules are asked in this order. The first that says yes counts; it has to wait
	// for those before it that need more. There must be at least one.
	Rules []Rule
	// Default serves what all rules say no to. nil ends it with [ErrNoMatch].
	Default protocol.Protocol
	// Silent serves clients that have sent nothing when Timeout has passed: those of
	// protocols in which the server speaks first. nil ends them with [ErrSilent].
	Silent protocol.Protocol
	// MaxBytes is how many bytes are looked at. 0 is 512; at most 64 KiB. When
	// so many have come and some rule needs more, the connection ends with [ErrTooMuch].
	MaxBytes int
	// Timeout is how long a client has to send what the rules need. 0 is 3 s; a negative
	// one means no limit, so that Silent is never served. A client that has sent
	// something, but not enough, ends with [ErrTooSlow].
	Timeout time.Duration
}

func (c Config) validate() error {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrBadConfig}, args...)...))
	}
	check := func(field string, p protocol.Protocol) {
		if v, ok := p.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				bad("%s: %w", field, err)
			}
		}
	}
	if len(c.Rules) == 0 {
		bad("Rules: none; at least one is needed")
	}
	for i, r := range c.Rules {
		if r.Match == nil {
			bad("Rules[%d] %q: Match nil: use TLS(), HTTP1(), Prefix(…) or a function of your own", i, r.Name)
		}
		if r.Protocol == nil {
			bad("Rules[%d] %q: Protocol nil: a rule needs one", i, r.Name)
		}
		check(fmt.Sprintf("Rules[%d] %q: Protocol", i, r.Name), r.Protocol)
	}
	check("Default", c.Default)
	check("Silent", c.Silent)
	if c.MaxBytes < 0 || c.MaxBytes > engine.MaxPeek {
		bad("MaxBytes %d: allowed are 1 to %d, and 0 for %d", c.MaxBytes, engine.MaxPeek, DefaultMaxBytes)
	}
	return errors.Join(faults...)
}

// Mux is a [protocol.Protocol] that passes connections on to others. A connection whose
// listener stops while it is being looked at ends; afterwards its protocol is told.
type Mux struct{ c Config }

var _ protocol.Drainer = (*Mux)(nil)

// New returns a Mux, or every fault of c, joined; each is [ErrBadConfig].
func New(c Config) (*Mux, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	c.Rules = append([]Rule(nil), c.Rules...)
	return &Mux{c}, nil
}

// DrainsItself makes it a [protocol.Drainer]: it tells those that are none.
func (m *Mux) DrainsItself() {}

// Serve finds the protocol of conn and has it served. Its error is the protocol's, or one
// of this package, or that of the read that failed. The read deadline of conn is none afterwards.
func (m *Mux) Serve(ctx context.Context, conn *transport.Conn) error {
	p, err := m.find(ctx, conn)
	if err != nil {
		return err
	}
	return pass(ctx, conn, p)
}

// pass has p serve conn, and tells it to end as the server would.
func pass(ctx context.Context, conn *transport.Conn, p protocol.Protocol) error {
	if _, ok := p.(protocol.Drainer); !ok {
		defer stopWith(ctx, conn)()
	}
	return p.Serve(ctx, conn)
}

// stopWith stops reading from conn when ctx ends, until it is called off.
func stopWith(ctx context.Context, conn *transport.Conn) (callOff func() bool) {
	return context.AfterFunc(ctx, func() { conn.StopReading(context.Cause(ctx)) })
}

func (m *Mux) find(ctx context.Context, conn *transport.Conn) (protocol.Protocol, error) {
	defer stopWith(ctx, conn)()
	if m.c.Timeout > 0 {
		conn.SetReadDeadline(time.Now().Add(m.c.Timeout))
		defer conn.SetReadDeadline(time.Time{})
	}
	var first []byte
	for {
		var err error
		first, err = conn.Peek(len(first) + 1)
		first = first[:min(len(first), m.c.MaxBytes)]
		if err != nil {
			return m.ended(first, err)
		}
		p, err := m.decide(first, false)
		if err != errUndecided {
			return p, err
		}
		if len(first) == m.c.MaxBytes {
			return nil, fmt.Errorf("%w: %d bytes, beginning with %.16q", ErrTooMuch, len(first), first)
		}
	}
}

// ended decides by what has come before the read failed.
func (m *Mux) ended(first []byte, err error) (protocol.Protocol, error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && len(first) > 0:
		return nil, fmt.Errorf("%w: %d bytes, beginning with %.16q: %w", ErrTooSlow, len(first), first, err)
	case errors.Is(err, os.ErrDeadlineExceeded) && m.c.Silent != nil:
		return m.c.Silent, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%w: %w", ErrSilent, err)
	case err == io.EOF && len(first) > 0:
		return m.decide(first, true)
	}
	return nil, err
}

// decide asks the rules. The error is errUndecided if one needs more; if nothing more will
// come, such a one says no.
func (m *Mux) decide(first []byte, all bool) (protocol.Protocol, error) {
	for _, r := range m.c.Rules {
		switch v := r.Match(first); {
		case v == Yes:
			return r.Protocol, nil
		case v == More && !all:
			return nil, errUndecided
		}
	}
	if m.c.Default != nil {
		return m.c.Default, nil
	}
	return nil, fmt.Errorf("%w: it begins with %.16q", ErrNoMatch, first)
}
