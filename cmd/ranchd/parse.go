package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"goranch/internal/cliflag"
)

// parse reads the command line. If done, the program exits with the code.
func parse(args []string, stdout, stderr io.Writer) (c *config, code int, done bool) {
	if len(args) > 0 {
		switch args[0] {
		case "check":
			return parseCheck(args[1:], stdout, stderr)
		case "config":
			return nil, printConfig(args[1:], stdout, stderr), true
		}
	}
	return parseFlags(args, stdout, stderr)
}

func parseFlags(args []string, stdout, stderr io.Writer) (c *config, code int, done bool) {
	var f flags
	k := kong.Must(&f, kong.Name("ranchd"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp(), kong.DefaultEnvars("RANCHD"),
		// Without this, kong adds the environment variable to each help text.
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }))
	ctx, err := k.Parse(cliflag.Join(args))
	if err != nil {
		return nil, printFaults(stderr, cliflag.Error(err)), true
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
	c, err = newConfig(f, givenFlags(k, ctx))
	if err != nil {
		return nil, printFaults(stderr, err), true
	}
	return c, exitOK, false
}

// givenFlags returns the names of the flags that the command line or the environment has: they
// override the file.
func givenFlags(k *kong.Kong, ctx *kong.Context) map[string]bool {
	given := map[string]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil {
			given[p.Flag.Name] = true
		}
	}
	for _, flag := range k.Model.Flags {
		if slices.ContainsFunc(flag.Envs, func(name string) bool { _, set := os.LookupEnv(name); return set }) {
			given[flag.Name] = true
		}
	}
	return given
}

// printFaults prints each fault on its own line and returns the exit code.
func printFaults(w io.Writer, err error) int {
	fmt.Fprintln(w, "ranchd: invalid flags or configuration; nothing was opened:")
	for _, fault := range faultsOf(err) {
		fmt.Fprintf(w, "  %v\n", fault)
	}
	fmt.Fprintln(w, "ranchd --help lists all flags.")
	return exitUsage
}
