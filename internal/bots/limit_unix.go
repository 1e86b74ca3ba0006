//go:build unix

package bots

import "golang.org/x/sys/unix"

// spareDescriptors are for all that is not a bot.
const spareDescriptors = 128

// perProcess raises the limit of descriptors as far as it goes, and returns how many bots one process may have.
func perProcess() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return mostPerProcess
	}
	if lim.Cur < lim.Max {
		raised := lim
		raised.Cur = lim.Max
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			lim = raised
		}
	}
	if uint64(lim.Cur) > mostPerProcess+spareDescriptors {
		return mostPerProcess
	}
	return max(1, int(lim.Cur)-spareDescriptors)
}
