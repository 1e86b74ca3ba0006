//go:build unix && !race

package transport_test

import "syscall"

// filesAllowed returns the limit of open files of the process.
func filesAllowed() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0
	}
	return int(min(lim.Cur, 1<<30))
}
