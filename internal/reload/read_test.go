package reload_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"goranch/internal/reload"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuse := func(fs.FileInfo) error { return errBad }
	for name, c := range map[string]struct {
		path  string
		limit int
		check func(fs.FileInfo) error
		want  string
		err   string
	}{
		"within the limit": {path, 5, nil, "12345", ""},
		"over the limit":   {path, 4, nil, "", "larger than 4 bytes"},
		"refused by check": {path, 5, refuse, "", "bad"},
		"directory":        {dir, 5, nil, "", "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := reload.ReadFile(c.path, c.limit, c.check)
			text := ""
			if err != nil {
				b, text = nil, err.Error()
			}
			if string(b) != c.want || text != c.err {
				t.Errorf("got %q, %q, want %q, %q", b, text, c.want, c.err)
			}
			if tooLarge := c.limit == 4; errors.As(err, new(reload.TooLargeError)) != tooLarge {
				t.Errorf("got %T, want a TooLargeError: %t", err, tooLarge)
			}
		})
	}
	_, err := reload.ReadFile(path+"x", 5, nil)
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*fs.PathError)) {
		t.Errorf("missing file: got %v, want %v without the path", err, fs.ErrNotExist)
	}
}
