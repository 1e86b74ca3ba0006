package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"goranch/protocol/session"
	"goranch/ranch/admin"
)

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fault error
		s := newTestServer(t, admin.Options{Reload: func(context.Context) ([]admin.Change, error) {
			if fault != nil {
				return nil, fault
			}
			return []admin.Change{
				{Key: "log-level", Before: "info", After: "debug", Effect: admin.Now},
				{Listener: "echo", Key: "acceptors", After: "20", Effect: admin.Resume},
				{Listener: "new", After: "tcp://127.0.0.1:1", Effect: admin.Added},
			}, nil
		}})
		c := s.client()
		want := "LISTENER  KEY        BEFORE  AFTER              EFFECT\n" +
			"          log-level  info    debug              changed now\n" +
			"echo      acceptors          20                 at resume\n" +
			"new                          tcp://127.0.0.1:1  added\n"
		if got := c.text("reload"); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		fault = errors.Join(errors.New("f.toml:1: first"), errors.New("f.toml:2: second"))
		if got := c.text("reload"); !strings.Contains(got, "was not changed") || !strings.Contains(got, "first") || !strings.Contains(got, "second") {
			t.Errorf("got %q, want both faults", got)
		}
		c.text("auth:viewer")
		if got := c.text("reload"); !strings.Contains(got, "requires the role operator") {
			t.Errorf("viewer: got %q, want an error that names the role", got)
		}
	})
}

// Current adds sessions and protected listeners while the server runs.
func TestCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var protected []string
		var sessions []admin.Sessions
		s := newTestServer(t, admin.Options{Protected: []string{"shell"}, Current: func() ([]string, []admin.Sessions) { return protected, sessions }})
		c := s.client()
		if got := c.text("sessions"); strings.Contains(got, "more") {
			t.Errorf("sessions: got %q, want none", got)
		}
		protected = []string{"echo"}
		sessions = []admin.Sessions{{Name: "more", Stats: func() session.Stats { return session.Stats{} }, List: func() []session.Info { return nil }}}
		if got := c.text("sessions"); !strings.Contains(got, "more") {
			t.Errorf("sessions: got %q, want those of Current", got)
		}
		if got := c.text("suspend all"); !strings.Contains(got, "selects no listener") {
			t.Errorf("suspend all: got %q, want no listener", got)
		}
	})
}
