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

// fileCommands are those that look around below the root.
func (s *Shell) fileCommands() []Command {
	return []Command{
		{Name: "pwd", Help: "Show the session's directory.", Role: Viewer, Quick: true, Run: pwd},
		{Name: "cd", Usage: "[<directory>]", Help: "Go to another directory; without one, to the first.", Role: Viewer, MaxArgs: 1, Run: s.cd, Complete: s.completePath(true)},
		{Name: "ls", Usage: "[--long] [<path>]", Help: "Show what a directory has.", Role: Viewer, MaxArgs: 1, Run: s.ls, Complete: s.completePath(false),
			Flags: []Flag{{Name: "long", Help: "with sizes and times"}}},
	}
}

func pwd(_ context.Context, c *Call) error {
	c.Return(c.Session.Dir)
	return nil
}

var errNoRoot = &Error{Message: "there are no files here"}

// maxPath is the longest path in bytes.
const maxPath = 1024

// resolve returns the path that a client means, within the root: ".." goes no higher than that.
func resolve(dir, p string) (string, error) {
	if strings.IndexByte(p, 0) >= 0 {
		return "", Usage("a path with a NUL byte")
	}
	if !path.IsAbs(p) {
		p = path.Join(dir, p)
	}
	p = path.Join("/", p)
	if len(p) > maxPath {
		return "", Usage("a path of %d bytes: allowed are %d", len(p), maxPath)
	}
	return p, nil
}

// inRoot is a path as os.Root takes it.
func inRoot(p string) string {
	if p == "/" {
		return "."
	}
	return p[1:]
}

// open opens what a client means. That it is within the root is seen to by os.Root, in every step, whatever
// others do with links meanwhile.
func (s *Shell) open(p string) (*os.File, fs.FileInfo, error) {
	if s.root == nil {
		return nil, nil, errNoRoot
	}
	info, err := s.root.Stat(inRoot(p)) // not to open what waits, as a named pipe does
	if err != nil || !info.IsDir() {
		return nil, info, pathError(p, err)
	}
	f, err := s.root.OpenFile(inRoot(p), os.O_RDONLY|nonblock, 0)
	return f, info, pathError(p, err)
}

// pathError names the path as the client knows it.
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

// maxEntries is how much of a directory is shown.
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
	infos, more, err := s.list(p)
	if err != nil {
		return err
	}
	if c.Flags["long"] == "" {
		names := make([]string, 0, len(infos))
		for _, info := range infos {
			names = append(names, entryName(info))
		}
		if more {
			names = append(names, "…")
		}
		c.Return(names)
		return nil
	}
	t := Table{Columns: []Column{{Key: "name", Title: "NAME"}, {Key: "size", Title: "SIZE", Right: true, Kind: KindBytes}, {Key: "modified", Title: "MODIFIED", Kind: KindTime}, {Key: "mode", Title: "MODE", Wide: true}}}
	for _, info := range infos {
		t.Rows = append(t.Rows, []any{entryName(info), Bytes(max(0, info.Size())), info.ModTime(), info.Mode().String()})
	}
	if more {
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

// list returns what a directory has, sorted, or the one file that p is.
func (s *Shell) list(p string) (infos []fs.FileInfo, more bool, err error) {
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
	if more = len(entries) > maxEntries; more {
		entries = entries[:maxEntries]
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it is gone already
			infos = append(infos, info)
		}
	}
	return infos, more, nil
}

// completePath completes the path that is the last argument.
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
