package conns

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
)

type contextKey struct{}

func newConnContext(base context.Context) *connContext {
	c := new(connContext)
	c.init(context.WithValue(base, contextKey{}, "value"))
	return c
}

func checkEnded(t *testing.T, ctx context.Context, want error) {
	t.Helper()
	if err := ctx.Err(); err != context.Canceled {
		t.Errorf("Err: got %v, want %v", err, context.Canceled)
	}
	if got := context.Cause(ctx); got != want {
		t.Errorf("Cause: got %v, want %v", got, want)
	}
	select {
	case <-ctx.Done():
	default:
		t.Error("Done: got an open channel, want a closed one")
	}
	if got := ctx.Value(contextKey{}); got != "value" {
		t.Errorf("Value: got %v, want value", got)
	}
	if _, set := ctx.Deadline(); set {
		t.Error("Deadline: got one, want none")
	}
}

// A connection context behaves like one of package context, whatever happens first.
func TestConnContext(t *testing.T) {
	cause := errors.New("a test")
	for name, use := range map[string]func(c *connContext){
		"unused": func(*connContext) {},
		"value":  func(c *connContext) { c.Value(contextKey{}) },
		"done":   func(c *connContext) { c.Done() },
		"child":  func(c *connContext) { context.WithValue(c, contextKey{}, 1).Done() },
	} {
		for _, want := range []error{protocol.ErrEnded, cause} {
			t.Run(name+", "+want.Error(), func(t *testing.T) {
				c := newConnContext(t.Context())
				use(c)
				if err, why := c.Err(), context.Cause(c); err != nil || why != nil {
					t.Fatalf("before the end: got %v and %v, want nil", err, why)
				}
				c.end(want)
				c.end(errors.New("a later one"))
				checkEnded(t, c, want)
				child, cancel := context.WithTimeout(c, time.Hour)
				defer cancel()
				if got := context.Cause(child); got != want {
					t.Errorf("cause of a later child: got %v, want %v", got, want)
				}
			})
		}
	}
}

// The end of the parent, and that of the context itself, reach derived contexts without a goroutine
// for each: synctest would report it.
func TestConnContextChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("a test")
		base, endBase := context.WithCancelCause(t.Context())
		defer endBase(nil)
		for name, c := range map[string]*connContext{
			"parent that ends": newConnContext(base),
			"own end":          newConnContext(context.WithoutCancel(base)),
		} {
			child, cancel := context.WithTimeout(c, time.Hour)
			defer cancel()
			ran := make(chan struct{})
			context.AfterFunc(child, func() { close(ran) })
			if name == "own end" {
				c.end(cause)
			} else {
				endBase(cause)
			}
			<-ran
			if got := context.Cause(child); got != cause {
				t.Errorf("%s: got %v, want %v", name, got, cause)
			}
			checkEnded(t, c, cause)
		}
	})
}

// Done and the end may race: the channel is closed in any case.
func TestConnContextRace(t *testing.T) {
	for range 1000 {
		c := newConnContext(context.WithoutCancel(t.Context()))
		done := make(chan (<-chan struct{}))
		go func() { done <- c.Done() }()
		c.end(protocol.ErrEnded)
		<-<-done
		checkEnded(t, c, protocol.ErrEnded)
	}
}

func TestConnContextAllocatesNothingUntilUsed(t *testing.T) {
	base := context.WithoutCancel(t.Context())
	n := testing.AllocsPerRun(100, func() {
		var c connContext
		c.init(base)
		c.Err()
		context.Cause(&c)
		c.end(protocol.ErrEnded)
	})
	if n > 1 { // c itself
		t.Errorf("got %v allocations, want at most 1", n)
	}
}
