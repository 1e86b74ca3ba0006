//go:build unix

package accesslog

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A real full disk: the log reports it and drops no line before its memory is full.
func TestDevFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("SKIPPED: no /dev/full; run on Linux: go test ./ranch/accesslog -run DevFull")
	}
	l := openLog(t, "/dev/full", Options{})
	addLines(t, l, 0, 10)
	for end := time.Now().Add(time.Minute); l.Stats().Errors == 0; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("got no error of a write, want one")
		}
	}
	if st := l.Stats(); st.Lines != 0 || st.Dropped != 0 {
		t.Errorf("got %+v, want no line written or dropped", st)
	}
	closeLog(t, l)
	if st := l.Stats(); st.Dropped != 10 {
		t.Errorf("after Close: got %+v, want 10 dropped", st)
	}
}

// A named pipe without a reader is an error and not a wait; with a reader it is a destination.
func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("SKIPPED: mkfifo: %v; run on a file system with named pipes: go test ./ranch/accesslog -run NamedPipe", err)
	}
	if _, err := Open(path, Options{Logger: discard}); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("without a reader: got %v, want %v", err, syscall.ENXIO)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	l := openLog(t, path, Options{})
	addLines(t, l, 0, 3)
	lines := bufio.NewScanner(reader)
	for i := range 3 {
		lines.Scan()
		wantLines(t, []string{lines.Text()}, i, i+1)
	}
	addLines(t, l, 0, 50_000) // more than the pipe holds: the goroutine is blocked in a write
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	reader.SetReadDeadline(time.Time{})
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeLog(t, l)
	}()
	buf := make([]byte, 64<<10)
	for {
		select {
		case <-closed:
			return
		default:
			reader.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			reader.Read(buf)
		}
	}
}
