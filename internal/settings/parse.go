package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"goranch/internal/nearest"
)

// Parse reads a file. The error joins every [Fault] of it in the order of lines: a document that is
// not TOML, unknown tables and keys, and values of wrong types. The document contains what has no
// fault, and is nil only if the file is not TOML. Whether a value is allowed is left to the caller.
func (s *Spec) Parse(file string, data []byte) (*Document, error) {
	top, err := parseTree(file, data)
	if err != nil {
		return nil, err
	}
	r := reader{spec: s, file: file}
	doc := &Document{File: file, Tables: map[string][]Section{}}
	doc.Top = Section{Line: 1, Values: map[string]Value{}}
	for _, name := range top.names {
		n := top.field[name]
		if t, ok := tableOf(s.Tables, name); ok {
			if sections, ok := r.sections(t, n); ok {
				doc.Tables[name] = sections
			}
			continue
		}
		r.value(&doc.Top, Table{Keys: s.Keys, Tables: s.Tables}, name, n)
	}
	slices.SortStableFunc(r.faults, func(a, b error) int { return a.(*Fault).Line - b.(*Fault).Line })
	return doc, errors.Join(r.faults...)
}

// reader collects the faults of a file.
type reader struct {
	spec   *Spec
	file   string
	faults []error
}

func (r *reader) fault(line int, format string, args ...any) {
	r.faults = append(r.faults, &Fault{r.file, line, fmt.Sprintf(format, args...)})
}

func tableOf(tables []Table, name string) (Table, bool) {
	i := slices.IndexFunc(tables, func(t Table) bool { return t.Name == name })
	if i < 0 {
		return Table{}, false
	}
	return tables[i], true
}

// sections reads all tables of one description, whose name is the path.
func (r *reader) sections(t Table, n *node) (list []Section, ok bool) {
	switch {
	case t.Single && n.kind == unstable.Table:
		return []Section{r.section(t, "", n)}, true
	case t.Single:
		r.fault(n.line, "%s: allowed is one table, [%s]", t.Name, t.Name)
	case t.Named && n.kind == unstable.Table:
		for _, name := range n.names {
			if n.field[name].kind != unstable.Table {
				r.fault(n.field[name].line, "%s.%s: allowed are tables, [%s.NAME]", t.Name, Shown(name), t.Name)
				continue
			}
			list = append(list, r.section(t, name, n.field[name]))
		}
		return list, true
	case !t.Named && n.kind == unstable.Array:
		list = []Section{}
		for _, item := range n.items {
			if item.kind != unstable.Table {
				r.fault(item.line, "%s: allowed are tables, [[%s]]", t.Name, t.Name)
				continue
			}
			list = append(list, r.section(t, "", item))
		}
		return list, true
	case t.Named:
		r.fault(n.line, "%s: allowed are tables with a name, [%s.NAME]", t.Name, t.Name)
	default:
		r.fault(n.line, "%s: allowed are tables with two brackets, [[%s]]", t.Name, t.Name)
	}
	return nil, false
}

func (r *reader) section(t Table, name string, n *node) Section {
	s := Section{Name: name, Line: n.line, Values: map[string]Value{}}
	for _, key := range n.names {
		inner, ok := tableOf(t.Tables, key)
		if !ok {
			r.value(&s, t, key, n.field[key])
			continue
		}
		inner.Name = t.Name + "." + key
		if sections, ok := r.sections(inner, n.field[key]); ok {
			if s.Tables == nil {
				s.Tables = map[string][]Section{}
			}
			s.Tables[key] = sections
		}
	}
	return s
}

