//go:build !linux

package sdnotify

import "time"

const supported = false

func monotonic() time.Duration { return 0 }
