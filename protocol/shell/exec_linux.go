package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// canExec is whether this system can run programs.
const canExec = true

// nonblock keeps an open of a named pipe from waiting for a writer.
const nonblock = unix.O_NONBLOCK

// addPrograms adds a command for each program.
func (s *Shell) addPrograms(programs []Program) error {
	var commands []Command
	for _, p := range programs {
		r := &programRunner{Program: p.withDefaults(), shell: s}
		commands = append(commands, Command{Name: p.Name, Usage: "[<argument> ...]", Help: r.Help, Role: r.Role, Changes: true, MaxArgs: -1, Run: r.run})
	}
	return s.registry.add(commands)
}

// programRunner runs one program.
type programRunner struct {
	Program
	shell   *Shell
	running atomic.Int64
}

var (
	errTimeout = errors.New("time limit reached; the program was killed")
	errOutput  = errors.New("output limit reached; the program was killed")
)

func (r *programRunner) run(ctx context.Context, c *Call) error {
	if r.Allow == nil && len(c.Args) > 0 {
		return Usage("%s takes no arguments", r.Name)
	}
	if r.Allow != nil {
		if err := r.Allow(c.Args); err != nil {
			return err
		}
	}
	defer r.running.Add(-1)
	if n := r.running.Add(1); r.MaxConcurrent > 0 && n > int64(r.MaxConcurrent) {
		return &Error{Message: fmt.Sprintf("%s is already running %d times, which is the limit", r.Name, r.MaxConcurrent)}
	}
	dir, err := r.dir(c.Session.Dir)
	if err != nil {
		return err
	}
	if dir != nil {
		defer dir.Close()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, r.Timeout, errTimeout)
		defer stop()
	}
	return r.execute(ctx, cancel, dir, c)
}

// dir opens the session's working directory. It returns nil if the shell has no root directory.
func (r *programRunner) dir(p string) (*os.File, error) {
	if r.shell.root == nil {
		return nil, nil
	}
	f, _, err := r.shell.open(p)
	if err == nil && f == nil {
		err = &Error{Message: quoted(p) + ": not a directory"}
	}
	return f, err
}

// execute starts the program, streams its output, and returns when its process group has ended. The
// goroutine is locked to its thread: Pdeathsig kills the program when the thread ends, which must
// only happen if the server is killed.
func (r *programRunner) execute(ctx context.Context, cancel context.CancelCauseFunc, dir *os.File, c *Call) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := &exec.Cmd{Path: r.Path, Args: append(append([]string{r.Path}, r.Args...), c.Args...), Dir: "/", Stdout: in, Stderr: in,
		Env:         append([]string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}, r.Env...),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	if dir != nil {
		// The child has inherited the descriptor until it executes. A path could be replaced
		// meanwhile.
		cmd.Dir = fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	in.Close()
	if err != nil {
		return r.startError(err)
	}
	r.setLimits(cmd.Process.Pid)
	copied := make(chan struct{})
	go r.copyOutput(out, cancel, c, copied)
	err = r.wait(ctx, cmd)
	out.SetReadDeadline(time.Now().Add(drainTime)) // a process that has left the group may keep the pipe open
	<-copied
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errTimeout) || errors.Is(cause, errOutput) {
			return &Error{Message: cause.Error()}
		}
		return cause
	}
	return exitError(err)
}

// drainTime is how long output is read after the program has ended.
const drainTime = 500 * time.Millisecond

func (r *programRunner) startError(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		err = e // the innermost error does not contain the path
	}
	return &Error{Message: fmt.Sprintf("cannot start %s: %v", r.Name, err)}
}

// setLimits sets resource limits of the process. Errors are ignored: it may have ended.
func (r *programRunner) setLimits(pid int) {
	if r.CPU > 0 {
		n := uint64((r.CPU + time.Second - 1) / time.Second)
		unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: n, Max: n + 1}, nil)
	}
	unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
}

// copyOutput streams output to the client until the last writer has closed the pipe.
func (r *programRunner) copyOutput(out *os.File, cancel context.CancelCauseFunc, c *Call, done chan<- struct{}) {
	defer close(done)
	b := make([]byte, pieceSize)
	remaining := r.MaxOutput
	for {
		n, err := out.Read(b)
		if r.MaxOutput > 0 && n > remaining {
			c.Out.Write(b[:remaining])
			cancel(errOutput)
			return
		}
		remaining -= n
		if _, werr := c.Out.Write(b[:n]); werr != nil || err != nil {
			if werr != nil {
				io.Copy(io.Discard, out) // ctx has ended, and the program is being killed
			}
			return
		}
	}
}

// wait waits for the end of the program. It kills the process group when ctx ends and after the
// program has ended. The latter happens before the program is reaped, while its id cannot be
// reused.
func (r *programRunner) wait(ctx context.Context, cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	ended := make(chan struct{})
	go r.killOnCancel(ctx, pid, ended)
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	ended <- struct{}{} // killOnCancel returns before the process is reaped
	unix.Kill(-pid, unix.SIGKILL)
	return cmd.Wait()
}

// killOnCancel kills the process group when ctx ends. It returns when the program has ended.
func (r *programRunner) killOnCancel(ctx context.Context, pid int, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	unix.Kill(-pid, unix.SIGTERM)
	t := time.NewTimer(max(r.Grace, 0))
	defer t.Stop()
	select {
	case <-ended:
		return
	case <-t.C:
	}
	unix.Kill(-pid, unix.SIGKILL)
	<-ended
}

// exitError returns the error for the client if the program has failed.
func exitError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		if s := status.Signal(); s == syscall.SIGXCPU {
			return &Error{Message: "processor time limit reached; the program was killed"}
		}
		return &Error{Message: "the program was killed by a signal: " + status.Signal().String()}
	}
	return &Error{Message: "the program failed: " + strings.TrimPrefix(exit.Error(), "exit ")}
}
