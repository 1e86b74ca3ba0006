//go:build linux

package boltstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"goranch/protocol/session"
	"goranch/protocol/session/boltstore"
)

// children are what the test's own program does as a child, by the name in its environment.
var children = map[string]func(path string){"save": saveForEver, "limit": saveWithinLimit}

func child(t *testing.T, name, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BOLTSTORE_CHILD="+name, "BOLTSTORE_FILE="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// saveForEver makes sessions n/0 to n/9 in step n, removes those of the step before the last, and says so when Save
// has returned.
func saveForEver(path string) {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	s.Each(func(r session.Record) bool { n = max(n, step(r.ID)); return true })
	for n++; ; n++ {
		if err := s.Save(put(n), remove(n-2)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n)
	}
}

func step(id string) int {
	n, _, _ := strings.Cut(id, "/")
	i, _ := strconv.Atoi(n)
	return i
}

func put(n int) (all []session.Record) {
	for i := range 10 {
		all = append(all, session.Record{ID: fmt.Sprintf("%d/%d", n, i), Created: time.Now(), Seen: time.Now(), State: []byte(strings.Repeat(strconv.Itoa(n), 100))})
	}
	return all
}

func remove(n int) (ids []string) {
	for i := range 10 {
		ids = append(ids, fmt.Sprintf("%d/%d", n, i))
	}
	return ids
}

// BOLTSTORE_CRASHES is how often the child is killed; 20 times by default.
func TestWhatSaveHasAcknowledgedOutlivesAKill(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("BOLTSTORE_CRASHES"))
	if err != nil {
		rounds = 20
	}
	path := filepath.Join(t.TempDir(), "s.db")
	total := 0
	for range rounds {
		acknowledged := crash(t, path)
		total = max(total, acknowledged)
		s := open(t, path)
		steps := map[int]int{}
		for id, r := range all(t, s) {
			n := step(id)
			steps[n]++
			if want := strings.Repeat(strconv.Itoa(n), 100); string(r.State) != want {
				t.Errorf("session %s has the state %.20q", id, r.State)
			}
		}
		last := acknowledged
		if steps[acknowledged+1] > 0 { // saved, not told
			last++
		}
		if len(steps) != min(last, 2) || steps[last] != 10 || last > 1 && steps[last-1] != 10 {
			t.Fatalf("acknowledged was step %d; there are (step: sessions) %v", acknowledged, steps)
		}
		do(t, s.Close())
	}
	t.Logf("%d kills, %d steps", rounds, total)
}

// crash kills a child in the midst of saving and returns the last step that it had acknowledged.
func crash(t *testing.T, path string) int {
	cmd := child(t, "save", path)
	out, err := cmd.StdoutPipe()
	do(t, err, cmd.Start())
	lines := bufio.NewScanner(out)
	n, stop, begun := 0, 3+rand.IntN(5), time.Now()
	for i := 0; lines.Scan(); i++ {
		if n, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("the child says %s", lines.Text())
			break
		}
		if i == stop { // somewhere in the next two steps
			each := time.Since(begun) / time.Duration(stop+1)
			time.AfterFunc(rand.N(2*each+1), func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	return n
}

// saveWithinLimit saves until the file may not grow, and then less.
func saveWithinLimit(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	const most = 256 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fill(s))
}

// fill saves until Save fails, looks whether what was saved before is there, and whether there is room
// again after some of it has gone.
func fill(s *boltstore.Store) string {
	n := 0
	var full error
	for n = 1; n < 10000 && full == nil; n++ {
		full = s.Save(put(n), nil)
	}
	if full == nil {
		return "it was never full"
	}
	there := 0
	if err := s.Each(func(session.Record) bool { there++; return true }); err != nil {
		return err.Error()
	}
	if want := 10 * (n - 2); there != want {
		return fmt.Sprintf("%d sessions of %d are there", there, want)
	}
	for i := range n / 2 {
		if err := s.Save(nil, remove(i)); err != nil {
			return fmt.Sprintf("removing: %v", err)
		}
	}
	if err := s.Save(put(n), nil); err != nil {
		return fmt.Sprintf("when there is room again: %v", err)
	}
	if err := s.Close(); err != nil {
		return err.Error()
	}
	return "ok: " + full.Error()
}

func TestAFileThatMayNotGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	out, err := child(t, "limit", path).Output()
	if err != nil || !strings.HasPrefix(string(out), "ok: ") || !strings.Contains(string(out), "too large") {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	if len(all(t, open(t, path))) == 0 {
		t.Error("nothing is left")
	}
}

func TestFullAndReadOnlyDisks(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("NOT TESTED: a small file system cannot be mounted here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	path := filepath.Join(dir, "s.db")
	out := fill(open(t, path))
	if !strings.HasPrefix(out, "ok: ") || !strings.Contains(out, syscall.ENOSPC.Error()) {
		t.Error(out)
	}
	t.Log(out)
	do(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	if s, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Open where nothing can be written: %v", err)
		if err == nil {
			s.Close()
		}
	}
}
