package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// withTimeout calls f, which reads or writes, with a deadline of d (not positive: none), and
// interrupts it when ctx ends.
func withTimeout(ctx context.Context, d time.Duration, setDeadline func(time.Time) error, f func() error) error {
	if d > 0 {
		setDeadline(time.Now().Add(d))
		defer setDeadline(time.Time{})
	}
	stop := context.AfterFunc(ctx, func() { setDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() { // the function may set the deadline at any time: the connection cannot be used
		return context.Cause(ctx)
	}
	if d > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("incomplete after %v: %w", d, os.ErrDeadlineExceeded)
	}
	return err
}
