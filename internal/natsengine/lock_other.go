//go:build !(unix || windows) || aix || solaris

package natsengine

import "os"

// lockFile does nothing on this system.
func lockFile(*os.File) error { return nil }
