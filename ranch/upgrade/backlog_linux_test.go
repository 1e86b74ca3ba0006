package upgrade_test

import "golang.org/x/sys/unix"

// maxBacklog returns the length of the accept queue of a listening TCP socket; 0 for others.
func maxBacklog(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Sacked) // where the kernel reports it for listening sockets
}
