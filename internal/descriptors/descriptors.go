// Package descriptors counts and reserves file descriptors of this process.
package descriptors

import "sync"

// Count returns the number of open file descriptors of the process, and their limit
// (RLIMIT_NOFILE). On systems other than Unix, the error wraps errors.ErrUnsupported.
func Count() (open, limit int, err error) { return count() }

// CloseOnExec marks all descriptors above 2 to be closed in programs that this process starts, also
// those that it has inherited. It does nothing where the system cannot do that (Linux 5.11 can).
func CloseOnExec() { closeOnExec() }

// Reserve keeps descriptors for special purposes: the limit of the process is lowered by their
// number, and raised again while one of them is opened. Other code of the process must not change
// the limit.
type Reserve struct {
	mu        sync.Mutex
	low, high uint64
}

// NewReserve reserves n descriptors. The error is errors.ErrUnsupported on systems other than Unix.
func NewReserve(n int) (*Reserve, error) { return newReserve(n) }

// Use calls f, which may open reserved descriptors. Descriptors that other goroutines open while f
// runs may take them too, so f should not take long. Use may be called from any goroutine.
func (r *Reserve) Use(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if setLimit(r.high) == nil {
		defer setLimit(r.low)
	}
	f()
}
