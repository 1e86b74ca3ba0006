package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented are the packages whose names are checked in all documents.
var documented = []string{
	"ranch",
	"ranch/admin",
	"ranch/accesslog",
	"ranch/admin/adminhttp",
	"ranch/upgrade",
	"conns",
	"conns/netrules",
	"transport",
	"transport/proxy",
	"transport/certs",
	"protocol",
	"protocol/echo",
	"protocol/sniff",
	"protocol/netlisten",
	"protocol/wslisten",
	"protocol/protocoltest",
	"protocol/session",
	"protocol/session/boltstore",
	"protocol/session/natsstore",
	"protocol/shell",
	"protocol/shell/access",
	"protocol/shell/client",
	"protocol/pubsub",
	"protocol/pubsub/client",
	"protocol/pubsub/web",
	"protocol/pubsub/natsbroker",
	"protocol/packet",
	"protocol/packet/client",
	"protocol/relay",
	"ranch/metrics",
	"ranch/oteltrace",
	"faults",
}

func lastElements(dirs []string) (all []string) {
	for _, d := range dirs {
		all = append(all, path.Base(d))
	}
	return all
}

var (
	testName   = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz|Example)\\w*)`")
	reason     = regexp.MustCompile(`^none: \S`)
	apiName    = regexp.MustCompile(`(?:^|[^.\w])(` + strings.Join(lastElements(documented), "|") + `)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	optionName = regexp.MustCompile(`(?:^|[^.\w])Options\.([A-Z]\w*)`)
	connName   = regexp.MustCompile(`\bconn\.([A-Z]\w*)`)
	listener   = regexp.MustCompile(`\bl\.([A-Z]\w*)`)
	errorName  = regexp.MustCompile("`(Err[A-Z]\\w*)`")
	codeName   = regexp.MustCompile("`([A-Za-z]\\w*(?:\\.[A-Za-z]\\w*){1,2})(?:\\(\\))?`")
)

// Each row of the page for users of Ranch names tests that exist, or says why it needs none.
func TestRowsNameTheirTests(t *testing.T) {
	tests := map[string]map[string]bool{}
	for n, line := range strings.Split(read(t, "ranch-users.md"), "\n") {
		found := testName.FindAllStringSubmatch(line, -1)
		for _, m := range found {
			if tests[m[1]] == nil {
				tests[m[1]] = testsOf(t, m[1])
			}
			if !tests[m[1]][m[2]] {
				t.Errorf("ranch-users.md:%d: got %s.%s, want a test that exists", n+1, m[1], m[2])
			}
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasSuffix(line, "| tests |") || strings.Trim(cells[0], "- ") == "" && len(found) == 0 {
			continue
		}
		ok := len(found) > 0
		for _, c := range cells[1:] {
			ok = ok || reason.MatchString(strings.TrimSpace(c))
		}
		if !ok {
			t.Errorf("ranch-users.md:%d: got a row without a test, want one, or a reason after \"none: \":\n%s", n+1, line)
		}
	}
}

// testsOf returns the names of the tests, fuzz tests and examples of a package.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("tests of %s: got none (error %v), want some", dir, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil {
				names[d.Name.Name] = true
			}
		}
	}
	return names
}

// Every name of the API in a document exists.
func TestNamesOfTheAPIExist(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	c := newCode(t)
	for _, page := range append(pages, "../README.md") {
		for _, name := range missingNames(c, read(t, page)) {
			t.Errorf("%s: got %s, want a name that exists", page, name)
		}
	}
}

// missingNames returns the names of the API in text that do not exist.
func missingNames(c *code, text string) (missing []string) {
	want := func(pkg string, path ...string) {
		if !c.has(pkg, path...) {
			missing = append(missing, pkg+"."+strings.Join(path, "."))
		}
	}
	for _, m := range apiName.FindAllStringSubmatch(text, -1) {
		switch {
		case strings.HasPrefix(m[2], "Test") || strings.HasPrefix(m[2], "Fuzz") || strings.HasPrefix(m[2], "Example"):
		case m[3] != "":
			want(m[1], m[2], m[3])
		default:
			want(m[1], m[2])
		}
	}
	for _, m := range errorName.FindAllStringSubmatch(text, -1) {
		if !c.declares(m[1]) {
			missing = append(missing, m[1])
		}
	}
	for _, m := range optionName.FindAllStringSubmatch(text, -1) {
		want("ranch", "Options", m[1])
	}
	for _, m := range connName.FindAllStringSubmatch(text, -1) {
		want("transport", "Conn", m[1])
	}
	for _, m := range listener.FindAllStringSubmatch(text, -1) {
		want("ranch", "Listener", m[1])
	}
	return missing
}

