//go:build unix

package transport_test

import (
	"os"
	"path/filepath"
	"testing"

	"goranch/internal/engine"
	"goranch/transport"
)

// The file of a socket that another process has too stays when its listener is closed.
func TestUnixSocketFileIsKept(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	for _, keep := range []bool{true, false} {
		ln := listen(t, transport.TCP{}, "unix:"+path)
		engine.KeepSocketFile(path, true)
		engine.KeepSocketFile(path, keep)
		ln.Close()
		if _, err := os.Lstat(path); (err == nil) != keep {
			t.Errorf("keep %v: got file exists %v, want %v", keep, err == nil, keep)
		}
	}
}
