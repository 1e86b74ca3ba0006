package console

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, x := range []struct{ in, out, short string }{
		{"unix:/run/ranchd.sock", "unix:/run/ranchd.sock", "ranchd.sock"},
		{"unix:///run/ranchd.sock", "unix:/run/ranchd.sock", "ranchd.sock"},
		{"tls+unix:/run/a.sock", "tls+unix:/run/a.sock", "a.sock"},
		{"tcp://[::1]:80", "tcp://[::1]:80", "[::1]:80"},
		{"tls://example.org:8443", "tls://example.org:8443", "example.org:8443"},
		{"localhost:8080", "tcp://localhost:8080", "localhost:8080"},
		{"tls:8443", "", ""}, {"http://x:80", "", ""}, {"", "", ""}, {"host", "", ""}, {"fd:3", "", ""}, {"tcp://:80", "", ""}, {"unix:", "", ""},
	} {
		a, err := ParseAddress(x.in)
		if (err == nil) != (x.out != "") || err == nil && (a.String() != x.out || a.Short() != x.short) {
			t.Errorf("%q: got %q, %q, %v, want %q, %q", x.in, a.String(), a.Short(), err, x.out, x.short)
		}
	}
}

func TestAdminSocket(t *testing.T) {
	for _, x := range []struct {
		runtimeDir string
		uid        int
		want       string
	}{
		{"/run/user/7", 7, "unix:/run/user/7/ranchd.sock"},
		{"relative", 7, "unix:/tmp/ranchd-7.sock"},
		{"", 7, "unix:/tmp/ranchd-7.sock"},
		{"", 0, "unix:/run/ranchd.sock"},
	} {
		if got := adminSocket(x.runtimeDir, x.uid, "/tmp"); got != x.want {
			t.Errorf("directory %q, uid %d: got %s, want %s", x.runtimeDir, x.uid, got, x.want)
		}
	}
}

// TestCheckSocket checks that a socket of another user is refused only in a directory that
// everybody may write to.
func TestCheckSocket(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root can change the owner of a socket; run: sudo go test ./internal/console -run TestCheckSocket")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	os.Chown(path, 65534, 65534)
	if err := CheckSocket("unix:" + path); err != nil {
		t.Errorf("in a private directory: got %v, want no error", err)
	}
	os.Chmod(dir, 0o777)
	if err := CheckSocket("unix:" + path); err == nil {
		t.Error("socket of another user in a public directory: got no error, want one")
	}
	os.Chown(path, 0, 0)
	if err := CheckSocket("unix:" + path); err != nil {
		t.Errorf("socket of root: got %v, want no error", err)
	}
}
