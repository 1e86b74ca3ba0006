//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// requireProgram returns the path of a program. Without it the test is skipped; call it before the
// test starts anything.
func requireProgram(t *testing.T, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed; to run this test: apt-get install %s", name, debianPackage)
	}
	return path
}

// builtProgram builds ranchd once for all tests.
var builtProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ranchd-tests-")
	if err != nil {
		return "", err
	}
	removeAtEnd = append(removeAtEnd, dir)
	bin := filepath.Join(dir, "ranchd")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

// buildProgram returns the path of a built ranchd, which the test may rename or remove.
func buildProgram(t testing.TB) string {
	t.Helper()
	built, err := builtProgram()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "ranchd")
	if err := os.Link(built, bin); err != nil {
		t.Fatal(err)
	}
	return bin
}

// process is ranchd in its own process.
type process struct {
	cmd      *exec.Cmd
	out, log output
	done     chan struct{} // closed at its end
}

// startProcess starts a program with these arguments and kills it at the end of the test.
func startProcess(t testing.TB, path string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	p.start(t)
	return p
}

func (p *process) start(t testing.TB) {
	t.Helper()
	p.done = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
	})
}

// wantExit waits for the end of the process and compares its exit code.
func (p *process) wantExit(t *testing.T, want int) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(timeout):
		t.Fatalf("the process is running after %v, want exit code %d; log:\n%s", timeout, want, &p.log)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("got %v, want exit code %d; log:\n%s", p.cmd.ProcessState, want, &p.log)
	}
}

// tryCommand returns the command that the banner shows for a listener.
func (p *process) tryCommand(t *testing.T, listener string) string {
	t.Helper()
	previous := ""
	return strings.TrimSpace(p.out.line(t, "the command for "+listener, func(line string) bool {
		found := strings.HasPrefix(previous, "  "+listener+": ")
		previous = line
		return found
	}))
}

// readLines reads so many lines, or fewer if the connection ends.
func readLines(r io.Reader, n int) {
	b := bufio.NewReaderSize(r, 16<<10)
	for range n {
		if _, err := b.ReadString('\n'); err != nil {
			return
		}
	}
}
