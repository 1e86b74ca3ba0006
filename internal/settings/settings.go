// Package settings describes the settings of a program once, by the tags of a struct, and derives
// the rest: it reads them from TOML files and writes a commented file and a JSON schema.
//
//	type options struct {
//		MaxConns string `kind:"count" default:"100" help:"Connections. Default: ${default}."`
//	}
//
//	keys := settings.Keys(options{}, kinds)
//	spec := settings.Spec{Keys: keys}
//	doc, err := spec.Parse("server.toml", data)
//	…
//	settings.SetDefaults(&o, keys)
//	for key, value := range doc.Top.Values {
//		spec.Key(key).Set(&o, value)
//	}
//
// Values are text, as on a command line, so that one parser serves flags and files, and every fault
// can be reported. A file is checked for its syntax, unknown keys and types; each fault has a line.
package settings

import "fmt"

// Type is a type of TOML values.
type Type string

// The types.
const (
	String  Type = "string"
	Integer Type = "integer"
	Float   Type = "float"
	Bool    Type = "boolean"
)

// Kind describes the values of a key.
type Kind struct {
	// Types are those of one value.
	Types []Type
	// Strict refuses empty strings and, if numbers are among Types, strings that are numbers.
	Strict bool
	// List allows an array of values too.
	List bool
	// Schema is the JSON schema of one value. nil allows all values of Types.
	Schema map[string]any
	// Allowed completes the sentence "allowed are …" for a value of another type.
	Allowed string
}

// Key is one setting: a key of a file and, with "--", a flag.
type Key struct {
	// Name is the name, in lower case with hyphens.
	Name string
	Kind Kind
	// Default is the text of the default. "" has none.
	Default string
	// Example is a value, in the notation of TOML, that is shown for a key without a default.
	Example string
	// Help explains the key. It contains its default already, and names flags without "--".
	Help string
	// On are the tags "on", split at commas: the owner says what they mean.
	On []string
	// TableOnly excludes the key from the top level.
	TableOnly bool
	// Change is the tag "change": what a change of the key takes effect at.
	Change string

	index []int // of the field, for reflect
}

// Table describes tables of a file.
type Table struct {
	Name string
	// Named tables are [name.NAME], and a Single one is [name]; others are an array, [[name]].
	Named, Single bool
	Keys          []Key
	// Tables are tables in each of these tables: [[name.other]].
	Tables []Table
	Help   string
}

// all returns the tables and those in them, with their paths as names.
func all(tables []Table) (list []Table) {
	for _, t := range tables {
		list = append(list, t)
		for _, inner := range all(t.Tables) {
			inner.Name = t.Name + "." + inner.Name
			list = append(list, inner)
		}
	}
	return list
}

// Spec describes a file.
type Spec struct {
	Keys   []Key // of the top level
	Tables []Table
	// Hint ends the message for an unknown key: where all keys are listed.
	Hint string
}

// Key returns the key of that name, of the top level or of a table.
func (s *Spec) Key(name string) (Key, bool) {
	if k, ok := find(s.Keys, name); ok {
		return k, true
	}
	for _, t := range all(s.Tables) {
		if k, ok := find(t.Keys, name); ok {
			return k, true
		}
	}
	return Key{}, false
}

func find(keys []Key, name string) (Key, bool) {
	for _, k := range keys {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

// Value is a value in a file, as text. A value that is not a list has one item.
type Value struct {
	Items []string
	Line  int
}

// Section is a table, or the top level, of a file.
type Section struct {
	Name   string // of a named table
	Line   int
	Values map[string]Value
	Tables map[string][]Section // those of Table.Tables, as in Document; nil if there are none
}

// Document is the content of a file.
type Document struct {
	File string
	Top  Section
	// Tables are the tables by the name of their description. An array that is given but empty is
	// not nil. A Single table is a list of one.
	Tables map[string][]Section
}

// Fault is a fault of a file. Line is 0 if it concerns the whole file.
type Fault struct {
	File string
	Line int
	Text string
}

// Error returns "file:line: text", or "file: text".
func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// types returns the types of values with their articles.
func (k Kind) types() string {
	text := ""
	for i, t := range k.Types {
		if i > 0 {
			text += " or "
		}
		if t == Integer {
			text += "an " + string(t)
		} else {
			text += "a " + string(t)
		}
	}
	if k.List {
		text += " or an array of them"
	}
	return text
}
