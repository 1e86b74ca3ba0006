//go:build darwin || freebsd

package transport

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func peerCred(uc *net.UnixConn) (PeerCred, error) {
	var x *unix.Xucred
	var pid int
	var err error
	cerr := onSocket(uc, func(fd int) {
		if x, err = unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err == nil {
			pid = peerPID(fd)
		}
	})
	if cerr != nil {
		return PeerCred{}, cerr
	}
	if err != nil {
		return PeerCred{}, os.NewSyscallError("LOCAL_PEERCRED", err)
	}
	return PeerCred{UID: int(x.Uid), GID: int(x.Groups[0]), PID: pid}, nil
}
