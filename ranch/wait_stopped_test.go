package ranch_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"goranch/ranch"
	"goranch/transport"
)

// A wait for connections ends when the listener does, and says how that has ended.
func TestWaitForConnectionsEndsWithTheListener(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(l *ranch.Listener) error
		want string
	}{
		"stopped":  {(*ranch.Listener).Stop, "by Stop"},
		"drained":  {func(l *ranch.Listener) error { return l.Drain(context.Background()) }, "by Drain"},
		"replaced": {replace, "by Stop"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const ref = "waiting"
				l, err := ranch.StartListener(ref, new(transport.Mem), ranch.Options{Addr: "a", Logger: discardLogger}, greetAndEcho)
				if err != nil {
					t.Fatal(err)
				}
				defer ranch.StopListener(ref)
				more, none := make(chan error, 1), make(chan error, 1)
				go func() { more <- ranch.WaitForConnections(t.Context(), ref, ranch.GreaterEqual, 5) }()
				go func() { none <- ranch.WaitForConnections(t.Context(), ref, ranch.Less, 0) }()
				synctest.Wait()
				if err := c.end(l); err != nil {
					t.Fatal(err)
				}
				for _, done := range []chan error{more, none} {
					if err := <-done; !errors.Is(err, ranch.ErrStopped) || !strings.Contains(err.Error(), c.want) {
						t.Errorf("got %v, want an error that is %v and says %q", err, ranch.ErrStopped, c.want)
					}
				}
			})
		})
	}
}

// replace stops l and starts another listener under its name, which may be before a goroutine that
// waits has run; its error then says so too.
func replace(l *ranch.Listener) error {
	if err := l.Stop(); err != nil {
		return err
	}
	_, err := ranch.StartListener(l.Ref(), new(transport.Mem), ranch.Options{Addr: "a", Logger: discardLogger}, greetAndEcho)
	return err
}

// The number that is waited for counts if it is reached when the listener ends.
func TestWaitForNoConnectionsSurvivesStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l, err := new(ranch.Server).StartListener("a", mem, ranch.Options{Addr: "a", Logger: discardLogger}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := mem.Dial(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := l.WaitForConnections(t.Context(), ranch.Equal, 1); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.WaitForConnections(t.Context(), ranch.Equal, 0) }()
		synctest.Wait()
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
}
