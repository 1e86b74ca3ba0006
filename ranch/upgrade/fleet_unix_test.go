//go:build unix

package upgrade_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testTimeout bounds each wait of a test. Tests that pass do not come near it.
const testTimeout = time.Minute

// fleet are the processes of a server and of its successors.
type fleet struct {
	t   *testing.T
	dir string

	mu      sync.Mutex
	reports []report
	changed chan struct{} // closed by the next report
	outputs int           // that have not ended
	stderr  strings.Builder
}

// startFleet starts the first process, which serves when startFleet returns. All are killed at the
// end of the test.
func startFleet(t *testing.T, c childConfig) (*fleet, report) {
	t.Helper()
	f := newFleet(t, c)
	return f, f.wait(f.start(), "serving")
}

// newFleet returns a fleet without a process.
func newFleet(t *testing.T, c childConfig) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "up") // the paths of t.TempDir are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir, changed: make(chan struct{})}
	f.configure(c)
	return f
}

// start starts another process without a predecessor.
func (f *fleet) start() (pid int) {
	f.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	return f.startProgram(exe)
}

func (f *fleet) startProgram(path string) (pid int) {
	f.t.Helper()
	cmd := exec.Command(path)
	cmd.Dir, cmd.Env = f.dir, append(os.Environ(), childEnv+"="+f.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // successors are in its group
	out, in, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	errOut, errIn, err := os.Pipe() // Wait would wait for all processes with a copying goroutine
	if err != nil {
		f.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, errIn
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	in.Close()
	errIn.Close()
	f.mu.Lock()
	f.outputs++
	f.mu.Unlock()
	var readers sync.WaitGroup
	readers.Go(func() { f.read(out) })
	readers.Go(func() { io.Copy(&lockedWriter{f}, errOut) })
	f.t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		readers.Wait()
		out.Close()
		errOut.Close()
		os.RemoveAll(f.dir)
		if f.t.Failed() {
			f.t.Logf("reports:\n%s\nstderr:\n%s", f.log(), f.stderr.String())
		}
	})
	return cmd.Process.Pid
}

type lockedWriter struct{ f *fleet }

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	return w.f.stderr.Write(p)
}

func (f *fleet) read(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var rep report
		if json.Unmarshal(lines.Bytes(), &rep) != nil {
			rep = report{Event: "output", Text: lines.Text()}
		}
		f.mu.Lock()
		f.reports = append(f.reports, rep)
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outputs--
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fleet) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, r := range f.reports {
		fmt.Fprintf(&b, "%d gen %d: %s %s %v\n", r.PID, r.Generation, r.Event, r.Text, r.Addrs)
	}
	return b.String()
}

// configure writes the configuration that processes read at their start.
func (f *fleet) configure(c childConfig) {
	f.t.Helper()
	b, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, "config.json"), b, 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// wait returns the first report of one of the events by a process; pid 0 is any process. It is
// returned once.
func (f *fleet) wait(pid int, events ...string) report {
	f.t.Helper()
	limit := time.NewTimer(testTimeout)
	defer limit.Stop()
	for {
		f.mu.Lock()
		changed, ended := f.changed, f.outputs == 0
		for i, r := range f.reports {
			if (pid == 0 || r.PID == pid) && slices.Contains(events, r.Event) {
				f.reports[i].Event = "(" + r.Event + ")"
				f.mu.Unlock()
				return r
			}
		}
		f.mu.Unlock()
		if ended {
			f.t.Fatalf("got the end of all processes, want %q of process %d", events, pid)
		}
		select {
		case <-changed:
		case <-limit.C:
			f.t.Fatalf("got no report within %v, want %q of process %d", testTimeout, events, pid)
		}
	}
}

// upgrade upgrades a process and returns the report of its successor, which serves.
func (f *fleet) upgrade(pid int) report {
	f.t.Helper()
	f.signal(pid, syscall.SIGUSR2)
	f.wait(pid, "upgraded")
	f.wait(pid, "replaced")
	r := f.wait(0, "serving")
	if r.Predecessor != pid {
		f.t.Fatalf("predecessor of the successor: got %d, want %d", r.Predecessor, pid)
	}
	return r
}

// failUpgrade upgrades a process, and returns the error.
func (f *fleet) failUpgrade(pid int) string {
	f.t.Helper()
	f.signal(pid, syscall.SIGUSR2)
	return f.wait(pid, "upgrade failed").Text
}

func (f *fleet) signal(pid int, s syscall.Signal) {
	f.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		f.t.Fatal(err)
	}
}

// client is a connection to a server that echoes.
type client struct {
	t *testing.T
	net.Conn
}

func (f *fleet) dial(network, addr string) client {
	f.t.Helper()
	nc, err := net.DialTimeout(network, addr, testTimeout)
	if err != nil {
		f.t.Fatalf("connect: got %v, want a connection", err)
	}
	f.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testTimeout))
	return client{f.t, nc}
}

// echo sends a line and wants it back.
func (c client) echo() {
	c.t.Helper()
	const word = "hello\n"
	got := make([]byte, len(word))
	if _, err := io.WriteString(c, word); err != nil {
		c.t.Fatalf("echo: %v", err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
		c.t.Fatalf("echo: got %q and error %v, want %q", got, err, word)
	}
}
