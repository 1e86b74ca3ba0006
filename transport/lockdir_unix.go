//go:build unix && !aix && !solaris

package transport

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockDir excludes other goroutines and processes that create a listening Unix socket in dir. It
// waits for one second at most: any process that may read the directory can hold the lock. Without
// the lock, Listen continues.
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
