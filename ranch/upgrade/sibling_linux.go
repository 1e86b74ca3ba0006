package upgrade

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// makeSibling makes cmd start a child of this process's parent if that is a manager, and reports
// whether it does. A manager learns only of the end of its children: as a child of this process the
// successor could crash unnoticed while this process drains, and systemd would then take the end of
// this process for a successful end of the service.
func makeSibling(cmd *exec.Cmd) bool {
	if !isManager(os.Getppid(), os.Getenv("MANAGERPID")) {
		return false
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil { // waitSibling could not wait
		return false
	}
	unix.Close(fd)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}
	return true
}

// isManager reports whether a parent waits for every child: process 1 has to, and so does the
// service manager of a user, which its services find in MANAGERPID.
func isManager(parent int, managerPID string) bool {
	return parent == 1 || parent > 1 && strconv.Itoa(parent) == managerPID
}

// errNoStatus is the exit status of a sibling: only its parent can read it.
var errNoStatus = errors.New("exit status unknown")

// waitSibling waits until a process that is not a child of this one has ended.
func waitSibling(cmd *exec.Cmd) error {
	err := cmd.Process.WithHandle(func(pidfd uintptr) {
		p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(p, -1); err != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return errNoStatus
}
