package shell

import (
	"context"
	"testing"
)

// A Call returns to the pool only if no code outside this package has seen it.
func TestCallReuse(t *testing.T) {
	var seen []*Call
	wrapped := say()
	run := wrapped.Run
	wrapped.Name, wrapped.Run = "wrapped", func(ctx context.Context, c *Call) error {
		seen = append(seen, c)
		return run(ctx, c)
	}
	srv := newTestServer(t, Options{Commands: []Command{say(), wrapped}})
	c := srv.dial()
	for range 3 {
		c.ask("wrapped:a", "a")
		c.ask("say:b", "b")
	}
	for i, c := range seen {
		if c.Value != "a" || i > 0 && c == seen[i-1] {
			t.Errorf("wrapped call %d: got value %q or a reused Call, want \"a\" in its own Call", i, c.Value)
		}
	}
	if !srv.registry.find("say").reuseCall {
		t.Error("Method: got calls that are not reused, want reused ones")
	}
}

func TestMethodDoesNotAllocate(t *testing.T) {
	srv := newTestServer(t, Options{Commands: []Command{say()}, History: -1})
	cmd := srv.registry.find("say")
	c := &Call{Value: "hello"}
	if n := testing.AllocsPerRun(100, func() { cmd.Run(t.Context(), c) }); n != 0 {
		t.Errorf("method of strings: got %v allocations, want 0", n)
	}
}
