package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documented are the packages whose names are looked for in the documentation.
var documented = []string{
	"ranch",
	"transport",
	"transport/proxy",
	"transport/certs",
	"conns",
	"protocol",
	"protocol/echo",
	"protocol/sniff",
	"protocol/netlisten",
	"protocol/session",
	"protocol/session/boltstore",
	"protocol/shell",
	"protocol/shell/access",
	"protocol/shell/client",
	"protocol/pubsub",
	"protocol/pubsub/client",
	"protocol/pubsub/web",
	"protocol/packet",
	"protocol/packet/client",
	"ranch/admin",
}

func bases(dirs []string) (all []string) {
	for _, d := range dirs {
		all = append(all, path.Base(d))
	}
	return all
}

var (
	testName = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz|Example)\\w*)`")
	reason   = regexp.MustCompile(`^none: \S`)
	apiName  = regexp.MustCompile(`\b(` + strings.Join(bases(documented), "|") + `)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	option   = regexp.MustCompile(`(?:^|[^.\w])Options\.([A-Z]\w*)`)
	connName = regexp.MustCompile(`\bconn\.([A-Z]\w*)`)
)

// Each row of the page for users of Ranch names tests that there are, or says why it needs none.
func TestRowsNameTheirTests(t *testing.T) {
	tests := map[string]names{}
	for n, line := range strings.Split(read(t, "ranch-users.md"), "\n") {
		found := testName.FindAllStringSubmatch(line, -1)
		for _, m := range found {
			if tests[m[1]] == nil {
				tests[m[1]] = declared(t, m[1], true)
			}
			if !tests[m[1]][m[2]] {
				t.Errorf("ranch-users.md:%d: there is no %s.%s", n+1, m[1], m[2])
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
			t.Errorf("ranch-users.md:%d: a row without a test, or a reason after \"none: \":\n%s", n+1, line)
		}
	}
}

// What the documents call by a name of the API has that name.
func TestNamesOfTheAPIExist(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	api := map[string]names{}
	for _, dir := range documented {
		name := path.Base(dir)
		if api[name] == nil {
			api[name] = names{}
		}
		maps.Copy(api[name], declared(t, dir, false)) // two packages are called client
	}
	for _, page := range append(pages, "../README.md", "../CHANGELOG.md") {
		text := read(t, page)
		wants := func(pkg, name string) {
			if !api[pkg][name] {
				t.Errorf("%s: there is no %s.%s", page, pkg, name)
			}
		}
		for _, m := range apiName.FindAllStringSubmatch(text, -1) {
			switch {
			case strings.HasPrefix(m[2], "Test") || strings.HasPrefix(m[2], "Fuzz") || strings.HasPrefix(m[2], "Example"):
			case m[3] != "":
				wants(m[1], m[2]+"."+m[3])
			default:
				wants(m[1], m[2])
			}
		}
		for _, m := range option.FindAllStringSubmatch(text, -1) {
			wants("ranch", "Options."+m[1])
		}
		for _, m := range connName.FindAllStringSubmatch(text, -1) {
			wants("transport", "Conn."+m[1])
		}
	}
}

// names are what a package declares: functions and types, and T.F for fields and methods.
type names map[string]bool

func declared(t *testing.T, dir string, tests bool) names {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go in %s: %v", dir, err)
	}
	all := names{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") != tests {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			all.add(d)
		}
	}
	return all
}

func (all names) add(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		of := ""
		if d.Recv != nil {
			of = typeName(d.Recv.List[0].Type) + "."
		}
		all[of+d.Name.Name] = true
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					all[n.Name] = true
				}
			case *ast.TypeSpec:
				all[s.Name.Name] = true
				all.addFields(s)
			}
		}
	}
}

func (all names) addFields(s *ast.TypeSpec) {
	var fields *ast.FieldList
	switch x := s.Type.(type) {
	case *ast.StructType:
		fields = x.Fields
	case *ast.InterfaceType:
		fields = x.Methods
	default:
		return
	}
	for _, f := range fields.List {
		for _, n := range f.Names {
			all[s.Name.Name+"."+n.Name] = true
		}
	}
}

func typeName(x ast.Expr) string {
	if p, ok := x.(*ast.StarExpr); ok {
		x = p.X
	}
	if g, ok := x.(*ast.IndexExpr); ok { // a generic one
		x = g.X
	}
	if id, ok := x.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
