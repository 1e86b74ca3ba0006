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

// childModes are the functions that the test binary runs as a child process, by the name in its
// environment.
var childModes = map[string]func(path string){"save": saveForever, "limit": saveWithinLimit}

func childCommand(name, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BOLTSTORE_CHILD="+name, "BOLTSTORE_FILE="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// saveForever saves sessions n/0 to n/9 in step n, removes those of step n-2, and prints n after
// Save has returned.
func saveForever(path string) {
	s, err := boltstore.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	s.Each(func(r session.Record) bool { n = max(n, stepOf(r.ID)); return true })
	for n++; ; n++ {
		if err := s.Save(recordsOf(n), idsOf(n-2)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n)
	}
}

func stepOf(id string) int {
	n, _, _ := strings.Cut(id, "/")
	i, _ := strconv.Atoi(n)
	return i
}

func recordsOf(n int) (list []session.Record) {
	for i := range 10 {
		list = append(list, session.Record{ID: fmt.Sprintf("%d/%d", n, i), Created: time.Now(), Seen: time.Now(), State: []byte(strings.Repeat(strconv.Itoa(n), 100))})
	}
	return list
}

func idsOf(n int) (ids []string) {
	for i := range 10 {
		ids = append(ids, fmt.Sprintf("%d/%d", n, i))
	}
	return ids
}

// BOLTSTORE_CRASHES is the number of times the child is killed; the default is 20.
func TestSavedRecordsSurviveAKill(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("BOLTSTORE_CRASHES"))
	if err != nil {
		rounds = 20
	}
	path := filepath.Join(t.TempDir(), "s.db")
	total := 0
	for range rounds {
		acknowledged := killWhileSaving(t, path)
		total = max(total, acknowledged)
		s := openStore(t, path)
		steps := map[int]int{}
		for id, r := range records(t, s) {
			n := stepOf(id)
			steps[n]++
			if want := strings.Repeat(strconv.Itoa(n), 100); string(r.State) != want {
				t.Errorf("session %s: got state %.20q, want %.20q", id, r.State, want)
			}
		}
		last := acknowledged
		if steps[acknowledged+1] > 0 { // saved, but killed before it printed the step
			last++
		}
		if len(steps) != min(last, 2) || steps[last] != 10 || last > 1 && steps[last-1] != 10 {
			t.Fatalf("got sessions per step %v, want 10 of step %d and 10 of the one before", steps, last)
		}
		must(t, s.Close())
	}
	t.Logf("%d kills, %d steps saved", rounds, total)
}

// killWhileSaving kills a child during a Save and returns the last step that it has printed.
func killWhileSaving(t *testing.T, path string) int {
	cmd := childCommand("save", path)
	out, err := cmd.StdoutPipe()
	must(t, err, cmd.Start())
	lines := bufio.NewScanner(out)
	n, last, start := 0, 3+rand.IntN(5), time.Now()
	for i := 0; lines.Scan(); i++ {
		if n, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("child printed %q, want a step", lines.Text())
			break
		}
		if i == last { // at a random time in the next two steps
			each := time.Since(start) / time.Duration(last+1)
			time.AfterFunc(rand.N(2*each+1), func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	return n
}

// saveWithinLimit runs fill with a limited file size.
func saveWithinLimit(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := boltstore.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	const limit = 256 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fill(s))
}

// fill saves until Save fails. It then checks that the earlier records exist, and that Save works
// again after some records are removed. The result is "ok: " and the error of Save, or a failure
// message.
func fill(s session.Store) string {
	n := 0
	var full error
	for n = 1; n < 10000 && full == nil; n++ {
		full = s.Save(recordsOf(n), nil)
	}
	if full == nil {
		return "got no error from Save, want one"
	}
	count := 0
	if err := s.Each(func(session.Record) bool { count++; return true }); err != nil {
		return err.Error()
	}
	if want := 10 * (n - 2); count != want {
		return fmt.Sprintf("got %d records, want %d", count, want)
	}
	for i := range n / 2 {
		if err := s.Save(nil, idsOf(i)); err != nil {
			return fmt.Sprintf("remove records: %v", err)
		}
	}
	if err := s.Save(recordsOf(n), nil); err != nil {
		return fmt.Sprintf("save after records were removed: %v", err)
	}
	if err := s.Close(); err != nil {
		return err.Error()
	}
	return "ok: " + full.Error()
}

func TestFileSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	out, err := childCommand("limit", path).Output()
	if err != nil || !strings.HasPrefix(string(out), "ok: ") || !strings.Contains(string(out), "too large") {
		t.Fatalf("got output %q and error %v, want \"ok: \" and a file size error", out, err)
	}
	t.Logf("%s", out)
	if len(records(t, openStore(t, path))) == 0 {
		t.Error("got no records, want some")
	}
}

func TestFullAndReadOnlyDisks(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("NOT TESTED: cannot mount a small file system: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	path := filepath.Join(dir, "s.db")
	out := fill(openStore(t, path))
	if !strings.HasPrefix(out, "ok: ") || !strings.Contains(out, syscall.ENOSPC.Error()) {
		t.Errorf("got %q, want \"ok: \" and %v", out, syscall.ENOSPC)
	}
	t.Log(out)
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	if s, err := boltstore.Open(path); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Open on a read-only file system: got error %v, want %v", err, syscall.EROFS)
		if err == nil {
			s.Close()
		}
	}
}
