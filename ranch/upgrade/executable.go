package upgrade

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// started is how this process was started, found before the program can change its directory.
var started = func() (s struct{ dir, path string }) {
	s.dir, _ = os.Getwd()
	s.path = programPath(os.Args, s.dir)
	return s
}()

// programPath returns the path of the program as it was called, so that a symbolic link is followed
// again by the next start: it may lead to another release. If the arguments do not say it, the path
// is that of the executable file, as it was at the start: Linux appends " (deleted)" when it was
// replaced.
func programPath(args []string, dir string) string {
	self, err := os.Executable()
	if len(args) == 0 {
		return self
	}
	path := args[0]
	if !strings.ContainsRune(path, filepath.Separator) {
		if path, _ = exec.LookPath(path); path == "" {
			return self
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	running, rerr := os.Stat(self)
	called, cerr := os.Stat(path)
	if err == nil && rerr == nil && (cerr != nil || !os.SameFile(running, called)) {
		return self // the caller has chosen another name for the arguments
	}
	return path
}

// checkProgram returns an error if path is no program.
func checkProgram(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("program %s: %w", path, errors.Unwrap(err))
	case !fi.Mode().IsRegular():
		return fmt.Errorf("program %s: it is not a file", path)
	case fi.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("program %s: it is not executable: %w", path, os.ErrPermission)
	}
	return nil
}
