package docs

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// code holds what the packages of this module declare, unexported names and internal packages
// included, by the last element of the import path. Packages with the same last element are merged.
type code struct {
	packages map[string]*pkg
	imported map[string]bool     // last elements of the other import paths
	imports  map[string][]string // packages of this module that the package in a directory imports
}

// pkg holds the declarations of a package.
type pkg struct {
	names  map[string]bool // top-level names, and T.M for the fields and methods of type T
	types  map[string]bool
	embeds map[string][]typeRef // by type
	vars   map[string]string    // type of a variable that is declared as new(T)
}

// typeRef is the use of a type of this module. pkg is "" in the package of the type itself.
type typeRef struct{ pkg, name string }

var loadCode = sync.OnceValues(func() (*code, error) {
	c := &code{packages: map[string]*pkg{}, imported: map[string]bool{}, imports: map[string][]string{}}
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if path != root && (err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir // another module
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		return c.addFile(path)
	})
	return c, err
})

func newCode(t *testing.T) *code {
	t.Helper()
	c, err := loadCode()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *code) addFile(path string) error {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
	name := dir[strings.LastIndex(dir, "/")+1:]
	p := c.packages[name]
	if p == nil {
		p = &pkg{map[string]bool{}, map[string]bool{}, map[string][]typeRef{}, map[string]string{}}
		c.packages[name] = p
	}
	c.imports[dir] = append(c.imports[dir], []string{}...)
	for _, i := range f.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		if own, ok := strings.CutPrefix(path, "goranch/"); ok {
			c.imports[dir] = append(c.imports[dir], own)
		} else {
			c.imported[path[strings.LastIndex(path, "/")+1:]] = true
		}
	}
	for _, d := range f.Decls {
		p.add(d)
	}
	return nil
}

func (p *pkg) add(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		of := ""
		if d.Recv != nil {
			of = refOf(d.Recv.List[0].Type).name + "."
		}
		p.names[of+d.Name.Name] = true
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				p.addValues(s)
			case *ast.TypeSpec:
				p.names[s.Name.Name], p.types[s.Name.Name] = true, true
				p.addMembers(s.Name.Name, s.Type)
			}
		}
	}
}

func (p *pkg) addValues(s *ast.ValueSpec) {
	for i, n := range s.Names {
		p.names[n.Name] = true
		if i >= len(s.Values) {
			continue
		}
		if call, ok := s.Values[i].(*ast.CallExpr); ok && len(call.Args) == 1 {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "new" {
				p.vars[n.Name] = refOf(call.Args[0]).name
			}
		}
	}
}

func (p *pkg) addMembers(name string, x ast.Expr) {
	var members *ast.FieldList
	switch x := x.(type) {
	case *ast.StructType:
		members = x.Fields
	case *ast.InterfaceType:
		members = x.Methods
	default:
		return
	}
	for _, m := range members.List {
		for _, n := range m.Names {
			p.names[name+"."+n.Name] = true
		}
		if ref := refOf(m.Type); len(m.Names) == 0 && ref.name != "" {
			p.names[name+"."+ref.name] = true
			p.embeds[name] = append(p.embeds[name], ref)
		}
	}
}

// refOf returns the type that x names, without pointer and type arguments.
func refOf(x ast.Expr) typeRef {
	switch x := x.(type) {
	case *ast.StarExpr:
		return refOf(x.X)
	case *ast.IndexExpr:
		return refOf(x.X)
	case *ast.Ident:
		return typeRef{"", x.Name}
	case *ast.SelectorExpr:
		if p, ok := x.X.(*ast.Ident); ok {
			return typeRef{p.Name, x.Sel.Name}
		}
	}
	return typeRef{}
}

// declares reports whether any package declares a name.
func (c *code) declares(name string) bool {
	for _, p := range c.packages {
		if p.names[name] {
			return true
		}
	}
	return false
}

// has reports whether a package declares a name, or a type of it has a member: has("ranch",
// "Options", "PerAddress"). Members of embedded types, and of the type of a variable, count.
func (c *code) has(pkgName string, path ...string) bool {
	p := c.packages[pkgName]
	if p == nil || !p.names[path[0]] {
		return false
	}
	switch {
	case len(path) == 1:
		return true
	case len(path) > 2:
		return false
	case p.names[path[0]+"."+path[1]]:
		return true
	case p.vars[path[0]] != "":
		return c.has(pkgName, p.vars[path[0]], path[1])
	}
	return slices.ContainsFunc(p.embeds[path[0]], func(r typeRef) bool {
		if r.pkg == "" {
			r.pkg = pkgName
		}
		return c.has(r.pkg, r.name, path[1])
	})
}

// typeHas reports whether a type of that name, in any package, has the member. known is false if
// there is no such type.
func (c *code) typeHas(name, member string) (has, known bool) {
	for p := range c.packages {
		if c.packages[p].types[name] {
			known = true
			has = has || c.has(p, name, member)
		}
	}
	return has, known
}

var errNoSuchName = errors.New("the code has no such name")

// check reports whether what a document calls name exists: a package with one of its declarations
// and a member of that, or a type and one of its members. Names of packages of other modules are
// not checked.
func (c *code) check(name string) error {
	path := strings.Split(name, ".")
	if _, ok := c.packages[path[0]]; ok && c.has(path[0], path[1:]...) {
		return nil
	}
	if len(path) == 2 {
		if has, known := c.typeHas(path[0], path[1]); known {
			if has {
				return nil
			}
			return errNoSuchName
		}
	}
	if c.packages[path[0]] == nil && c.imported[path[0]] {
		return nil
	}
	return errNoSuchName
}
