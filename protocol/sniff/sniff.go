// Package sniff provides a protocol that serves several protocols on one port. It examines the
// first bytes of a connection, selects the protocol that they belong to, and passes the connection
// on, with these bytes unread.
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
// The protocol of an [Upgrade] may be the result of [New] too, to select a protocol inside TLS.
package sniff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"goranch/internal/engine"
	"goranch/internal/option"
	"goranch/protocol"
	"goranch/transport"
)

// ErrNoMatch is wrapped by the error of a connection for which no protocol was selected. It is
// [protocol.ErrBadInput], and also [os.ErrDeadlineExceeded] if the time limit has passed.
var ErrNoMatch = fmt.Errorf("%w: no protocol selected", protocol.ErrBadInput)

var errUndecided = errors.New("more bytes are needed")

// Rule assigns a protocol to the connections that match.
type Rule struct {
	// Name is used in errors. It may be empty.
	Name string
	// Match must not be nil.
	Match Match
	// Protocol must not be nil.
	Protocol protocol.Protocol
}

// Config are the settings of [New].
type Config struct {
	// Rules are evaluated in this order; the first that matches is used. A rule is evaluated when
	// all rules before it are decided. There must be at least one.
	Rules []Rule
	// Default serves connections that match no rule. nil ends them with [ErrNoMatch].
	Default protocol.Protocol
	// Silent serves connections on which nothing has arrived within Timeout, for protocols in which
	// the server sends first. nil ends them with [ErrNoMatch].
	Silent protocol.Protocol
	// MaxBytes is the number of bytes that are examined. 0 is 512; the maximum is
	// engine.MaxPeek. If a rule is undecided then, the connection ends with [ErrNoMatch].
	MaxBytes int
	// Timeout limits the time until a rule matches. 0 is 3 s; transport.NoTimeout, or any negative
	// value, is no limit, so that Silent is never used. If a rule is undecided at the limit, the
	// connection ends with [ErrNoMatch].
	Timeout time.Duration
}

func (c Config) withDefaults() Config {
	option.Default(&c.MaxBytes, 512)
	option.Default(&c.Timeout, 3*time.Second)
	return c
}

func (c Config) validate() error {
	var f option.Faults
	check := func(field string, p protocol.Protocol) {
		if v, ok := p.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				f.Add(fmt.Errorf("%s: %w", field, err))
			}
		}
	}
	if len(c.Rules) == 0 {
		f.Bad("Rules", "of length 0", "1 or more rules")
	}
	for i, r := range c.Rules {
		name := fmt.Sprintf("Rules[%d] %q", i, r.Name)
		if r.Match == nil {
			f.Bad(name+" Match", nil, "TLS(), HTTP1(), Prefix(…), and any other function")
		}
		if r.Protocol == nil {
			f.Bad(name+" Protocol", nil, "protocols other than nil")
		}
		check(name+" Protocol", r.Protocol)
	}
	check("Default", c.Default)
	check("Silent", c.Silent)
	if c.MaxBytes < 0 || c.MaxBytes > engine.MaxPeek {
		f.Bad("MaxBytes", c.MaxBytes, fmt.Sprintf("1 to %d, and 0 for 512", engine.MaxPeek))
	}
	return f.Err()
}

// mux is the protocol that New returns.
type mux struct{ Config }

var _ protocol.Drainer = (*mux)(nil)

// New returns a protocol that selects one of others by the first bytes of a connection. The error
// reports all fields that cannot be used, those of each [Upgrade] included.
//
// Serve returns the error of the selected protocol, [ErrNoMatch], or the error of the read. It
// resets the read deadline. A connection that is examined when its listener stops ends at once;
// later the stop is passed on to the selected protocol.
func New(c Config) (protocol.Protocol, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	c.Rules = append([]Rule(nil), c.Rules...)
	return &mux{c}, nil
}

func (m *mux) DrainsItself() {}

func (m *mux) Serve(ctx context.Context, conn *transport.Conn) error {
	p, err := m.selectProtocol(ctx, conn)
	if err != nil {
		return err
	}
	return serve(ctx, conn, p)
}

// serve calls p.Serve, and passes a stop on as the server would.
func serve(ctx context.Context, conn *transport.Conn, p protocol.Protocol) error {
	if _, ok := p.(protocol.Drainer); !ok {
		defer stopReadingWith(ctx, conn)()
	}
	return p.Serve(ctx, conn)
}

// stopReadingWith makes reads of conn fail when ctx is cancelled, until release is called.
func stopReadingWith(ctx context.Context, conn *transport.Conn) (release func() bool) {
	return context.AfterFunc(ctx, func() { conn.StopReading(context.Cause(ctx)) })
}

func (m *mux) selectProtocol(ctx context.Context, conn *transport.Conn) (protocol.Protocol, error) {
	defer stopReadingWith(ctx, conn)()
	if m.Timeout > 0 {
		conn.SetReadDeadline(time.Now().Add(m.Timeout))
		defer conn.SetReadDeadline(time.Time{})
	}
	var first []byte
	for {
		var err error
		first, err = conn.Peek(len(first) + 1)
		first = first[:min(len(first), m.MaxBytes)]
		if err != nil {
			return m.readFailed(first, err)
		}
		p, err := m.match(first, false)
		if err != errUndecided {
			return p, err
		}
		if len(first) == m.MaxBytes {
			return nil, noMatch("undecided after the maximum number of bytes", first)
		}
	}
}

func noMatch(why string, first []byte) error {
	return fmt.Errorf("%w: %s: %d bytes, beginning with %.16q", ErrNoMatch, why, len(first), first)
}

// readFailed handles the error of a read, before which first had arrived.
func (m *mux) readFailed(first []byte, err error) (protocol.Protocol, error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && len(first) > 0:
		return nil, fmt.Errorf("%w: %w", noMatch("undecided at the time limit", first), err)
	case errors.Is(err, os.ErrDeadlineExceeded) && m.Silent != nil:
		return m.Silent, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%w: the client has sent nothing: %w", ErrNoMatch, err)
	case err == io.EOF && len(first) > 0:
		return m.match(first, true)
	}
	return nil, err
}

// match evaluates the rules. The error is errUndecided if a rule needs more bytes. At the end of
// input such a rule does not match.
func (m *mux) match(first []byte, eof bool) (protocol.Protocol, error) {
	for _, r := range m.Rules {
		switch match, more := r.Match(first); {
		case match:
			return r.Protocol, nil
		case more && !eof:
			return nil, errUndecided
		}
	}
	if m.Default != nil {
		return m.Default, nil
	}
	return nil, noMatch("no rule matches", first)
}
