package reload

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// TooLargeError is the error of a file that is larger than allowed.
type TooLargeError struct{ Limit int } // in bytes

func (e TooLargeError) Error() string { return fmt.Sprintf("larger than %d bytes", e.Limit) }

// ReadFile reads a regular file of at most limit bytes. If check is not nil, it is called with the
// opened file's info before the file is read, and its error is returned. Errors do not contain the
// path, as callers name it.
func ReadFile(path string, limit int, check func(fs.FileInfo) error) ([]byte, error) {
	fi, err := os.Stat(path)
	if err == nil && !fi.Mode().IsRegular() { // opening a named pipe would block
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	if check != nil {
		// The path may name another file by now, so the opened file is checked.
		if fi, err = f.Stat(); err != nil {
			return nil, withoutPath(err)
		}
		if err := check(fi); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = TooLargeError{limit}
	}
	return b, withoutPath(err)
}

func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
