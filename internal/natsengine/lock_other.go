//go:build !unix || aix || solaris

package natsengine

import "os"

// lockFile does nothing on this system.
func lockFile(*os.File) error { return nil }