// The changelog's tables list old names, which do not exist any more, and new ones, which do. A
// name that exists with another meaning stands in both columns.
func TestChangelogListsOldAndNewNames(t *testing.T) {
	c := newCode(t)
	rows := 0
	for n, line := range strings.Split(read(t, "../CHANGELOG.md"), "\n") {
		old, rest, row := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !row || !strings.HasPrefix(line, "| ") || old == "old name" {
			for _, name := range missingNames(c, line) {
				t.Errorf("CHANGELOG.md:%d: got %s, want a name that exists", n+1, name)
			}
			continue
		}
		rows++
		for _, name := range missingNames(c, rest) {
			t.Errorf("CHANGELOG.md:%d: got new name %s, want one that exists", n+1, name)
		}
		gone := missingNames(c, old)
		for _, found := range apiName.FindAllStringSubmatch(old, -1) {
			m := strings.Trim(strings.Join(found[1:], "."), ".")
			if !slices.Contains(gone, m) && !strings.Contains(rest, m) {
				t.Errorf("CHANGELOG.md:%d: got old name %s, which exists, want one that does not", n+1, m)
			}
		}
	}
	if rows == 0 {
		t.Error("CHANGELOG.md: got no table of names, want some")
	}
}

// Every function, type, method, field and lock that the page on the architecture names exists, also
// unexported ones: `pkg.Name`, `pkg.type.member` and `type.member`.
func TestNamesOfTheArchitectureExist(t *testing.T) {
	c := newCode(t)
	page := read(t, "architecture.md")
	for _, m := range testName.FindAllStringSubmatch(page, -1) {
		if !testsOf(t, m[1])[m[2]] {
			t.Errorf("architecture.md: got %s.%s, want a test that exists", m[1], m[2])
		}
	}
	names, wrong := checkNames(c, testName.ReplaceAllString(page, ""))
	if names < 50 {
		t.Errorf("architecture.md: got %d names, want at least 50", names)
	}
	for _, name := range wrong {
		t.Errorf("architecture.md: got %s, want a name that exists in the code", name)
	}
}

// checkNames returns how many names of code text has, and those that do not exist.
func checkNames(c *code, text string) (n int, wrong []string) {
	for _, m := range codeName.FindAllStringSubmatch(text, -1) {
		if strings.HasSuffix(m[1], ".go") || strings.HasSuffix(m[1], ".md") {
			continue
		}
		n++
		if c.check(m[1]) != nil {
			wrong = append(wrong, m[1])
		}
	}
	return n, wrong
}

func TestWrongNamesAreReported(t *testing.T) {
	right := "`conns.connection.run` `connection.run()` `conns.Supervisor` `Gate.mu` `Listener.lifecycleMu` " +
		"`ranch.Options.PerAddress` `ranch.Default.Drain` `idle.Reads.Park` `net.Listener` `tls.Config`"
	wrongOnes := []string{
		"conns.connection.walk",    // a method
		"connection.walk",          // without its package
		"conns.Supervisors",        // a type
		"Gate.mutex",               // a lock
		"Listener.lifecycle",       // a lock
		"ranch.Options.Addresses",  // a field
		"ranch.Default.Listenings", // a method of a variable
		"idle.Reads.Sleep",         // of an internal package
		"parking.mu",               // neither a package nor a type
	}
	text := right + " `" + strings.Join(wrongOnes, "` `") + "`"
	_, got := checkNames(newCode(t), text)
	if !slices.Equal(got, wrongOnes) {
		t.Errorf("wrong names: got %q, want %q", got, wrongOnes)
	}
}
