package boltstore

import "goranch/protocol/session"

var ErrClosed = errClosed

// OpenAtOnce is Open without waiting for another process.
func OpenAtOnce(path string) (session.Store, error) { return open(path, 1) } // bbolt waits forever for 0
