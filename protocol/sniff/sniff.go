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
//
// TLS need not end here: [TLSRoutes], [SNI] and [ALPN] examine the ClientHello, so that the
// selected protocol can forward the connection, and the handshake is between the client and another
// server.
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
	// Match selects Protocol.
	Match Match
	// Protocol serves the connections that match.
	Protocol protocol.Protocol
	// Select is set instead of Match and Protocol if the rule has more than one protocol, as
	// [TLSRoutes] and [Table] have.
	Select Select
}

// selectProtocol evaluates Select, or Match and Protocol.
func (r Rule) selectProtocol(conn *transport.Conn, first []byte) (p protocol.Protocol, more bool) {
	if r.Select != nil {
		return r.Select(conn, first)
	}
	match, more := r.Match(first)
	if !match {
		return nil, more
	}
	return r.Protocol, false
}

// Config are the settings of [New].
type Config struct {
	// Rules are evaluated in this order; the first that matches is used. A rule is evaluated when
	// all rules before it are decided. There must be at least one.
	Rules []Rule
	// Default serves connections that match no rule. nil ends them with [ErrNoMatch].
	Default protocol.Protocol
	// Silent serves connections on which nothing has arrived within SilentAfter, for protocols in
	// which the server sends first, such as MySQL, SMTP and FTP. nil ends them with [ErrNoMatch].
	Silent protocol.Protocol
	// SilentAfter is the time after which Silent is used. 0, and more than Timeout, is Timeout. A
	// client of another protocol that is slower is served by Silent too.
	SilentAfter time.Duration
	// MaxBytes is the number of bytes that are examined, and the most that a client can make the
	// protocol keep: the buffer grows with what has arrived. 0 is 32 KiB, enough for a ClientHello
	// with 16 KiB of extensions; the maximum is 64 KiB. If a rule is undecided then, the connection
	// ends with [ErrNoMatch].
	MaxBytes int
	// Timeout limits the time until a protocol is selected, however many pieces arrive. 0 is 3 s;
	// transport.NoTimeout, or any negative value, is no limit. If a rule is undecided at the limit,
	// the connection ends with [ErrNoMatch].
	Timeout time.Duration
}

const defaultBytes = 32 << 10

func (c Config) withDefaults() Config {
	option.Default(&c.MaxBytes, defaultBytes)
	option.Default(&c.Timeout, 3*time.Second)
	if c.SilentAfter == 0 || c.Timeout > 0 && c.SilentAfter > c.Timeout {
		c.SilentAfter = c.Timeout
	}
	return c
}

func (c Config) validate() error {
	var f option.Faults
	if len(c.Rules) == 0 {
		f.Bad("Rules", "of length 0", "1 or more rules")
	}
	for i, r := range c.Rules {
		r.validate(&f, fmt.Sprintf("Rules[%d] %q", i, r.Name))
	}
	validateProtocol(&f, "Default", c.Default, false)
	validateProtocol(&f, "Silent", c.Silent, false)
	f.Positive("SilentAfter", c.SilentAfter, "0 for Timeout")
	if c.MaxBytes < 0 || c.MaxBytes > engine.MaxPeek {
		f.Bad("MaxBytes", c.MaxBytes, fmt.Sprintf("1 to %d, and 0 for %d", engine.MaxPeek, defaultBytes))
	}
	return f.Err()
}

func (r Rule) validate(f *option.Faults, field string) {
	if r.Select != nil {
		if r.Match != nil || r.Protocol != nil {
			f.Bad(field+" Select", "with Match or Protocol", "Select alone, and Match with Protocol")
		}
		return
	}
	if r.Match == nil {
		f.Bad(field+" Match", nil, "TLS(), HTTP1(), Prefix(…), and any other function")
	}
	validateProtocol(f, field+" Protocol", r.Protocol, true)
}

// validateProtocol adds the faults of p.
func validateProtocol(f *option.Faults, field string, p protocol.Protocol, required bool) {
	if p == nil && required {
		f.Bad(field, nil, "protocols other than nil")
	}
	if v, ok := p.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			f.Add(fmt.Errorf("%s: %w", field, err))
		}
	}
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

// examination is the state of one connection until its protocol is selected.
type examination struct {
	*mux
	conn  *transport.Conn
	first []byte // what has arrived, at most MaxBytes
	rule  int    // the rules before this one do not match
}

func (m *mux) selectProtocol(ctx context.Context, conn *transport.Conn) (protocol.Protocol, error) {
	defer stopReadingWith(ctx, conn)()
	x := examination{mux: m, conn: conn}
	begin, limit := time.Now(), m.Timeout
	if m.Silent != nil {
		limit = m.SilentAfter
	}
	if limit > 0 || m.Timeout > 0 {
		setReadLimit(conn, begin, limit)
		defer conn.SetReadDeadline(time.Time{})
	}
	for {
		first, err := conn.Peek(len(x.first) + 1)
		if len(x.first) == 0 && len(first) > 0 && limit != m.Timeout {
			setReadLimit(conn, begin, m.Timeout)
		}
		x.first = first[:min(len(first), m.MaxBytes)]
		if err != nil {
			return x.readFailed(err)
		}
		p, err := x.match(false)
		if err != errUndecided {
			return p, err
		}
		if len(x.first) == m.MaxBytes {
			return nil, noMatch("undecided after the maximum number of bytes", x.first)
		}
	}
}

func setReadLimit(conn *transport.Conn, begin time.Time, limit time.Duration) {
	if limit > 0 {
		conn.SetReadDeadline(begin.Add(limit))
	} else {
		conn.SetReadDeadline(time.Time{})
	}
}

func noMatch(why string, first []byte) error {
	return fmt.Errorf("%w: %s: %s", ErrNoMatch, why, beginning(first))
}

// beginning describes the first bytes of a connection for an error.
func beginning(first []byte) string {
	if h, _ := ParseClientHello(first); h != nil {
		return fmt.Sprintf("a ClientHello of %d bytes, server name %.64q", len(first), h.ServerName)
	}
	return fmt.Sprintf("%d bytes, beginning with %.16q", len(first), first)
}

// readFailed handles the error of a read.
func (x *examination) readFailed(err error) (protocol.Protocol, error) {
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case timeout && len(x.first) > 0:
		return nil, fmt.Errorf("%w: %w", noMatch("undecided at the time limit", x.first), err)
	case timeout && x.Silent != nil:
		return x.Silent, nil
	case timeout:
		return nil, fmt.Errorf("%w: the client has sent nothing: %w", ErrNoMatch, err)
	case err == io.EOF && len(x.first) > 0:
		return x.match(true)
	}
	return nil, err
}

// match evaluates the rules from the first that is undecided. The error is errUndecided if a rule
// needs more bytes. At the end of input, the result of a rule for the bytes so far is used.
func (x *examination) match(eof bool) (protocol.Protocol, error) {
	for ; x.rule < len(x.Rules); x.rule++ {
		switch p, more := x.Rules[x.rule].selectProtocol(x.conn, x.first); {
		case more && !eof:
			return nil, errUndecided
		case p != nil:
			return p, nil
		}
	}
	if x.Default != nil {
		return x.Default, nil
	}
	return nil, noMatch("no rule matches", x.first)
}
