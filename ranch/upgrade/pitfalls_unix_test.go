//go:build unix

package upgrade_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// inspect returns the listening sockets of a process.
func (f *fleet) inspect(pid int) []listening {
	f.t.Helper()
	f.signal(pid, syscall.SIGUSR1)
	all := f.wait(pid, "inspected").Sockets
	slices.SortFunc(all, func(a, b listening) int { return strings.Compare(a.Addr, b.Addr) })
	return all
}

// Neither a failed nor a successful upgrade changes the sockets that processes share: they stay
// non-blocking, their queues keep their length, and no process has a second descriptor of one.
func TestSocketsStayAsTheyAre(t *testing.T) {
	c := childConfig{Timeout: 20 * time.Second, Drain: testTimeout, Listeners: []childListener{{Ref: "tcp", Addr: "127.0.0.1:0"}, {Ref: "unix"}}}
	c.Listeners[1].Addr = "unix:s" // in the directory of the process
	f, first := startFleet(t, c)
	want := f.inspect(first.PID)
	if len(want) != 2 || want[0].Blocking || want[0].Inherits || want[1].Blocking || want[1].Inherits {
		t.Fatalf("sockets: got %v, want two that are not blocking and are closed on exec", want)
	}
	c.Mode = "listening exit 7"
	f.configure(c)
	f.failUpgrade(first.PID)
	if diff := cmp.Diff(want, f.inspect(first.PID)); diff != "" {
		t.Errorf("after a failed upgrade (-before +after):\n%s", diff)
	}
	c.Mode = ""
	f.configure(c)
	second := f.upgrade(first.PID)
	if diff := cmp.Diff(want, f.inspect(second.PID)); diff != "" {
		t.Errorf("successor (-predecessor +successor):\n%s", diff)
	}
	live := f.dial("tcp", first.Addrs["tcp"]) // of the successor, while the predecessor drains
	f.signal(first.PID, syscall.SIGTERM)
	f.wait(first.PID, "exit")
	live.echo()
	if diff := cmp.Diff(want, f.inspect(second.PID)); diff != "" {
		t.Errorf("after the drain of the predecessor (-before +after):\n%s", diff)
	}
}

// At most so many processes run at once. When one of them ends, the next upgrade is possible.
func TestTooManyProcesses(t *testing.T) {
	c := tcpConfig()
	c.Drain, c.MaxProcesses = testTimeout, 3
	f, first := startFleet(t, c)
	second := f.upgrade(first.PID)
	third := f.upgrade(second.PID)
	got := f.failUpgrade(third.PID)
	for _, want := range []string{"too many processes", "allowed are 3", strconv.Itoa(first.PID), strconv.Itoa(second.PID)} {
		if !strings.Contains(got, want) {
			t.Errorf("got error %q, want %q in it", got, want)
		}
	}
	f.dial("tcp", first.Addrs["tcp"]).echo()
	f.signal(first.PID, syscall.SIGTERM) // not the predecessor of third
	f.wait(first.PID, "exit")
	waitGone(t, first.PID)
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		f.signal(third.PID, syscall.SIGUSR2)
		if f.wait(third.PID, "upgraded", "upgrade failed").Event == "upgraded" {
			break
		}
		if time.Now().After(deadline) { // its last thread has descriptors for a moment longer
			t.Fatalf("upgrade after the end of a process: got an error for %v, want success", testTimeout)
		}
	}
	f.dial("tcp", first.Addrs["tcp"]).echo()
}

// waitGone waits until a child of this process has ended.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(testTimeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
	}
	t.Fatalf("process %d runs after %v", pid, testTimeout)
}

// A replaced process is ended at its limit even if it does not drain.
func TestLimit(t *testing.T) {
	c := tcpConfig()
	c.Drain, c.Limit = time.Hour, 300*time.Millisecond
	f, first := startFleet(t, c)
	old := f.dial("tcp", first.Addrs["tcp"])
	old.echo()
	second := f.upgrade(first.PID)
	if _, err := old.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("connection of the replaced process: got %v, want its end", err)
	}
	waitGone(t, first.PID)
	f.dial("tcp", second.Addrs["tcp"]).echo()
}

// During an upgrade there is no other one.
func TestUpgradeDuringUpgrade(t *testing.T) {
	c := tcpConfig()
	f, first := startFleet(t, c)
	c.Mode = "listening wait"
	f.configure(c)
	f.signal(first.PID, syscall.SIGUSR2)
	f.wait(0, "waiting")
	if got := f.failUpgrade(first.PID); !strings.Contains(got, "an upgrade is in progress") {
		t.Errorf("got error %q, want that one is in progress", got)
	}
	f.goOn()
	f.wait(first.PID, "replaced")
	f.dial("tcp", first.Addrs["tcp"]).echo()
}

