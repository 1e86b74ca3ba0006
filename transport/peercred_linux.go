package transport

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func peerCred(uc *net.UnixConn) (PeerCred, error) {
	var u *unix.Ucred
	var err error
	cerr := onSocket(uc, func(fd int) { u, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if cerr != nil {
		return PeerCred{}, cerr
	}
	if err != nil {
		return PeerCred{}, os.NewSyscallError("SO_PEERCRED", err)
	}
	return PeerCred{UID: int(u.Uid), GID: int(u.Gid), PID: int(u.Pid)}, nil
}
