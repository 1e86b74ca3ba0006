// Package descriptors counts the open file descriptors of this process.
package descriptors

// Count returns the number of open file descriptors of the process, and their limit
// (RLIMIT_NOFILE). On systems other than Unix, the error wraps errors.ErrUnsupported.
func Count() (open, limit int, err error) { return count() }
