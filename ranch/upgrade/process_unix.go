//go:build unix

package upgrade

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const supported = true

// filesPerMessage is how many descriptors are sent in one message; Linux allows 253.
const filesPerMessage = 100

// duplicate returns a duplicate of the socket of l. It does not use File, or Fd, which would set
// the socket to blocking, in this process too: the flag belongs to the description that they share.
func duplicate(l syscall.Conn) (fd int, err error) {
	rc, err := l.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(cerr, os.NewSyscallError("dup", err)); err != nil {
		return -1, err
	}
	return fd, nil
}

func closeFD(fd int) { unix.Close(fd) }

// controlPair returns both ends of a new control connection.
func controlPair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // there is no close-on-exec flag on all systems
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "control")
	ours, err = unixConn(fds[0])
	if err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// unixConn returns a connection of a Unix socket, and closes fd.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "control")
	if f == nil {
		return nil, os.ErrInvalid
	}
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	if uc, ok := nc.(*net.UnixConn); ok {
		return uc, nil
	}
	nc.Close()
	return nil, fmt.Errorf("descriptor %d is not a Unix socket", fd)
}

// inheritedControl returns the control connection that the predecessor has passed.
func inheritedControl(value string) (*net.UnixConn, error) {
	fd, err := strconv.ParseUint(value, 10, 16)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q: allowed are numbers of descriptors from 3", variable, value)
	}
	uc, err := unixConn(int(fd))
	if err != nil {
		return nil, fmt.Errorf("%s=%q: %w", variable, value, err)
	}
	return uc, nil
}

// sendFiles sends descriptors, and leaves them open here.
func sendFiles(c *net.UnixConn, fds []int) error {
	for len(fds) > 0 {
		n := min(len(fds), filesPerMessage)
		if _, _, err := c.WriteMsgUnix([]byte{byte(n)}, unix.UnixRights(fds[:n]...), nil); err != nil {
			return err
		}
		fds = fds[n:]
	}
	return nil
}

// receiveFiles receives n descriptors, which programs that this process starts do not get. After an
// error all are closed.
func receiveFiles(c *net.UnixConn, n int) (fds []int, err error) {
	defer func() {
		if err != nil {
			for _, fd := range fds {
				closeFD(fd)
			}
		}
	}()
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4*filesPerMessage))
	for len(fds) < n {
		_, size, flags, _, err := c.ReadMsgUnix(b, oob)
		if err != nil {
			return fds, err
		}
		messages, err := unix.ParseSocketControlMessage(oob[:size])
		if err != nil {
			return fds, err
		}
		before := len(fds)
		for i := range messages {
			more, err := unix.ParseUnixRights(&messages[i])
			if err != nil {
				return fds, err
			}
			fds = append(fds, more...)
		}
		if got := len(fds) - before; got != int(b[0]) || got == 0 || flags&unix.MSG_CTRUNC != 0 || len(fds) > n {
			return fds, fmt.Errorf("%w: got %d descriptors, want %d; the limit of open files may be too low", errManifest, got, b[0])
		}
	}
	return fds, nil
}

// exitPipe returns the reading end of a pipe whose other end is closed when this process ends.
func exitPipe() (fd int, err error) {
	var p [2]int
	syscall.ForkLock.RLock()
	err = unix.Pipe(p[:])
	if err == nil {
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
	}
	syscall.ForkLock.RUnlock()
	return p[0], os.NewSyscallError("pipe", err)
}

// hasEnded reports whether the process at the other end of a exitPipe has ended.
func hasEnded(fd int) bool {
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return n > 0 && p[0].Revents != 0
		}
	}
}

func duplicateFD(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return dup, os.NewSyscallError("dup", err)
}