// goOn lets a process that waits continue.
func (f *fleet) goOn() {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// A replaced process cannot be upgraded.
func TestUpgradeDuringDrain(t *testing.T) {
	c := tcpConfig()
	c.Drain = testTimeout
	f, first := startFleet(t, c)
	second := f.upgrade(first.PID)
	if got := f.failUpgrade(first.PID); !strings.Contains(got, "replaced by its successor") {
		t.Errorf("got error %q, want that the process was replaced", got)
	}
	f.dial("tcp", second.Addrs["tcp"]).echo()
}

// A SIGTERM during an upgrade ends the successor, and the process stops.
func TestStopDuringUpgrade(t *testing.T) {
	c := tcpConfig()
	f, first := startFleet(t, c)
	c.Mode = "listening wait"
	f.configure(c)
	f.signal(first.PID, syscall.SIGUSR2)
	waiting := f.wait(0, "waiting")
	f.signal(first.PID, syscall.SIGTERM)
	if got := f.wait(first.PID, "upgrade failed").Text; !strings.Contains(got, "it stops") {
		t.Errorf("got error %q, want that the process stops", got)
	}
	f.wait(first.PID, "exit")
	waitGone(t, waiting.PID)
}

// A SIGTERM to a successor that is not ready ends only that.
func TestStopSuccessorDuringUpgrade(t *testing.T) {
	c := tcpConfig()
	f, first := startFleet(t, c)
	c.Mode = "adopted wait"
	f.configure(c)
	f.signal(first.PID, syscall.SIGUSR2)
	waiting := f.wait(0, "waiting")
	if err := syscall.Kill(waiting.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.wait(first.PID, "upgrade failed")
	f.dial("tcp", first.Addrs["tcp"]).echo()
}

// The program may have been replaced by another file, and its absence is a clear error.
func TestProgramReplaced(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := tcpConfig()
	dir := t.TempDir()
	path := filepath.Join(dir, "server")
	copyFile(t, exe, path)
	f := newFleet(t, c)
	first := f.wait(f.startProgram(path), "serving")
	copyFile(t, exe, path+".new")
	if err := os.Rename(path+".new", path); err != nil { // the running file is now "(deleted)"
		t.Fatal(err)
	}
	second := f.upgrade(first.PID)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := f.failUpgrade(second.PID); !strings.Contains(got, path) || !strings.Contains(got, "no such file") {
		t.Errorf("without the program: got error %q, want its path", got)
	}
	if err := os.WriteFile(path, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := f.failUpgrade(second.PID); !strings.Contains(got, "not executable") {
		t.Errorf("with a file that is no program: got error %q, want that it is not executable", got)
	}
	f.dial("tcp", first.Addrs["tcp"]).echo()
}

// A symbolic link is followed again: the successor is the program to which it leads now.
func TestProgramIsALink(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	old, next, link := filepath.Join(dir, "old"), filepath.Join(dir, "next"), filepath.Join(dir, "server")
	copyFile(t, exe, old)
	copyFile(t, exe, next)
	if err := os.Symlink(old, link); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, tcpConfig())
	first := f.wait(f.startProgram(link), "serving")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(next, link); err != nil {
		t.Fatal(err)
	}
	second := f.upgrade(first.PID)
	if got, err := os.Readlink("/proc/" + strconv.Itoa(second.PID) + "/exe"); err == nil && got != next {
		t.Errorf("program of the successor: got %s, want %s", got, next)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A successor with another configuration: a listener that it does not have is drained and closed,
// and one that is new is opened.
func TestOtherListeners(t *testing.T) {
	c := childConfig{Timeout: 20 * time.Second, Drain: testTimeout, Listeners: []childListener{{Ref: "keep", Addr: "127.0.0.1:0"}, {Ref: "drop", Addr: "unix:s"}}}
	f, first := startFleet(t, c)
	path := filepath.Join(f.dir, "s")
	old := f.dial("unix", path)
	old.echo()
	c.Listeners[1] = childListener{Ref: "new", Addr: "127.0.0.1:0"}
	f.configure(c)
	f.signal(first.PID, syscall.SIGUSR2)
	if got, want := f.wait(first.PID, "upgraded").Text, "1 sockets, closed [drop]"; got != want {
		t.Errorf("result: got %q, want %q", got, want)
	}
	second := f.wait(0, "serving")
	f.dial("tcp", second.Addrs["keep"]).echo()
	f.dial("tcp", second.Addrs["new"]).echo()
	old.echo()
	f.dial("unix", path).echo() // until the predecessor drains
	f.signal(first.PID, syscall.SIGTERM)
	f.wait(first.PID, "exit")
	if _, err := os.Lstat(path); err == nil {
		t.Error("file of the listener that the successor does not have: got a file, want none")
	}
	if second.Addrs["keep"] != first.Addrs["keep"] {
		t.Errorf("address: got %s, want %s", second.Addrs["keep"], first.Addrs["keep"])
	}
}

// Several sockets of one port, on a port that the system has chosen, are all handed over.
func TestSeveralSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: several sockets on one port require Linux; to run this test: go test ./ranch/upgrade -run SeveralSockets on Linux")
	}
	c := tcpConfig()
	c.Drain = 10 * time.Millisecond
	c.Listeners[0].Sockets = 4
	f, p := startFleet(t, c)
	addr := p.Addrs["tcp"]
	for range 2 {
		if n := len(f.inspect(p.PID)); n != 4 {
			t.Fatalf("got %d listening sockets, want 4", n)
		}
		next := f.upgrade(p.PID)
		f.wait(p.PID, "exit")
		for range 20 {
			f.dial("tcp", addr).echo()
		}
		p = next
	}
	if p.Addrs["tcp"] != addr {
		t.Errorf("address: got %s, want %s", p.Addrs["tcp"], addr)
	}
}
