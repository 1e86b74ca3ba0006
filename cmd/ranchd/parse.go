package main

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"

	"goranch/protocol/shell"
)

// parse reads the command line. If done, the program exits with the code.
func parse(args []string, stdout, stderr io.Writer) (c *config, code int, done bool) {
	var f flags
	k := kong.Must(&f, kong.Name("ranchd"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp(), kong.DefaultEnvars("RANCHD"),
		// Without this, kong adds the environment variable to each help text.
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }))
	ctx, err := k.Parse(args)
	if err != nil {
		return nil, printFaults(stderr, err), true
	}
	switch {
	case f.Help:
		ctx.PrintUsage(false)
		io.WriteString(stdout, helpTail+exitHelp)
		return nil, exitOK, true
	case f.Version:
		fmt.Fprintln(stdout, version())
		return nil, exitOK, true
	}
	c, err = f.config()
	if err != nil {
		return nil, printFaults(stderr, err), true
	}
	return c, exitOK, false
}

// values returns the flags by name. None is a secret: tokens and keys are in files.
func (f *flags) values() shell.Fields { return flagValues(reflect.ValueOf(*f)) }

func flagValues(v reflect.Value) (all shell.Fields) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			all = append(all, flagValues(v.Field(i))...)
			continue
		}
		if field.Tag.Get("env") == "-" {
			continue
		}
		name := cmp.Or(field.Tag.Get("name"), flagName(field.Name))
		if name == "help" {
			continue
		}
		value := v.Field(i).Interface()
		if list, ok := value.([]string); ok {
			value = strings.Join(list, " ")
		}
		all = append(all, shell.Field{Key: name, Value: value})
	}
	return all
}

// flagName returns the name that kong gives the flag of a field: max-connections for
// MaxConnections.
func flagName(field string) string {
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// printFaults prints each fault on its own line and returns the exit code.
func printFaults(w io.Writer, err error) int {
	fmt.Fprintln(w, "ranchd: invalid flags or configuration; nothing was opened:")
	for _, fault := range splitJoined(err) {
		fmt.Fprintf(w, "  %v\n", fault)
	}
	fmt.Fprintln(w, "Run ranchd --help for a list of all flags.")
	return exitUsage
}

// splitJoined returns the errors that errors.Join has joined, at any depth.
func splitJoined(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, splitJoined(e)...)
	}
	return all
}
