package shell

import (
	"context"
	"errors"
	"testing"
)

// A lazyContext behaves like a context of package context, whenever it is first used.
func TestLazyContext(t *testing.T) {
	errOwn, errParent := errors.New("own"), errors.New("parent")
	for _, test := range []struct {
		name  string
		cause error
		steps []string
	}{
		{"used before", errOwn, []string{"use", "cancel"}},
		{"used after", errOwn, []string{"cancel", "use"}},
		{"never used", errOwn, []string{"cancel"}},
		{"cancelled twice", errOwn, []string{"use", "cancel", "end", "cancel parent"}},
		{"ended before", context.Canceled, []string{"end", "cancel", "use"}},
		{"before the parent, never used", errOwn, []string{"cancel", "cancel parent"}},
		{"by the parent", errParent, []string{"use", "cancel parent", "cancel", "end"}},
		{"by the parent, used after", errParent, []string{"cancel parent", "use"}},
		{"by the parent, never used", errParent, []string{"cancel parent"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			parent, cancelParent := context.WithCancelCause(t.Context())
			defer cancelParent(nil)
			ctx := &lazyContext{parent: parent}
			if ctx.Err() != nil {
				t.Fatalf("new context: got error %v, want none", ctx.Err())
			}
			for _, step := range test.steps {
				switch step {
				case "use":
					ctx.Done()
				case "cancel":
					ctx.cancelCause(errOwn)
				case "end":
					ctx.cancelCause(context.Canceled)
				case "cancel parent":
					cancelParent(errParent)
				}
			}
			if err := ctx.Err(); err != context.Canceled {
				t.Errorf("Err: got %v, want %v", err, context.Canceled)
			}
			child, stop := context.WithCancel(ctx)
			defer stop()
			<-child.Done()
			<-ctx.Done()
			for _, c := range []context.Context{ctx, child} {
				if context.Cause(c) != test.cause || c.Err() != context.Canceled {
					t.Errorf("got error %v and cause %v, want %v and %v", c.Err(), context.Cause(c), context.Canceled, test.cause)
				}
			}
		})
	}
	ctx := &lazyContext{parent: t.Context()}
	child, stop := context.WithCancel(ctx)
	defer stop()
	ctx.cancelCause(errOwn)
	if <-child.Done(); context.Cause(child) != errOwn {
		t.Errorf("child: got cause %v, want %v", context.Cause(child), errOwn)
	}
}
