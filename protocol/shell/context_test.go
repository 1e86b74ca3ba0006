package shell

import (
	"context"
	"errors"
	"testing"
)

// What a command is given is as a context of the standard library, whenever it is looked at first.
func TestCallContext(t *testing.T) {
	ours, theirs := errors.New("ours"), errors.New("the parent's")
	look := func(ctx context.Context) { ctx.Done() }
	for _, test := range []struct {
		name  string
		cause error
		steps []string
	}{
		{"looked at before", ours, []string{"look", "cancel"}},
		{"looked at after", ours, []string{"cancel", "look"}},
		{"never looked at", ours, []string{"cancel"}},
		{"cancelled twice", ours, []string{"look", "cancel", "end", "cancel parent"}},
		{"over", context.Canceled, []string{"end", "cancel", "look"}},
		{"before the parent, never looked at", ours, []string{"cancel", "cancel parent"}},
		{"by the parent", theirs, []string{"look", "cancel parent", "cancel", "end"}},
		{"by the parent, looked at after", theirs, []string{"cancel parent", "look"}},
		{"by the parent, never looked at", theirs, []string{"cancel parent"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			parent, cancelParent := context.WithCancelCause(t.Context())
			defer cancelParent(nil)
			ctx := &callContext{parent: parent}
			if ctx.Err() != nil {
				t.Fatal(ctx.Err())
			}
			for _, step := range test.steps {
				switch step {
				case "look":
					look(ctx)
				case "cancel":
					ctx.cancel(ours)
				case "end":
					ctx.cancel(context.Canceled)
				case "cancel parent":
					cancelParent(theirs)
				}
			}
			if err := ctx.Err(); err != context.Canceled {
				t.Errorf("Err: %v", err)
			}
			child, stop := context.WithCancel(ctx)
			defer stop()
			<-child.Done()
			<-ctx.Done()
			for _, c := range []context.Context{ctx, child} {
				if context.Cause(c) != test.cause || c.Err() != context.Canceled {
					t.Errorf("%v, because %v; want because %v", c.Err(), context.Cause(c), test.cause)
				}
			}
		})
	}
	ctx := &callContext{parent: t.Context()}
	child, stop := context.WithCancel(ctx)
	defer stop()
	ctx.cancel(ours)
	if <-child.Done(); context.Cause(child) != ours {
		t.Error(context.Cause(child))
	}
}
