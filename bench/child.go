package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"

	"goranch/internal/loadgen"
)

// child is a process of this executable that runs one part of the benchmark. It answers in JSON
// lines and takes words, one per line.
type child struct {
	*loadgen.Process
	part  string
	lines chan []byte // closed at the end of stdout
}

// answerTimeout is how long a child may take to answer a request.
const answerTimeout = 30 * time.Second

// startChild runs "bench part args..." on one processor, with GOMAXPROCS=gomaxprocs. exe is the
// bench to run; "" is this executable.
func startChild(exe string, cpu, gomaxprocs int, part string, args ...string) (*child, error) {
	env := []string{"GOMAXPROCS=" + strconv.Itoa(gomaxprocs)}
	start := func(cmd *exec.Cmd) error {
		if exe != "" {
			cmd.Path, cmd.Args[0] = exe, exe
		}
		return startPinned(cmd, cpu)
	}
	p, err := loadgen.StartProcess(append([]string{part}, args...), env, start)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	c := &child{Process: p, part: part, lines: make(chan []byte, 16)}
	go c.readLines()
	return c, nil
}

func (c *child) readLines() {
	defer close(c.lines)
	in := bufio.NewScanner(c.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		c.lines <- []byte(in.Text())
	}
}

// receive decodes the child's next line into v.
func (c *child) receive(ctx context.Context, timeout time.Duration, v any) error {
	select {
	case line, ok := <-c.lines:
		if !ok {
			return fmt.Errorf("%s exited before it answered: %w", c.part, c.Wait())
		}
		if err := json.Unmarshal(line, v); err != nil {
			return fmt.Errorf("answer %q of %s: %w", line, c.part, err)
		}
		return nil
	case <-time.After(timeout):
		return fmt.Errorf("%s has not answered within %v", c.part, timeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// send sends a word to the child.
func (c *child) send(word string) error {
	if _, err := io.WriteString(c.Stdin, word+"\n"); err != nil {
		return fmt.Errorf("send %q to %s: %w", word, c.part, err)
	}
	return nil
}

// ask sends a word and decodes the answer into v.
func (c *child) ask(ctx context.Context, word string, v any) error {
	if err := c.send(word); err != nil {
		return err
	}
	return c.receive(ctx, answerTimeout, v)
}

// stop stops the child and discards its remaining lines.
func (c *child) stop() {
	go func() {
		for range c.lines {
		}
	}()
	c.Stop()
}
