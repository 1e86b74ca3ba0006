// Package descriptors counts the open file descriptors of this process.
package descriptors

// Count returns how many descriptors the process has open, and how many it may have. The error is
// errors.ErrUnsupported on systems other than Unix.
func Count() (open, limit int, err error) { return count() }
