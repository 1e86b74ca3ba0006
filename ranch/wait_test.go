package ranch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"goranch/ranch"
)

// Each operator with the counts 0 to 4: a condition that holds ends the wait at once.
func TestWaitForConnectionsByEveryOperator(t *testing.T) {
	for _, c := range []struct {
		op ranch.Op
		ok func(count int) bool // for n = 2
	}{
		{ranch.Less, func(c int) bool { return c < 2 }},
		{ranch.LessEqual, func(c int) bool { return c <= 2 }},
		{ranch.Equal, func(c int) bool { return c == 2 }},
		{ranch.GreaterEqual, func(c int) bool { return c >= 2 }},
		{ranch.Greater, func(c int) bool { return c > 2 }},
	} {
		t.Run(string(c.op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fakeTransport)
				l, _ := startListener(t, f, ranch.Options{}, greetAndEcho)
				for count := range 5 {
					if count > 0 {
						servedClients(t, f, dialAddr(l), 1)
					}
					ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errTest)
					defer cancel()
					err := l.WaitForConnections(ctx, c.op, 2)
					if c.ok(count) && err != nil || !c.ok(count) && !errors.Is(err, errTest) {
						t.Errorf("%d %s 2: got %v, want success %v", count, c.op, err, c.ok(count))
					}
				}
			})
		})
	}
}

// Changes wake the waits, up and down.
func TestWaitForConnectionsIsWoken(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		l, _, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		wait := func(op ranch.Op, n int) <-chan error {
			done := make(chan error, 1)
			go func() { done <- l.WaitForConnections(testContext(t), op, n) }()
			return done
		}
		more, exactly := wait(ranch.Greater, 2), wait(ranch.Equal, 3)
		in := m.servedClients(t, l, 3)
		for _, done := range []<-chan error{more, exactly} {
			if err := receive(t, "a wait for more connections ends", done); err != nil {
				t.Error(err)
			}
		}
		fewer, none := wait(ranch.Less, 3), wait(ranch.LessEqual, 0)
		for _, v := range in {
			v.close()
		}
		for _, done := range []<-chan error{fewer, none} {
			if err := receive(t, "a wait for fewer connections ends", done); err != nil {
				t.Error(err)
			}
		}
	})
}

// No count is missed, however short it lasts: a wait for each count on the way ends, although
// connections start without a pause.
func TestWaitForConnectionsMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		f := new(fakeTransport)
		l, _ := startListener(t, f, ranch.Options{}, greetAndEcho)
		woken := make(chan error, n)
		for i := 1; i <= n; i++ {
			go func() { woken <- l.WaitForConnections(testContext(t), ranch.Equal, i) }()
		}
		synctest.Wait()
		servedClients(t, f, dialAddr(l), n)
		for range n {
			if err := <-woken; err != nil {
				t.Error(err)
			}
		}
	})
}

// The end of the context ends the wait, with its cause.
func TestWaitForConnectionsEndsWithItsContext(t *testing.T) {
	l, _ := startListener(t, new(fakeTransport), ranch.Options{}, greetAndEcho)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.WaitForConnections(ctx, ranch.Greater, 0) }()
	cancel(errTest)
	if err := receive(t, "the wait ends", done); !errors.Is(err, errTest) {
		t.Errorf("got %v, want %v", err, errTest)
	}
	if err := l.WaitForConnections(cancelledContext, ranch.Greater, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: got %v, want %v", err, context.Canceled)
	}
	if err := l.WaitForConnections(cancelledContext, ranch.Equal, 0); err != nil {
		t.Errorf("condition that holds: got %v, want nil", err)
	}
}

// An unknown operator is a bad option.
func TestWaitForConnectionsRefuses(t *testing.T) {
	l, _ := startListener(t, new(fakeTransport), ranch.Options{}, greetAndEcho)
	for _, op := range []ranch.Op{"", "!=", "=>"} {
		if err := l.WaitForConnections(testContext(t), op, 1); !errors.Is(err, ranch.ErrBadOption) {
			t.Errorf("%s: got %v, want %v", op, err, ranch.ErrBadOption)
		}
	}
}

// Removed connections are not counted by WaitForConnections.
func TestWaitForConnectionsIgnoresRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, _ := startListener(t, f, ranch.Options{}, uncounted(greetAndEcho))
		servedClients(t, f, dialAddr(l), 3)
		if err := l.WaitForConnections(testContext(t), ranch.Equal, 0); err != nil {
			t.Error(err)
		}
		if got := l.Info().AllConnections; got != 3 {
			t.Errorf("got %d connections, want 3", got)
		}
	})
}
