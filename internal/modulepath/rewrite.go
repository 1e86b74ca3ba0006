package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// setPath changes the path of the module in the directory root to path, and returns the old path
// and the number of changed files. On error no file has changed, unless writing itself failed.
func setPath(root, path string) (old string, changed int, err error) {
	if err := checkPath(path); err != nil {
		return "", 0, err
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", 0, err
	}
	m := regexp.MustCompile(`(?m)^module\s+(\S+)`).FindSubmatch(mod)
	if m == nil {
		return "", 0, errors.New("go.mod has no module line")
	}
	if old = string(m[1]); old == path {
		return old, 0, nil
	}
	files, err := rewriteAll(root, old, path)
	if err != nil {
		return "", 0, err
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o644); err != nil { // keeps the mode of an existing file
			return "", 0, err
		}
	}
	return old, len(files), nil
}

// rewriteAll returns the new contents of the files that contain the old path. Hidden directories
// and testdata are left out.
func rewriteAll(root, old, path string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || !slices.Contains([]string{".go", ".md", ".mod"}, filepath.Ext(name)) {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b, err := rewrite(name, text, old, path)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !bytes.Equal(b, text) {
			files[name] = b
		}
		return nil
	})
	return files, err
}

// rewrite replaces the old path in the text of a file. Outside go.mod only paths below it count,
// because the path itself may be a mere name.
func rewrite(name string, text []byte, old, path string) ([]byte, error) {
	before, after := `(^|[^\w.~/-])`, `(/)`
	if filepath.Ext(name) == ".mod" {
		if err := checkConflict(text, old, path); err != nil {
			return nil, err
		}
		before, after = `(^|\s)`, `(/|\s|$)`
	}
	paths := regexp.MustCompile(`(?m)` + before + regexp.QuoteMeta(old) + after)
	b := paths.ReplaceAll(text, []byte("${1}"+path+"${2}"))
	if filepath.Ext(name) == ".go" && !bytes.Equal(b, text) {
		return format.Source(b) // sorts the imports
	}
	return b, nil
}

// checkConflict returns an error if a module that go.mod names has the new path, or a path below
// it: its imports would be taken for those of this module.
func checkConflict(mod []byte, old, path string) error {
	for _, word := range strings.Fields(string(mod)) {
		if word != old && !strings.HasPrefix(word, old+"/") && (word == path || strings.HasPrefix(word, path+"/")) {
			return fmt.Errorf("%s: the module %s, which is required, has this path", path, word)
		}
	}
	return nil
}

var (
	host    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	element = regexp.MustCompile(`^[A-Za-z0-9_~-]([A-Za-z0-9_.~-]*[A-Za-z0-9_~-])?$`)
	version = regexp.MustCompile(`^v[0-9]+$`)
)

// checkPath returns an error unless path can be the path of a published module of version 0 or 1.
func checkPath(path string) error {
	want := "want a path such as example.org/you/goranch"
	elements := strings.Split(path, "/")
	last := elements[len(elements)-1]
	switch {
	case path == "":
		return errors.New("MODULE is not set: " + want)
	case strings.Contains(path, "://"):
		return fmt.Errorf("%q: a module path has no scheme; %s", path, want)
	case strings.Contains(path, "@"):
		return fmt.Errorf("%q: a module path has no version; %s", path, want)
	case !host.MatchString(elements[0]):
		return fmt.Errorf("%q: the first element %q is not a host name with a dot, in lower case; %s", path, elements[0], want)
	case elements[0] == "gopkg.in":
		return fmt.Errorf("%q: gopkg.in is not supported; %s", path, want)
	case version.MatchString(last):
		return fmt.Errorf("%q: a path that ends in a version, %s, is not supported; %s", path, last, want)
	}
	for _, e := range elements[1:] {
		if !element.MatchString(e) {
			return fmt.Errorf("%q: the element %q is empty or has a character that no module path can have; %s", path, e, want)
		}
	}
	return nil
}
