//go:build unix

package console

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CheckSocket returns an error if address is a Unix socket of another user in a directory that
// everybody may write to, such as /tmp: its owner would receive the commands and tokens. It returns
// nil for sockets of root, and for other addresses.
func CheckSocket(address string) error {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok || path == "" || path[0] == '@' {
		return nil
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil || dir.Mode().Perm()&0o022 == 0 {
		return nil // dialing reports what is wrong
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid != 0 && int(st.Uid) != os.Getuid() {
		return fmt.Errorf("socket %s belongs to another user (uid %d): to use it anyway, pass --connect unix:%s",
			path, st.Uid, path)
	}
	return nil
}
