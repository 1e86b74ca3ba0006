//go:build !noengine

package natsengine

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// mountDisk mounts a file system in memory, with these options. Without the right to do so, the
// test is skipped.
func mountDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	var flags uintptr
	if options == "ro" {
		flags, options = syscall.MS_RDONLY, ""
	}
	if err := syscall.Mount("none", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("SKIPPED: mounting a small disk: %v; to run this test: sudo go test ./internal/natsengine -run %s", err, t.Name())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// A store that cannot be written is refused.
func TestReadOnlyDisk(t *testing.T) {
	e, err := Start(Options{Name: "a", Store: filepath.Join(mountDisk(t, "ro"), "cluster"), Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		e.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "store: ") || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("got error %v, want one about the store", err)
	}
}

// A disk that is full makes the node degraded.
func TestFullDisk(t *testing.T) {
	dir := mountDisk(t, "size=4m")
	e, log := start(t, Options{Name: "a", Store: filepath.Join(dir, "cluster")})
	waitUntil(t, e, log, "")
	js, err := jetstream.New(e.Conn())
	if err == nil {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}, MaxBytes: 2 << 20})
	}
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 4<<20), 0o600) // as much as there is room for
	for range 20 {
		if err := e.Conn().Publish("s", make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	waitUntil(t, e, log, "no space left on device")
	if got, want := e.Degraded().Error(), "free disk space and restart the node"; !strings.Contains(got, want) {
		t.Errorf("reason: got %q, want %q in it", got, want)
	}
}
