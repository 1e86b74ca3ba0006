package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/shell"
	"goranch/transport"
)

func TestCombine(t *testing.T) {
	conn := connFrom(t, tcpAddr("192.0.2.1"))
	called := ""
	auth := func(name string, err error) Authenticator {
		return func(context.Context, *transport.Conn) (shell.User, error) {
			called += name
			if err != nil {
				return shell.User{Name: "x", Role: shell.Operator}, err // must be ignored
			}
			return shell.User{Name: name, Role: shell.Viewer}, nil
		}
	}
	skip := auth("s", fmt.Errorf("%w: reason", ErrNotApplicable))
	refuse := auth("r", fmt.Errorf("%w: reason", ErrDenied))
	failing := auth("b", errors.New("failed"))
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("ended"))
	for _, c := range []struct {
		name   string
		ctx    context.Context
		list   []Authenticator
		want   result
		called string
	}{
		{"none", t.Context(), nil, result{Err: "access denied: 192.0.2.1:4000 cannot be identified"}, ""},
		{"none applicable", t.Context(), []Authenticator{skip, skip}, result{Err: "access denied: 192.0.2.1:4000 cannot be identified"}, "ss"},
		{"first applicable", t.Context(), []Authenticator{skip, auth("x", nil), auth("y", nil)}, result{User: shell.User{Name: "x", Role: shell.Viewer}}, "sx"},
		{"refusal is final", t.Context(), []Authenticator{skip, refuse, auth("y", nil)}, result{Err: "access denied: reason"}, "sr"},
		{"error is final", t.Context(), []Authenticator{failing, auth("y", nil)}, result{Err: "failed"}, "b"},
		{"anyone", t.Context(), []Authenticator{skip, Anyone(shell.Guest)}, result{User: shell.User{Name: "192.0.2.1:4000"}}, "s"},
		{"context ended", ended, []Authenticator{auth("x", nil)}, result{Err: "ended"}, ""},
	} {
		called = ""
		got := resultOf(Combine(c.list...)(c.ctx, conn))
		if diff := cmp.Diff(c.want, got); diff != "" || called != c.called {
			t.Errorf("%s: got calls %q, want %q; result (-want +got):\n%s", c.name, called, c.called, diff)
		}
	}
}

func TestAnyone(t *testing.T) {
	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{tcpAddr("2001:db8::1"), "[2001:db8::1]:4000"},
		{&net.UnixAddr{Net: "unix"}, "unix"},
		{&net.UnixAddr{Net: "unix", Name: "@"}, "unix"},
		{&net.UnixAddr{Net: "unix", Name: "/tmp/a\nuid 0"}, `/tmp/a\u000auid 0`},
		{nil, "unknown"},
	} {
		user, err := Anyone(shell.Viewer)(t.Context(), connFrom(t, c.addr))
		if want := (shell.User{Name: c.want, Role: shell.Viewer}); user != want || err != nil {
			t.Errorf("%v: got %+v and error %v, want %+v", c.addr, user, err, want)
		}
	}
}

// The functions have the types of the fields of shell.Options.
var (
	_ func(context.Context, *transport.Conn) (shell.User, error)         = Combine()
	_ func(context.Context, *transport.Conn, string) (shell.User, error) = new(Tokens).Token
)
