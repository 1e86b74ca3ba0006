package loadgen

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain also runs the child processes of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && strings.HasPrefix(os.Args[1], "child-") {
		os.Exit(runChild(os.Args[1]))
	}
	goleak.VerifyTestMain(m)
}

func runChild(name string) int {
	switch name {
	case "child-echo":
		fmt.Println(os.Getenv("CHILD_GREETING"))
		io.Copy(os.Stdout, os.Stdin)
	case "child-fails":
		fmt.Fprintln(os.Stderr, strings.Repeat("x", tailSize)+"the reason")
		return 3
	case "child-hangs":
		time.Sleep(time.Hour)
	}
	return 0
}

func startChild(t *testing.T, name string, start func(*exec.Cmd) error) *Process {
	t.Helper()
	p, err := StartProcess([]string{name}, []string{"CHILD_GREETING=hello"}, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// A child exits at the end of its standard input. Its output can be read after it has exited.
func TestProcessExitsWithStdin(t *testing.T) {
	started := false
	p := startChild(t, "child-echo", func(cmd *exec.Cmd) error { started = true; return cmd.Start() })
	io.WriteString(p.Stdin, "world")
	p.Stdin.Close()
	if err := p.Wait(); err != nil || !started {
		t.Errorf("Wait: got error %v, start called %v; want no error, true", err, started)
	}
	out, err := io.ReadAll(p.Stdout)
	if string(out) != "hello\nworld" || err != nil {
		t.Errorf("Stdout: got %q, %v; want %q, nil", out, err, "hello\nworld")
	}
}

func TestProcessFails(t *testing.T) {
	p := startChild(t, "child-fails", nil)
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "exit status 3: x") || !strings.HasSuffix(err.Error(), "the reason") {
		t.Errorf("Wait: got error %v, want the exit status and the end of stderr", err)
	}
}

func TestProcessDoesNotStart(t *testing.T) {
	want := io.ErrUnexpectedEOF
	if _, err := StartProcess(nil, nil, func(*exec.Cmd) error { return want }); err != want {
		t.Errorf("StartProcess: got error %v, want %v", err, want)
	}
}

// Stop kills a child that does not exit.
func TestStopKills(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the timeout of Stop")
	}
	p := startChild(t, "child-hangs", nil)
	begin := time.Now()
	p.Stop()
	if took := time.Since(begin); took < stopTimeout || took > stopTimeout+30*time.Second {
		t.Errorf("Stop: took %v, want about %v", took, stopTimeout)
	}
	if err := p.Wait(); err == nil {
		t.Error("Wait: got no error, want one that reports the kill")
	}
}