// value reads the value of a key of a table; the name of the top level is "".
func (r *reader) value(s *Section, t Table, name string, n *node) {
	k, ok := find(t.Keys, name)
	if !ok {
		r.fault(n.line, "%s", r.unknown(t, name, n))
		return
	}
	items := []*node{n}
	if n.kind == unstable.Array && k.Kind.List {
		items = n.items
	}
	v := Value{Items: []string{}, Line: n.line}
	for _, item := range items {
		if !slices.Contains(k.Kind.Types, typeOf(item)) || k.Kind.Strict && k.Kind.refuses(item) {
			text := fmt.Sprintf("%s %s: allowed are %s", where(t.Name, name), item.shown(), k.Kind.Allowed)
			if item.text != "" || item.kind != unstable.String {
				text += fmt.Sprintf("; the value is %s, not %s", article(item), k.Kind.types())
			}
			r.fault(n.line, "%s", text)
			return
		}
		v.Items = append(v.Items, item.text)
	}
	s.Values[name] = v
}

// where returns the name of a key with that of its table.
func where(table, name string) string {
	if table == "" {
		return name
	}
	return table + ": " + name
}

// unknown returns the text for a key that the table has not.
func (r *reader) unknown(t Table, name string, n *node) string {
	what, where := "key", ""
	if n.kind == unstable.Table || n.kind == unstable.Array && len(n.items) > 0 && n.items[0].kind == unstable.Table {
		what = "table"
	}
	if t.Name != "" {
		where = " in table " + t.Name
	}
	text := fmt.Sprintf("unknown %s %s%s", what, Shown(name), where)
	var names []string
	for _, k := range t.Keys {
		names = append(names, k.Name)
	}
	for _, inner := range t.Tables {
		names = append(names, inner.Name)
	}
	hyphens := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	if near := nearest.Name(hyphens, names); near != "" {
		return text + "; did you mean " + near + "?"
	}
	if places := r.places(name); len(places) > 0 {
		return text + "; it is allowed " + strings.Join(places, " and ")
	}
	return text + "; " + r.spec.Hint
}

// places says where a key is allowed.
func (r *reader) places(name string) (list []string) {
	if _, ok := find(r.spec.Keys, name); ok {
		list = append(list, "at the top, before all tables")
	}
	for _, t := range all(r.spec.Tables) {
		if _, ok := find(t.Keys, name); ok {
			list = append(list, "in table "+t.Name)
		}
	}
	return list
}

// refuses implements Kind.Strict.
func (k Kind) refuses(n *node) bool {
	_, err := strconv.ParseFloat(n.text, 64)
	return n.kind == unstable.String && (n.text == "" || err == nil && k.Types[0] != String)
}

func typeOf(n *node) Type {
	switch n.kind {
	case unstable.String:
		return String
	case unstable.Integer:
		return Integer
	case unstable.Float:
		return Float
	case unstable.Bool:
		return Bool
	}
	return ""
}

// article returns the type of a value with its article.
func article(n *node) string {
	switch n.kind {
	case unstable.String, unstable.Float, unstable.Bool:
		return "a " + string(typeOf(n))
	case unstable.Integer:
		return "an integer"
	case unstable.Array:
		return "an array"
	case unstable.Table:
		return "a table"
	}
	return "a date or time"
}

// shown returns the value for a message.
func (n *node) shown() string {
	switch n.kind {
	case unstable.String:
		return Quote(n.text)
	case unstable.Array:
		return "[…]"
	case unstable.Table:
		return "{…}"
	}
	return Shown(n.text)
}

// maxShown is the length in bytes above which a value is shortened in messages.
const maxShown = 80

// Quote returns a text for a message: quoted, and shortened if it is long. A text that
// contains a key, or is a token, in place of the name of its file is not shown.
func Quote(s string) string {
	if strings.Contains(s, "-----BEGIN ") || IsToken(s) {
		return `"(not shown: it may be a secret)"`
	}
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return strconv.Quote(s)
}

// IsToken reports whether s is a token of ranchctl token.
func IsToken(s string) bool { return strings.HasPrefix(s, "ranch_") && len(s) > 40 }

// Shown returns a name for a message, quoted if it has other than the usual characters.
func Shown(name string) string {
	const usual = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+"
	if name != "" && len(name) <= maxShown && strings.Trim(name, usual) == "" {
		return name
	}
	return Quote(name)
}
