// Package sdnotify reports the state of this process to the service manager, as sd_notify(3) and
// sd_watchdog_enabled(3) describe: one datagram per call to the Unix socket in NOTIFY_SOCKET.
package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"goranch/internal/termtext"
)

// Assignments without a variable part.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Watchdog = "WATCHDOG=1"
)

// Status describes the state in words. Control characters are escaped.
func Status(text string) string { return "STATUS=" + termtext.Line(text) }

// MainPID names the process that the manager supervises from now on.
func MainPID(pid int) string { return "MAINPID=" + strconv.Itoa(pid) }

// ExtendTimeout extends the time limit of the current start, reload or stop to d from now.
func ExtendTimeout(d time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10)
}

// Reloading announces a reload, which Ready ends. The manager requires both lines in one datagram:
// the time is that of the monotonic clock of the system, so that an answer to an earlier request is
// not taken for one to a later request.
func Reloading() string {
	return "RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(monotonic().Microseconds(), 10)
}

// Notifier sends to the service manager of this process. The zero value and nil have none and do
// nothing. Its methods may be called from any goroutine.
type Notifier struct {
	addr     *net.UnixAddr
	watchdog time.Duration
}

// sendTimeout limits a Send: the manager may be stopped, and its socket full.
const sendTimeout = time.Second

// maxSocket is the longest path in NOTIFY_SOCKET: sun_path of Linux.
const maxSocket = 107

// New reads the environment. Without NOTIFY_SOCKET, and on systems other than Linux, the result has
// no manager. pid is the id of this process. The error names the variable and its value; it is for
// a log line, because the service works without the manager: the Notifier does nothing then.
func New(getenv func(string) string, pid int) (*Notifier, error) {
	path := getenv("NOTIFY_SOCKET")
	if path == "" || !supported {
		return nil, nil
	}
	if path[0] != '/' && path[0] != '@' || len(path) < 2 || len(path) > maxSocket || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q: allowed are absolute paths and abstract names such as @name, up to %d bytes", path, maxSocket)
	}
	n := &Notifier{addr: &net.UnixAddr{Net: "unixgram", Name: path}}
	var err error
	n.watchdog, err = watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), pid)
	return n, err
}

// watchdog returns the time within which the manager expects the next Watchdog; 0: it does not.
func watchdog(usec, forPID string, pid int) (time.Duration, error) {
	if usec == "" {
		return 0, nil
	}
	if p, err := strconv.Atoi(forPID); forPID != "" && (err != nil || p != pid) {
		return 0, nil // for another process, such as the one that started this one
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(1<<63-1)/int64(time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC %q: allowed are positive numbers of microseconds", usec)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Enabled reports whether there is a manager.
func (n *Notifier) Enabled() bool { return n != nil && n.addr != nil }

// WatchdogInterval returns the time within which the manager expects the next Watchdog; 0 if it
// does not expect any.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Send sends assignments such as Ready in one datagram, and waits for at most 1 s.
func (n *Notifier) Send(assignments ...string) error {
	if !n.Enabled() || len(assignments) == 0 {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, n.addr)
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	c.SetWriteDeadline(time.Now().Add(sendTimeout))
	_, err = c.Write([]byte(strings.Join(assignments, "\n")))
	if err := errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}
