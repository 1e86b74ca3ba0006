package upgrade_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// parentOf returns the parent of a process.
func parentOf(t *testing.T, pid int) (parent int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var state string
	if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return parent
}

// A service manager learns that a successor has crashed while its predecessor drains, because the
// successor is its child too. The test is the manager.
func TestSuccessorIsAChildOfTheManager(t *testing.T) {
	t.Setenv("MANAGERPID", fmt.Sprint(os.Getpid()))
	c := tcpConfig()
	c.Drain = testTimeout
	f, first := startFleet(t, c)
	c.Mode = "start crash"
	f.configure(c)
	if got, want := f.failUpgrade(first.PID), "exit status unknown"; !strings.Contains(got, want) {
		t.Errorf("successor that crashes: got error %q, want %q in it", got, want)
	}
	var failed int
	if _, err := fmt.Sscanf(f.wait(first.PID, "progress").Text, "started process %d:", &failed); err != nil {
		t.Fatal(err)
	}
	c.Mode = ""
	f.configure(c)
	pids := []int{failed}
	for p := first; len(pids) < 3; {
		p = f.upgrade(p.PID)
		if got, want := parentOf(t, p.PID), os.Getpid(); got != want {
			t.Errorf("parent of generation %d: got %d, want %d", p.Generation, got, want)
		}
		f.dial("tcp", first.Addrs["tcp"]).echo()
		pids = append(pids, p.PID)
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
		var status syscall.WaitStatus
		if got, err := syscall.Wait4(pid, &status, 0, nil); got != pid || err != nil || status.Signal() != syscall.SIGKILL {
			t.Errorf("wait for process %d: got %d, status %v and error %v, want its end by SIGKILL", pid, got, status, err)
		}
	}
}
