// Package access provides authentication for the shell: it determines the user of a connection and
// the user's role.
//
// [Peer] identifies local users by the kernel's credentials of a Unix socket, [Certificates]
// clients by a verified TLS certificate, and [Tokens] clients by a secret token. [Combine] tries
// several in order:
//
//	peer, err := access.Peer(access.Rules{Viewers: []string{"group:adm"}})
//	…
//	tokens, err := access.OpenTokens(access.TokenOptions{File: "/etc/ranchd/tokens"})
//	…
//	go tokens.Run(ctx) // reloads the file when it changes
//	opts := shell.Options{
//		Authenticate: access.Combine(peer, access.Anyone(shell.Guest)),
//		Token:        tokens.Token,
//	}
//
// A Guest can only present a token. [CheckListen] refuses listener addresses on which
// unauthenticated clients of other hosts could use a shell.
//
// Errors for a refused client wrap [ErrDenied], or say how long to wait after too many invalid
// tokens. Their texts may be sent to the client: they name the client and nothing of the
// configuration. Errors about options and files never contain a secret, nor text that may be a
// secret in the wrong place.
package access

import (
	"context"
	"errors"
	"fmt"

	"goranch/internal/termtext"
	"goranch/protocol/shell"
	"goranch/transport"
)

var (
	// ErrDenied is wrapped by the error for a client that has no access or is unknown.
	ErrDenied = errors.New("access denied")
	// ErrNotApplicable is wrapped by the error of an [Authenticator] that cannot identify this kind
	// of connection. [Combine] then tries the next one.
	ErrNotApplicable = errors.New("authentication method not applicable")
)

// Rules assign roles to the clients that [Peer] or [Certificates] has identified. A client that
// matches rules of both roles is an Operator.
type Rules struct {
	Viewers, Operators []string
	// AdmitOthers makes clients that match no rule Guests, who can present a token, instead of
	// refusing them.
	AdmitOthers bool
}

// Authenticator returns the user of a new connection. It can be used as shell.Options.Authenticate
// and must be safe for concurrent use. Its error wraps [ErrNotApplicable] if it cannot identify the
// client; with any other error the connection is refused.
type Authenticator func(ctx context.Context, conn *transport.Conn) (shell.User, error)

// Combine returns an Authenticator that calls each in order until one is applicable, whose result,
// including a refusal, is final. If none is applicable the connection is refused with ErrDenied.
// Put [Anyone] last to admit such clients.
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
		return shell.User{}, fmt.Errorf("%w: %s cannot be identified", ErrDenied, nameOf(conn))
	}
}

// Anyone returns an Authenticator that admits every client with the role, named by its address.
func Anyone(role shell.Role) Authenticator {
	return func(_ context.Context, conn *transport.Conn) (shell.User, error) {
		return shell.User{Name: nameOf(conn), Role: role}, nil
	}
}

// withRole returns the user, or refuses it if it is a Guest and others are not admitted.
func withRole(u shell.User, admitOthers bool) (shell.User, error) {
	if u.Role == shell.Guest && !admitOthers {
		return shell.User{}, fmt.Errorf("%w: %s has no role", ErrDenied, u.Name)
	}
	return u, nil
}

// nameOf returns the address of the client. Most clients of Unix sockets have none.
func nameOf(conn *transport.Conn) string {
	addr := conn.RemoteAddr()
	if addr == nil {
		return "unknown"
	}
	if name := addr.String(); name != "" && name != "@" {
		return termtext.Line(name)
	}
	return addr.Network()
}
