package settings

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// node is a value of a TOML document. Package toml reports no lines of values, so the tree is built
// from its syntax tree, after the package has accepted the document.
type node struct {
	kind  unstable.Kind // a scalar, Array, or Table
	text  string        // of a scalar
	line  int
	items []*node
	names []string // of fields, in order
	field map[string]*node
}

func newTable(line int) *node {
	return &node{kind: unstable.Table, line: line, field: map[string]*node{}}
}

// parseTree returns the top level of a document.
func parseTree(file string, data []byte) (*node, error) {
	var ignored map[string]any
	if err := toml.Unmarshal(data, &ignored); err != nil {
		return nil, syntaxFault(file, data, err)
	}
	b := builder{}
	b.parser.Reset(data)
	top := newTable(1)
	table := top
	for b.parser.NextExpression() {
		e := b.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			table = b.table(top, e.Key())
		case unstable.ArrayTable:
			table = b.arrayTable(top, e.Key())
		case unstable.KeyValue:
			b.set(table, e)
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, syntaxFault(file, data, err)
	}
	return top, nil
}

// syntaxFault returns the error of package toml as a fault.
func syntaxFault(file string, data []byte, err error) error {
	f := &Fault{File: file, Text: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		f.Line, _ = at.Position()
		// The position can be behind the last line.
		f.Line = min(f.Line, 1+bytes.Count(data, []byte("\n")))
	}
	return f
}

type builder struct{ parser unstable.Parser }

func (b *builder) line(n *unstable.Node) int { return b.parser.Shape(n.Raw).Start.Line }

// path returns the names of a key and the line of the first.
func (b *builder) path(it unstable.Iterator) (names []string, line int) {
	for it.Next() {
		if line == 0 {
			line = b.line(it.Node())
		}
		names = append(names, string(it.Node().Data))
	}
	return names, line
}

// table returns the table of a header [a.b], in which a can be an array of tables.
func (b *builder) table(top *node, key unstable.Iterator) *node {
	names, line := b.path(key)
	t := descend(top, names, line)
	t.line = line
	return t
}

// arrayTable adds a table to the array of a header [[a.b]].
func (b *builder) arrayTable(top *node, key unstable.Iterator) *node {
	names, line := b.path(key)
	last := len(names) - 1
	parent := descend(top, names[:last], line)
	list := parent.field[names[last]]
	if list == nil {
		list = &node{kind: unstable.Array, line: line}
		parent.add(names[last], list)
	}
	t := newTable(line)
	list.items = append(list.items, t)
	return t
}

// descend returns the table at a path, and creates the tables that do not exist. Of an array it is
// the last table.
func descend(t *node, names []string, line int) *node {
	for _, name := range names {
		next := t.field[name]
		if next == nil {
			next = newTable(line)
			t.add(name, next)
		}
		if next.kind == unstable.Array && len(next.items) > 0 {
			next = next.items[len(next.items)-1]
		}
		if next.field == nil { // not in a document that package toml accepts
			next = newTable(line)
		}
		t = next
	}
	return t
}

func (n *node) add(name string, value *node) {
	if _, exists := n.field[name]; !exists {
		n.names = append(n.names, name)
	}
	n.field[name] = value
}

// set adds a key and its value to a table.
func (b *builder) set(t *node, e *unstable.Node) {
	names, line := b.path(e.Key())
	last := len(names) - 1
	descend(t, names[:last], line).add(names[last], b.value(e.Value(), line))
}

// value returns a value. line is that of its key.
func (b *builder) value(v *unstable.Node, line int) *node {
	switch v.Kind {
	case unstable.InlineTable:
		t := newTable(line)
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				b.set(t, it.Node())
			}
		}
		return t
	case unstable.Array:
		list := &node{kind: unstable.Array, line: line}
		for it := v.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment {
				list.items = append(list.items, b.value(it.Node(), line))
			}
		}
		return list
	}
	return &node{kind: v.Kind, line: line, text: scalar(v)}
}

// scalar returns the text of a scalar: integers in decimal, without separators.
func scalar(v *unstable.Node) string {
	text := string(v.Data)
	switch v.Kind {
	case unstable.Integer:
		plain := strings.ReplaceAll(strings.TrimPrefix(text, "+"), "_", "")
		if n, err := strconv.ParseInt(plain, 0, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	case unstable.Float:
		return strings.ReplaceAll(strings.TrimPrefix(text, "+"), "_", "")
	}
	return text
}
