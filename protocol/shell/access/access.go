// Package access says who is at the other end of a shell's connection, and what they may do.
//
// There are three ways to know: the kernel vouches for the peer of a Unix socket ([Peer]), a
// certificate authority for the client of a TLS connection ([Certificates]), and whoever
// presents a token is who the token was made for ([Tokens]). [Combine] asks several in turn:
//
//	peer, err := access.Peer(access.PeerOptions{Viewers: []string{"group:adm"}})
//	…
//	tokens, err := access.OpenTokens(access.TokenOptions{File: "/etc/ranchd/tokens"})
//	…
//	go tokens.Run(ctx) // follows the file
//	opts := shell.Options{
//		Authenticate: access.Combine(peer, access.Anyone(shell.Guest)),
//		Token:        tokens.Token,
//	}
//
// A Guest may do nothing but present a token. Before a shell is served, [CheckListen] tells
// whether strangers could reach it without any of this.
//
// # Errors
//
// Who is refused gets an error that wraps [ErrDenied], or [ErrTooManyAttempts]. Their texts are
// meant for the client as well: they name the client, and nothing of what is configured.
// Errors of configuration wrap [ErrBadOption] or [ErrBadTokenFile], and never show a
// secret, nor what might be one in the wrong place.
package access

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"goranch/protocol/shell"
	"goranch/transport"
)

var (
	// ErrDenied is wrapped by the error for a client that is known to have no access, or not known at all.
	ErrDenied = errors.New("access denied")
	// ErrNotApplicable is wrapped by the error of an [Authenticator] that cannot tell: the
	// connection is not of its kind. [Combine] then asks the next.
	ErrNotApplicable = errors.New("this way to authenticate does not apply to the connection")
	// ErrTooManyAttempts is wrapped by the error for an address that has to wait; see [WaitError].
	ErrTooManyAttempts = errors.New("too many failed attempts")
	// ErrBadOption is wrapped by the error for an option that cannot be used.
	ErrBadOption = errors.New("bad option")
	// ErrBadTokenFile is wrapped by the error for a file of tokens that cannot be used.
	ErrBadTokenFile = errors.New("not a file of tokens")
	// ErrExposed is wrapped by the error for an address on which a shell would be open to strangers.
	ErrExposed = errors.New("the shell would be open to strangers")
)

// Authenticator says who is at the other end of a connection, by what is known when it has
// been made. It fits the field Authenticate of the shell's options. It may be called from any goroutine.
//
// Its error wraps [ErrNotApplicable] if it cannot tell, and ErrDenied, or that of the system, if
// the connection is to be refused.
type Authenticator func(ctx context.Context, conn *transport.Conn) (shell.User, error)

// Combine returns an Authenticator that asks each in turn, until one can tell. What that one
// says holds, also if it refuses: who is refused by one is not asked by the next. If none can tell, the
// connection is refused; end the list with [Anyone] to let it in.
func Combine(list ...Authenticator) Authenticator {
	return func(ctx context.Context, conn *transport.Conn) (shell.User, error) {
		for _, a := range list {
			if err := ctx.Err(); err != nil {
				return shell.User{}, context.Cause(ctx)
			}
			user, err := a(ctx, conn)
			if err == nil {
				return user, nil
			}
			if !errors.Is(err, ErrNotApplicable) {
				return shell.User{}, err
			}
		}
		return shell.User{}, fmt.Errorf("%w: nothing tells who %s is", ErrDenied, nameOf(conn))
	}
}

// Anyone returns an Authenticator that takes anyone, under the name of their address. With
// shell.Guest they may present a token, and nothing else.
func Anyone(role shell.Role) Authenticator {
	return func(_ context.Context, conn *transport.Conn) (shell.User, error) {
		return shell.User{Name: nameOf(conn), Role: role}, nil
	}
}

// nameOf returns the address of the peer. Clients of Unix sockets mostly have none.
func nameOf(conn *transport.Conn) string {
	addr := conn.RemoteAddr()
	if addr == nil {
		return "unknown"
	}
	if name := addr.String(); name != "" && name != "@" {
		return printable(name)
	}
	return addr.Network()
}

// printable returns s, quoted if it could forge a line of a log or move a terminal's cursor.
func printable(s string) string {
	if q := strconv.Quote(s); q[1:len(q)-1] != s {
		return q
	}
	return s
}

// faults collects what is wrong with options.
type faults []error

func (f *faults) add(format string, args ...any) {
	*f = append(*f, fmt.Errorf("%w %s", ErrBadOption, fmt.Sprintf(format, args...)))
}
