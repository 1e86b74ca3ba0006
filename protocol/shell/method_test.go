package shell

import (
	"context"
	"testing"
)

// A Call is used again only where nobody but this package has seen it.
func TestCallsUsedAgain(t *testing.T) {
	say := func() Command {
		return Method("say", "", func(_ context.Context, s string) (string, error) { return s, nil })
	}
	var kept []*Call
	wrapped := say()
	run := wrapped.Run
	wrapped.Name, wrapped.Run = "wrapped", func(ctx context.Context, c *Call) error {
		kept = append(kept, c)
		return run(ctx, c)
	}
	h := serve(t, Options{Commands: []Command{say(), wrapped}})
	c := h.dial()
	for range 3 {
		c.ask("wrapped:a", "a")
		c.ask("say:b", "b")
	}
	for i, k := range kept {
		if k.Value != "a" || i > 0 && k == kept[i-1] {
			t.Errorf("call %d was used again: %q", i, k.Value)
		}
	}
	if !h.registry.find("say").frugal {
		t.Error("the calls of a method are not used again")
	}
}

func TestCallAllocates(t *testing.T) {
	h := serve(t, Options{Commands: []Command{Method("say", "", func(_ context.Context, s string) (string, error) { return s, nil })}, History: -1})
	cmd := h.registry.find("say")
	c := &Call{Value: "hello"}
	if n := testing.AllocsPerRun(100, func() { cmd.Run(t.Context(), c) }); n != 0 {
		t.Errorf("a method of strings: %v allocations", n)
	}
}
