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

// canExec says that programs can be run on this system.
const canExec = true

// nonblock keeps an open from waiting for a peer.
const nonblock = unix.O_NONBLOCK

// addPrograms adds the commands that run them.
func (s *Shell) addPrograms(programs []Program) error {
	var all []Command
	for _, p := range programs {
		r := &runner{Program: p.withDefaults(), shell: s}
		all = append(all, Command{Name: p.Name, Usage: "[<argument> ...]", Help: r.Help, Role: r.Role, Changes: true, MaxArgs: -1, Run: r.run})
	}
	return s.registry.Add(all...)
}

// runner runs one program.
type runner struct {
	Program
	shell   *Shell
	running atomic.Int64
}

var (
	errTimeout = errors.New("time limit reached; the program was killed")
	errOutput  = errors.New("output limit reached; the program was killed")
)

func (r *runner) run(ctx context.Context, c *Call) error {
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
		return &Error{Message: fmt.Sprintf("%s is running %d times already", r.Name, r.MaxConcurrent)}
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

// dir opens the session's directory; nil is that of the server's root of files.
func (r *runner) dir(p string) (*os.File, error) {
	if r.shell.root == nil {
		return nil, nil
	}
	f, _, err := r.shell.open(p)
	if err == nil && f == nil {
		err = &Error{Message: quoted(p) + ": not a directory"}
	}
	return f, err
}

// execute starts the program, passes its output on, and returns when nothing of it is left. It keeps its
// thread, for the program is to die with that if the server is killed.
func (r *runner) execute(ctx context.Context, cancel context.CancelCauseFunc, dir *os.File, c *Call) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := &exec.Cmd{Path: r.Path, Args: append(append([]string{r.Path}, r.Args...), c.Args...), Dir: "/", Stdout: in, Stderr: in,
		Env:         append([]string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}, r.Env...),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	if dir != nil {
		// By its descriptor, which the child has until it executes: nobody can put another in its place.
		cmd.Dir = fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	in.Close()
	if err != nil {
		return r.notStarted(err)
	}
	r.limit(cmd.Process.Pid)
	copied := make(chan struct{})
	go r.copy(out, cancel, c, copied)
	err = r.await(ctx, cmd)
	out.SetReadDeadline(time.Now().Add(drainTime)) // a process that has left the group may hold it open
	<-copied
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errTimeout) || errors.Is(cause, errOutput) {
			return &Error{Message: cause.Error()}
		}
		return cause
	}
	return exitError(err)
}

// drainTime is how long output is read when the program has ended.
const drainTime = 500 * time.Millisecond

func (r *runner) notStarted(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		err = e // its path is nobody's business
	}
	return &Error{Message: fmt.Sprintf("%s cannot be started: %v", r.Name, err)}
}

// limit limits what the process may take. It may be gone already.
func (r *runner) limit(pid int) {
	if r.CPU > 0 {
		n := uint64((r.CPU + time.Second - 1) / time.Second)
		unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: n, Max: n + 1}, nil)
	}
	unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
}

// copy passes output on until there is no more, which is when all who write it have ended.
func (r *runner) copy(out *os.File, cancel context.CancelCauseFunc, c *Call, done chan<- struct{}) {
	defer close(done)
	b := make([]byte, pieceSize)
	left := r.MaxOutput
	for {
		n, err := out.Read(b)
		if r.MaxOutput > 0 && n > left {
			c.Out.Write(b[:left])
			cancel(errOutput)
			return
		}
		left -= n
		if _, werr := c.Out.Write(b[:n]); werr != nil || err != nil {
			if werr != nil {
				io.Copy(io.Discard, out) // it is being killed
			}
			return
		}
	}
}

// await waits for the end of the program, and kills its group when ctx ends, and when it has ended: before
// it is reaped, so that the group's number is nobody else's yet.
func (r *runner) await(ctx context.Context, cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	ended := make(chan struct{})
	go r.kill(ctx, pid, ended)
	var info unix.Siginfo
	for unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	ended <- struct{}{} // nothing is killed by that number any more
	unix.Kill(-pid, unix.SIGKILL)
	return cmd.Wait()
}

// kill ends the group when ctx ends. It returns when the program has ended.
func (r *runner) kill(ctx context.Context, pid int, ended <-chan struct{}) {
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

// exitError says how a program has ended, if not well.
func exitError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		if s := status.Signal(); s == syscall.SIGXCPU {
			return &Error{Message: "processor time limit reached; the program was killed"}
		}
		return &Error{Message: "the program was killed: " + status.Signal().String()}
	}
	return &Error{Message: "the program has failed: " + strings.TrimPrefix(exit.Error(), "exit ")}
}
