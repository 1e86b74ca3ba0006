package transcript

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// Terminal is a running client whose input is written, and whose output is read, by the test.
type Terminal struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts a client, which is killed when the test ends.
func Start(t *testing.T, program string, args ...string) *Terminal {
	t.Helper()
	cmd := exec.Command(program, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &Terminal{t, cmd, in, bufio.NewReader(out)}
}

// Sends writes a line to the client.
func (c *Terminal) Sends(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// Receives fails the test unless the client's next line of output is want.
func (c *Terminal) Receives(want string) {
	c.t.Helper()
	if got, err := c.out.ReadString('\n'); got != want+"\n" {
		c.t.Fatalf("line of output: got %q (error %v), want %q", got, err, want)
	}
}

// WaitFor skips output until a line that contains want.
func (c *Terminal) WaitFor(want string) {
	c.t.Helper()
	for {
		line, err := c.out.ReadString('\n')
		if strings.Contains(line, want) {
			return
		}
		if err != nil {
			c.t.Fatalf("output: got its end (%v), want a line with %q", err, want)
		}
	}
}

// Exits ends the input, and fails the test unless the client exits with status 0.
func (c *Terminal) Exits() {
	c.t.Helper()
	c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("client: got %v, want exit status 0", err)
	}
}
