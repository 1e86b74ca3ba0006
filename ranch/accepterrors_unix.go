//go:build unix

package ranch

import (
	"errors"
	"slices"
	"syscall"
)

// isPeerFault reports whether an error of accept is that of a queued connection. accept(2): "Linux
// accept() passes already-pending network errors on the new socket as an error code […] these
// should be treated like EAGAIN".
func isPeerFault(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(peerFaults, errno)
}

var peerFaults = []syscall.Errno{
	syscall.ECONNABORTED, syscall.EPROTO, syscall.EINTR, syscall.ECONNRESET,
	syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	syscall.EOPNOTSUPP, syscall.ENETUNREACH, syscall.ETIMEDOUT,
	syscall.EPERM, // a firewall's rule
}
