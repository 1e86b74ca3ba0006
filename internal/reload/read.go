package reload

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// TooLargeError is that of a file of more bytes than were asked for.
type TooLargeError struct{ Most int }

func (e TooLargeError) Error() string { return fmt.Sprintf("larger than %d bytes", e.Most) }

// ReadFile reads a regular file of at most so many bytes. check, if it is not nil, sees what is read before
// that happens, and may refuse it. Errors do not name the path.
func ReadFile(path string, most int, check func(fs.FileInfo) error) ([]byte, error) {
	fi, err := os.Stat(path)
	if err == nil && !fi.Mode().IsRegular() { // opening a pipe would wait
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, plain(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	if check != nil {
		if fi, err = f.Stat(); err != nil { // of the file that is read, whatever stands there by now
			return nil, plain(err)
		}
		if err := check(fi); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(b) > most {
		err = TooLargeError{most}
	}
	return b, plain(err)
}

// plain drops the path, which who asks for a file names already.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
