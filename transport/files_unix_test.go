//go:build unix && !race

package transport_test

import "syscall"

// filesAllowed returns how many files the process may have open.
func filesAllowed() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0
	}
	return int(min(lim.Cur, 1<<30))
}
