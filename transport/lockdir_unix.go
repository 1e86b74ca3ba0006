//go:build unix && !aix && !solaris

package transport

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockDir keeps away others who open a listening Unix socket in dir, of this process or
// another. It is waited for as long as they need at most: whoever holds it for a
// second is not one of them, and anybody who may read the directory can. Where it cannot be had
// everything goes on without it.
func lockDir(ctx context.Context, dir string) (unlock func()) {
	d, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil && ctx.Err() == nil {
		select {
		case <-retry.C:
		case <-ctx.Done():
		}
	}
	return func() { d.Close() }
}
