package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"goranch/internal/settings"
	"goranch/internal/termtext"
)

// place is where a file sets a key.
type place struct {
	file  string
	line  int
	table string // with its name, such as "listener a"; "" at the top
}

// faults collects the faults of a configuration. Those that name a key which a file sets begin with
// file and line; others begin with the flag.
type faults struct {
	list   *[]error
	places map[string]place // of keys that a file sets
}

func newFaults() *faults { return &faults{list: new([]error)} }

// in returns faults that are collected in the same list, for the keys of a scope.
func (f *faults) in(places map[string]place) *faults { return &faults{f.list, places} }

func (f *faults) count() int { return len(*f.list) }

// flagInText matches the flags that a message names.
var flagInText = regexp.MustCompile(`--[a-z][a-z0-9-]*`)

// add adds a fault unless the same is known: listeners share keys at the top. The text names keys
// as flags.
func (f *faults) add(format string, args ...any) {
	f.put(f.locate(fmt.Errorf(format, args...)))
}

// locate returns the fault with its place in a file, if a file sets one of the keys that it names.
func (f *faults) locate(err error) error {
	text := err.Error()
	for _, flag := range flagInText.FindAllString(text, -1) {
		if p, ok := f.places[flag[2:]]; ok {
			return f.at(p, text)
		}
	}
	return err
}

// label returns a text that names a flag as add would show it.
func (f *faults) label(text string) string { return f.locate(errors.New(text)).Error() }

// at returns a fault at a place in a file, where keys have no hyphens in front.
func (f *faults) at(p place, text string) error {
	text = flagInText.ReplaceAllStringFunc(text, func(flag string) string {
		if flag == "--listen" && p.table != clusterTable { // which has a key of that name
			return "address"
		}
		if _, ok := spec.Key(flag[2:]); ok {
			return flag[2:]
		}
		return flag
	})
	if p.table != "" {
		text = p.table + ": " + text
	}
	return &settings.Fault{File: p.file, Line: p.line, Text: termtext.Line(text)}
}

func (f *faults) put(err error) {
	if !slices.ContainsFunc(*f.list, func(known error) bool { return known.Error() == err.Error() }) {
		*f.list = append(*f.list, err)
	}
}

// err returns all faults, joined: those of flags in the order of their checks, then those of the
// file in the order of lines. nil is none.
func (f *faults) err() error {
	key := func(err error) (line int, text string) {
		var at *settings.Fault
		if errors.As(err, &at) {
			return at.Line + 1, at.Text
		}
		return 0, ""
	}
	slices.SortStableFunc(*f.list, func(a, b error) int {
		lineA, textA := key(a)
		lineB, textB := key(b)
		return cmp.Or(cmp.Compare(lineA, lineB), cmp.Compare(textA, textB))
	})
	return errors.Join(*f.list...)
}

// read parses the value of a flag and collects its fault.
func read[T any](all *faults, flag, value string, parse func(string) (T, error)) T {
	v, err := parse(value)
	if err != nil {
		all.add("%s %s: %w", flag, settings.Quote(value), err)
	}
	return v
}
