//go:build unix

package access

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkMode refuses a file that others could learn from, or could add a token to.
func checkMode(fi fs.FileInfo) error {
	mode := fi.Mode().Perm()
	switch {
	case mode&0o004 != 0:
		return fmt.Errorf("mode %04o: others can read it; chmod 600 it", mode)
	case mode&0o022 != 0:
		return fmt.Errorf("mode %04o: its group or others can write it; chmod 600 it", mode)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d, who could write it; chown it to root or to user %d", st.Uid, os.Geteuid())
	}
	return nil
}
