package loadgen

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// stopTimeout is how long a child may take to exit after its standard input was closed.
const stopTimeout = 5 * time.Second

// Process is a child process that runs the executable of this process. By convention it exits when
// its standard input ends.
type Process struct {
	Stdin  io.WriteCloser // the child's standard input
	Stdout io.Reader      // the child's standard output; ends when the child has exited

	cmd    *exec.Cmd
	stdout *os.File
	stderr tail
	exited chan struct{} // closed after err is set
	err    error
}

// StartProcess runs this executable with args and with env added to the environment. start starts
// the command, for example on one processor; nil calls its Start method. The caller must read
// Stdout, and must call Stop.
func StartProcess(args, env []string, start func(*exec.Cmd) error) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(self, args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second // a grandchild can keep stderr open
	if p.Stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// StdoutPipe would oblige the reader to reach the end before Wait is called.
	stdout, childStdout, err := os.Pipe()
	if err != nil {
		p.Stdin.Close()
		return nil, err
	}
	p.Stdout, p.stdout, p.cmd.Stdout = stdout, stdout, childStdout
	if start == nil {
		start = (*exec.Cmd).Start
	}
	err = start(p.cmd)
	childStdout.Close()
	if err != nil {
		stdout.Close()
		p.Stdin.Close()
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// PID returns the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits until the child has exited. The error of a child that failed ends with what the child
// wrote last to its standard error.
func (p *Process) Wait() error {
	<-p.exited
	if text := p.stderr.String(); p.err != nil && text != "" {
		return fmt.Errorf("%w: %s", p.err, text)
	}
	return p.err
}

// Stop closes the child's standard input and waits until the child has exited. It kills the child
// after five seconds. Then it closes Stdout. Further calls have no effect.
func (p *Process) Stop() {
	p.Stdin.Close()
	kill := time.AfterFunc(stopTimeout, func() { p.cmd.Process.Kill() })
	<-p.exited
	kill.Stop()
	p.stdout.Close()
}

// tail is a writer that keeps the last tailSize bytes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
