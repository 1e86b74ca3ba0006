package shell

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestPathsDoNotLeaveTheRoot(t *testing.T) {
	outside := t.TempDir()
	os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600)
	root := t.TempDir()
	os.MkdirAll(filepath.Join(root, "a", "b"), 0o700)
	os.WriteFile(filepath.Join(root, "file"), nil, 0o600)
	os.Symlink(outside, filepath.Join(root, "out"))
	os.Symlink("../../../../../../..", filepath.Join(root, "up"))
	os.Symlink("a/b", filepath.Join(root, "in"))
	os.Symlink("loop", filepath.Join(root, "loop"))
	escapes := ": path escapes from parent"
	tests := []struct{ send, want, pwd string }{
		{"cd ..", "", "/"},
		{"cd ../../../../etc", `error: "/etc": no such file or directory`, "/"},
		{"cd /etc", `error: "/etc": no such file or directory`, "/"},
		{"cd a/../../../a", "", "/a"},
		{"cd b", "", "/a/b"},
		{"cd ../..", "", "/"},
		{"cd in", "", "/in"},
		{"cd ..", "", "/"},
		{"cd out", `error: "/out"` + escapes, "/"},
		{"ls out", `error: "/out"` + escapes, "/"},
		{"ls out/secret", `error: "/out/secret"` + escapes, "/"},
		{"cd up", `error: "/up"` + escapes, "/"},
		{"cd up" + outside, `error: "/up` + outside + `"` + escapes, "/"},
		{"cd " + outside, `error: "` + outside + `": no such file or directory`, "/"},
		{"cd loop", `error: "/loop": too many levels of symbolic links`, "/"},
		{"cd file", `error: "/file": not a directory`, "/"},
		{"cd '..\\..'", `error: "/..\\..": no such file or directory`, "/"},
		{"cd " + strings.Repeat("x/", 1000), "error: path of 2000 bytes: allowed are at most 1024", "/"},
		{"cd " + strings.Repeat("x", 1000), `error: "/` + strings.Repeat("x", 60) + `…": file name too long`, "/"},
		{"cd ''", "", "/"},
		{"cd a", "", "/a"},
		{"cd", "", "/"},
		{"ls file", "file", "/"},
		{"ls --long file --x", "error: ls has no flag --x", "/"},
	}
	c := newTestServer(t, Options{Root: root}).dial()
	for _, tt := range tests {
		c.send(tt.send + "\n")
		if tt.want != "" {
			if got := c.line(); got != tt.want {
				t.Errorf("%.40s: got %q, want %q", tt.send, got, tt.want)
			}
		}
		c.ask("pwd", tt.pwd)
	}
	if _, err := resolve("/", "a\x00"); err == nil {
		t.Error("path with a NUL byte: got no error, want one")
	}
}

// A directory that is replaced concurrently by a link out of the root never leads out of it.
func TestConcurrentLinkChange(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	os.Mkdir(filepath.Join(outside, "sub"), 0o700)
	os.WriteFile(filepath.Join(outside, "sub", "secret"), nil, 0o600)
	os.MkdirAll(filepath.Join(root, "real", "sub"), 0o700)
	os.Symlink(outside, filepath.Join(root, "link"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			os.Rename(filepath.Join(root, "real"), filepath.Join(root, "x"))
			os.Rename(filepath.Join(root, "link"), filepath.Join(root, "x2"))
			os.Rename(filepath.Join(root, "x2"), filepath.Join(root, "real"))
			os.Rename(filepath.Join(root, "real"), filepath.Join(root, "link"))
			os.Rename(filepath.Join(root, "x"), filepath.Join(root, "real"))
		}
	})
	c := newTestServer(t, Options{Root: root}).dial()
	for range 500 {
		c.send("ls real/sub\necho end\n")
		for line := ""; line != "end"; {
			if line = c.line(); strings.Contains(line, "secret") {
				t.Errorf("got %q, want nothing from outside the root", line)
			}
		}
	}
	close(done)
	wg.Wait()
}
