package shell

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"goranch/ranch"
	"goranch/transport"
)

// The login phase ends when the client has a role other than Guest: at once, or by auth.
func TestLoginPhase(t *testing.T) {
	for _, c := range []struct {
		name string
		role Role
		want int // in the login phase before auth
	}{
		{"guest", Guest, 1},
		{"viewer", Viewer, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newTestServer(t, Options{
					Authenticate: func(context.Context, *transport.Conn) (User, error) { return User{"ann", c.role}, nil },
					Token: func(context.Context, *transport.Conn, string) (User, error) {
						return User{"ann", Operator}, nil
					},
				})
				if _, err := srv.l.ChangeOptions(func(o *ranch.Options) { o.LoginTimeout = 30 * time.Second }); err != nil {
					t.Fatal(err)
				}
				client, other := srv.dial(), srv.dial()
				if got := srv.l.Info().Unestablished; got != 2*c.want {
					t.Errorf("before auth: got %d in the login phase, want %d", got, 2*c.want)
				}
				client.ask("auth:secret", "ann, operator")
				if got := srv.l.Info().Unestablished; got != c.want {
					t.Errorf("after auth: got %d in the login phase, want %d", got, c.want)
				}
				client.SetDeadline(time.Time{})
				other.SetDeadline(time.Time{})
				time.Sleep(time.Minute)
				client.ask("echo x", "x")
				if got := srv.l.Info().AllConnections; got != 2-c.want {
					t.Errorf("after a minute: got %d connections, want %d", got, 2-c.want)
				}
			})
		})
	}
}
