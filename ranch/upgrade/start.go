package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// manifest describes the sockets, in duplicates that are sent, and the processes.
func (a *attempt) manifest() (m manifest, fds []int, err error) {
	u := a.u
	m = manifest{Version: version, PID: os.Getpid(), Generation: u.generation + 1}
	for _, l := range u.sockets.listeners() {
		fd, err := duplicate(l.acceptor)
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err != nil {
			return m, fds, fmt.Errorf("socket of listener %s: %w", l.entry.Ref, err)
		}
		fds = append(fds, fd)
		m.Sockets = append(m.Sockets, l.entry)
		a.listeners = append(a.listeners, l)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.exitPipe < 0 {
		if u.exitPipe, err = exitPipe(); err != nil {
			u.exitPipe = -1
			return m, fds, err
		}
	}
	for _, p := range append(slices.Clone(u.running()), process{os.Getpid(), u.generation, u.exitPipe}) {
		fd, err := duplicateFD(p.fd)
		if err != nil {
			return m, fds, err
		}
		fds = append(fds, fd)
		m.Processes = append(m.Processes, p)
	}
	return m, fds, nil
}

func sendManifest(conn *net.UnixConn, m manifest, fds []int) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b, err := appendFrame(frame{Call: "manifest", Body: body})
	if err != nil {
		return err
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	return sendFiles(conn, fds)
}

// privateVariables are not for the successor: they name descriptors and processes of this one.
var privateVariables = []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", variable}

// successorEnv returns the environment of the successor.
func successorEnv(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains(privateVariables, name)
	})
	return append(env, variable+"=3")
}

// start starts the program with the control connection as descriptor 3.
func (a *attempt) start() (*net.UnixConn, error) {
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd, wait := a.command(theirs), (*exec.Cmd).Wait
	if makeSibling(cmd) {
		wait = waitSibling
	}
	err = cmd.Start()
	if err != nil && cmd.SysProcAttr != nil { // the system may refuse a sibling
		cmd, wait = a.command(theirs), (*exec.Cmd).Wait
		err = cmd.Start()
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	a.cmd = cmd
	go func() {
		a.exit = wait(cmd)
		close(a.exited)
	}()
	return ours, nil
}

// command returns the command that starts the program.
func (a *attempt) command(control *os.File) *exec.Cmd {
	cmd := exec.Command(a.u.opts.Program, a.u.opts.Args...)
	if len(os.Args) > 0 && a.u.opts.Program == started.path {
		cmd.Args[0] = os.Args[0]
	}
	cmd.Dir, cmd.Env = started.dir, successorEnv(os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{control}
	return cmd
}

// explain returns the error of a successor whose control connection or process has ended. It waits
// for the other of the two.
func (a *attempt) explain(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case err := <-a.failed:
		return fmt.Errorf("the successor has failed: %w", err)
	case <-a.exited:
		select {
		case err := <-a.failed:
			return fmt.Errorf("the successor has failed: %w", err)
		default:
		}
		if a.exit == nil {
			return errors.New("the successor has exited with code 0 before it was ready; check that its version can replace this one")
		}
		return fmt.Errorf("the successor has ended before it was ready: %w; see its log", a.exit)
	case <-limit.C:
		return fmt.Errorf("the successor has failed: %w", cause)
	}
}

// abandon ends the successor. It returns when the process is gone. It may be called twice.
func (a *attempt) abandon() {
	if a.cmd == nil {
		return
	}
	a.control.close()
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-a.exited:
	case <-limit.C:
		a.cmd.Process.Kill()
		<-a.exited
	}
}
