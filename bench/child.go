package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// child is a process of our own binary that talks in lines: JSON from it, single words to it. It ends when its stdin does.
type child struct {
	part   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan []byte // closed when its stdout is
	exited chan error
	stderr tail
}

// startChild runs "bench part args..." on one processor, with as many Go processors as asked for.
func startChild(cpu, gomaxprocs int, part string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{part: part, lines: make(chan []byte, 16), exited: make(chan error, 1)}
	c.cmd = exec.Command(self, append([]string{part}, args...)...)
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(gomaxprocs))
	c.cmd.Stderr = &c.stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startPinned(c.cmd, cpu); err != nil {
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	go c.readLines(stdout)
	return c, nil
}

func (c *child) readLines(stdout io.Reader) {
	in := bufio.NewScanner(stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		c.lines <- []byte(in.Text())
	}
	close(c.lines)
	c.exited <- c.cmd.Wait()
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// receive decodes the child's next line into v.
func (c *child) receive(ctx context.Context, patience time.Duration, v any) error {
	select {
	case line, ok := <-c.lines:
		if !ok {
			return c.died()
		}
		if err := json.Unmarshal(line, v); err != nil {
			return fmt.Errorf("%s said %q: %w", c.part, line, err)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s said nothing for %v", c.part, patience)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *child) tell(word string) error {
	_, err := io.WriteString(c.stdin, word+"\n")
	return err
}

// ask tells a word and decodes the answer.
func (c *child) ask(ctx context.Context, word string, v any) error {
	if err := c.tell(word); err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.part, word, err)
	}
	return c.receive(ctx, 30*time.Second, v)
}

// died explains why a child fell silent, with what it wrote to stderr.
func (c *child) died() error {
	err := <-c.exited
	c.exited <- err
	if text := c.stderr.String(); text != "" {
		return errors.New(text)
	}
	return fmt.Errorf("%s ended too early: %v", c.part, err)
}

// stop ends the child: it may leave by itself, and is killed if it does not.
func (c *child) stop() {
	c.stdin.Close()
	go func() {
		for range c.lines {
		}
	}()
	select {
	case <-c.exited:
	case <-time.After(5 * time.Second):
		c.cmd.Process.Kill()
		<-c.exited
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const keep = 2 << 10
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-keep):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
