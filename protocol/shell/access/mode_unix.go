//go:build unix

package access

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkMode returns an error for a file that others can read, or to which others can add a token.
func checkMode(fi fs.FileInfo) error {
	mode := fi.Mode().Perm()
	switch {
	case mode&0o004 != 0:
		return fmt.Errorf("mode %04o: others can read it; use chmod 600", mode)
	case mode&0o022 != 0:
		return fmt.Errorf("mode %04o: its group or others can write it; use chmod 600", mode)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("owner %d: allowed are root and the user of this process; use chown root or chown %d", st.Uid, os.Geteuid())
	}
	return nil
}
