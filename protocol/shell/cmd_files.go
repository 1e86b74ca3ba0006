package shell

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// fileCommands are the commands that read the root directory.
func (s *Shell) fileCommands() []Command {
	return []Command{
		{Name: "pwd", Help: "Show the working directory.", Role: Viewer, Quick: true, Run: pwd},
		{Name: "cd", Usage: "[<directory>]", Help: "Change the working directory; without an argument, to the root directory.", Role: Viewer, MaxArgs: 1, Run: s.cd, Complete: s.completePath(true)},
		{Name: "ls", Usage: "[--long] [<path>]", Help: "List a directory.", Role: Viewer, MaxArgs: 1, Run: s.ls, Complete: s.completePath(false),
			Flags: []Flag{{Name: "long", Help: "Show sizes, times and modes."}}},
	}
}

func pwd(_ context.Context, c *Call) error {
	c.Return(c.Session.Dir)
	return nil
}

var errNoRoot = &Error{Message: "this server has no file access configured"}

// maxPath is the longest path in bytes.
const maxPath = 1024

// resolve returns the absolute path within the root for a path relative to dir. ".." does not lead
// above the root.
func resolve(dir, p string) (string, error) {
	if strings.IndexByte(p, 0) >= 0 {
		return "", Usage("the path contains a NUL byte")
	}
	if !path.IsAbs(p) {
		p = path.Join(dir, p)
	}
	p = path.Join("/", p)
	if len(p) > maxPath {
		return "", Usage("path of %d bytes: allowed are at most %d", len(p), maxPath)
	}
	return p, nil
}

// inRoot converts an absolute path to one relative to the os.Root.
func inRoot(p string) string {
	if p == "/" {
		return "."
	}
	return p[1:]
}

// open opens a directory; for other files it returns only the FileInfo. os.Root checks every
// element of the path, so symbolic links that are changed concurrently do not lead out of the root.
func (s *Shell) open(p string) (*os.File, fs.FileInfo, error) {
	if s.root == nil {
		return nil, nil, errNoRoot
	}
	info, err := s.root.Stat(inRoot(p)) // before opening: opening a named pipe could block
	if err != nil || !info.IsDir() {
		return nil, info, pathError(p, err)
	}
	f, err := s.root.OpenFile(inRoot(p), os.O_RDONLY|nonblock, 0)
	return f, info, pathError(p, err)
}

// pathError returns err with the path within the root, not that of the host.
func pathError(p string, err error) error {
	if err == nil {
		return nil
	}
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return &Error{Message: quoted(p) + ": " + err.Error()}
}

func (s *Shell) cd(_ context.Context, c *Call) error {
	to := "/"
	if len(c.Args) == 1 {
		to = c.Args[0]
	}
	p, err := resolve(c.Session.Dir, to)
	if err != nil {
		return err
	}
	f, info, err := s.open(p)
	if f != nil {
		f.Close()
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &Error{Message: quoted(p) + ": not a directory"}
	}
	c.Session.Dir = p
	return nil
}

// maxEntries is the largest number of directory entries shown.
const maxEntries = 1000

func (s *Shell) ls(_ context.Context, c *Call) error {
	arg := "."
	if len(c.Args) == 1 {
		arg = c.Args[0]
	}
	p, err := resolve(c.Session.Dir, arg)
	if err != nil {
		return err
	}
	infos, truncated, err := s.list(p)
	if err != nil {
		return err
	}
	if c.Flags["long"] == "" {
		names := make([]string, 0, len(infos))
		for _, info := range infos {
			names = append(names, entryName(info))
		}
		if truncated {
			names = append(names, "…")
		}
		c.Return(names)
		return nil
	}
	t := Table{Columns: []Column{{Key: "name", Title: "NAME"}, {Key: "size", Title: "SIZE", Right: true, Kind: KindBytes}, {Key: "modified", Title: "MODIFIED", Kind: KindTime}, {Key: "mode", Title: "MODE", Wide: true}}}
	for _, info := range infos {
		t.Rows = append(t.Rows, []any{entryName(info), Bytes(max(0, info.Size())), info.ModTime(), info.Mode().String()})
	}
	if truncated {
		t.Total = len(infos) + 1
	}
	c.Return(t)
	return nil
}

func entryName(info fs.FileInfo) string {
	if info.IsDir() {
		return info.Name() + "/"
	}
	return info.Name()
}

// list returns the sorted entries of a directory, or p itself if it is a file.
func (s *Shell) list(p string) (infos []fs.FileInfo, truncated bool, err error) {
	f, info, err := s.open(p)
	if err != nil {
		return nil, false, err
	}
	if f == nil {
		return []fs.FileInfo{info}, false, nil
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, pathError(p, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	if truncated = len(entries) > maxEntries; truncated {
		entries = entries[:maxEntries]
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // an error means that it was removed meanwhile
			infos = append(infos, info)
		}
	}
	return infos, truncated, nil
}

// completePath completes a path; dirs restricts it to directories.
func (s *Shell) completePath(dirs bool) func(context.Context, *Call, []string) []string {
	return func(_ context.Context, c *Call, args []string) []string {
		if len(args) != 1 || s.root == nil {
			return nil
		}
		base := args[0][:strings.LastIndexByte(args[0], '/')+1]
		p, err := resolve(c.Session.Dir, base)
		if err != nil {
			return nil
		}
		infos, _, err := s.list(p)
		if err != nil {
			return nil
		}
		var all []string
		for _, info := range infos {
			if info.IsDir() || !dirs {
				all = append(all, base+entryName(info))
			}
		}
		return all
	}
}
