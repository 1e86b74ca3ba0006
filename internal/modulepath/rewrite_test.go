package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write creates the files of a module with the path "thing" and one in a subdirectory.
func write(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func contents(t *testing.T, root string, files map[string]string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name := range files {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(b)
	}
	return got
}

// tree returns the files of a module with a path; imports stand in the order of gofmt.
func tree(path, imports string) map[string]string {
	return map[string]string{
		"go.mod":              "module " + path + "\n\ngo 1.26\n\nrequire github.com/x/thing v1.0.0\n",
		"sub/go.mod":          "module " + path + "/sub\n\nrequire (\n\tgithub.com/x/thing v1.0.0\n\t" + path + " v0.0.0\n)\n\nreplace " + path + " => ../\n",
		"a.go":                "// Package thing is a thing.\npackage thing\n\nimport (\n" + imports + ")\n\nconst scope, name = \"" + path + "/scope\", \"thing\"\n",
		"docs/page.md":        "# thing\n\nThing: `go run " + path + "/cmd`, " + path + "/cmd.(*T).M, thing.json, /lib/thing/x, github.com/x/thing/y\n",
		"page.js":             "const thing = \"thing/x\";\n",
		"testdata/a.go":       "import \"thing/x\"\n",
		".hidden/page.md":     "thing/x\n",
		"docs/thing/other.md": "a thing\n",
	}
}

func TestSetPath(t *testing.T) {
	first := tree("thing", "\t\"github.com/x/thing/y\"\n\t\"thing/b\"\n")
	root := write(t, first)
	steps := []struct {
		path, old string
		changed   int
		want      map[string]string
	}{
		{"example.test/you/thing", "thing", 4,
			tree("example.test/you/thing", "\t\"example.test/you/thing/b\"\n\t\"github.com/x/thing/y\"\n")},
		{"example.test/you/thing", "example.test/you/thing", 0,
			tree("example.test/you/thing", "\t\"example.test/you/thing/b\"\n\t\"github.com/x/thing/y\"\n")},
		{"z.example.test/Other.One/a~b", "example.test/you/thing", 4,
			tree("z.example.test/Other.One/a~b", "\t\"github.com/x/thing/y\"\n\t\"z.example.test/Other.One/a~b/b\"\n")},
		{"z.example.test/Other.One", "z.example.test/Other.One/a~b", 4, // the parent of the old path
			tree("z.example.test/Other.One", "\t\"github.com/x/thing/y\"\n\t\"z.example.test/Other.One/b\"\n")},
	}
	for _, s := range steps {
		old, changed, err := setPath(root, s.path)
		if err != nil || old != s.old || changed != s.changed {
			t.Errorf("setPath(%q): got %q, %d changed files, error %v; want %q, %d, no error", s.path, old, changed, err, s.old, s.changed)
		}
		if diff := cmp.Diff(s.want, contents(t, root, s.want)); diff != "" {
			t.Errorf("setPath(%q): files (-want +got):\n%s", s.path, diff)
		}
	}
}

func TestSetPathRefusesAndChangesNothing(t *testing.T) {
	files := tree("thing", "\t\"thing/b\"\n")
	root := write(t, files)
	for path, want := range map[string]string{
		"":                             "MODULE is not set",
		"goranch":                      `"goranch" is not a host name`,
		"you/goranch":                  `"you" is not a host name`,
		"https://example.test/goranch": "no scheme",
		"example.test/goranch@v1.2.3":  "no version",
		"example.test/goranch/":        `element ""`,
		"/example.test/goranch":        `first element ""`,
		"example.test//goranch":        `element ""`,
		"example.test/../goranch":      `element ".."`,
		"example.test/.goranch":        `element ".goranch"`,
		"example.test/go ranch":        `element "go ranch"`,
		"example.test/go\x1branch":     `element "go\x1branch"`,
		"example.test/goränch":         `element "goränch"`,
		"example.test/$1":              `element "$1"`,
		"Example.test/goranch":         `"Example.test" is not a host name`,
		".test/goranch":                `".test" is not a host name`,
		"-x.test/goranch":              `"-x.test" is not a host name`,
		"example.test/goranch/v2":      "ends in a version, v2",
		"gopkg.in/you/goranch.v1":      "gopkg.in is not supported",
		"github.com/x/thing":           "github.com/x/thing, which is required",
		"github.com/x":                 "github.com/x/thing, which is required",
	} {
		_, _, err := setPath(root, path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("setPath(%q): got error %v, want one with %q", path, err, want)
		}
	}
	if diff := cmp.Diff(files, contents(t, root, files)); diff != "" {
		t.Errorf("files changed (-want +got):\n%s", diff)
	}
}

func TestSetPathReportsBrokenModules(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no go.mod":      {"a.go": "package a\n"},
		"no module line": {"go.mod": "go 1.26\n"},
		"syntax error":   {"go.mod": "module thing\n", "a.go": "package a\n\nimport \"thing/b\"\n}\n"},
	} {
		if _, _, err := setPath(write(t, files), "example.test/thing"); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
