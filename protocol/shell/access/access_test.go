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
	conn := from(t, ip("192.0.2.1"))
	asked := ""
	way := func(name string, err error) Authenticator {
		return func(context.Context, *transport.Conn) (shell.User, error) {
			asked += name
			if err != nil {
				return shell.User{Name: "nobody", Role: shell.Operator}, err // a faulty one: the error counts
			}
			return shell.User{Name: name, Role: shell.Viewer}, nil
		}
	}
	skip := way("s", fmt.Errorf("%w: why", ErrNotApplicable))
	refuse := way("r", fmt.Errorf("%w: why", ErrDenied))
	broken := way("b", errors.New("broken"))
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("ended"))
	for _, c := range []struct {
		name  string
		ctx   context.Context
		list  []Authenticator
		want  answer
		asked string
	}{
		{"none", t.Context(), nil, answer{Err: "access denied: nothing tells who 192.0.2.1:4000 is"}, ""},
		{"none can tell", t.Context(), []Authenticator{skip, skip}, answer{Err: "access denied: nothing tells who 192.0.2.1:4000 is"}, "ss"},
		{"the first that can tell", t.Context(), []Authenticator{skip, way("x", nil), way("y", nil)}, answer{User: shell.User{Name: "x", Role: shell.Viewer}}, "sx"},
		{"a refusal holds", t.Context(), []Authenticator{skip, refuse, way("y", nil)}, answer{Err: "access denied: why"}, "sr"},
		{"so does a fault", t.Context(), []Authenticator{broken, way("y", nil)}, answer{Err: "broken"}, "b"},
		{"anyone", t.Context(), []Authenticator{skip, Anyone(shell.Guest)}, answer{User: shell.User{Name: "192.0.2.1:4000"}}, "s"},
		{"the end", ended, []Authenticator{way("x", nil)}, answer{Err: "ended"}, ""},
	} {
		asked = ""
		got := answerOf(Combine(c.list...)(c.ctx, conn))
		if diff := cmp.Diff(c.want, got); diff != "" || asked != c.asked {
			t.Errorf("%s: asked %q, want %q\n%s", c.name, asked, c.asked, diff)
		}
	}
}

func TestAnyone(t *testing.T) {
	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{ip("2001:db8::1"), "[2001:db8::1]:4000"},
		{&net.UnixAddr{Net: "unix"}, "unix"},
		{&net.UnixAddr{Net: "unix", Name: "@"}, "unix"},
		{&net.UnixAddr{Net: "unix", Name: "/tmp/a\nuid 0"}, `"/tmp/a\nuid 0"`},
		{nil, "unknown"},
	} {
		user, err := Anyone(shell.Viewer)(t.Context(), from(t, c.addr))
		if want := (shell.User{Name: c.want, Role: shell.Viewer}); user != want || err != nil {
			t.Errorf("%v: %+v, %v, want %+v", c.addr, user, err, want)
		}
	}
}

// They fit the fields of the shell's options.
var (
	_ func(context.Context, *transport.Conn) (shell.User, error)         = Combine()
	_ func(context.Context, *transport.Conn, string) (shell.User, error) = new(Tokens).Token
)
