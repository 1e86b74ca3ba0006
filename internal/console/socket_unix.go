//go:build unix

package console

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CheckSocket refuses a Unix socket that somebody else may have put where everybody can
// write, such as /tmp, to get at what is sent to it. It returns nil for other addresses.
func CheckSocket(address string) error {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok || path == "" || path[0] == '@' {
		return nil
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil || dir.Mode().Perm()&0o022 == 0 {
		return nil // connecting says what is wrong
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid != 0 && int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s belongs to another user (uid %d); to connect all the same name it: --connect unix:%s", path, st.Uid, path)
	}
	return nil
}
