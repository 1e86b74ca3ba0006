package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"goranch/internal/cliflag"
	"goranch/internal/settings"
)

// parseCheck reads the command line of ranchd check FILE.
func parseCheck(args []string, stdout, stderr io.Writer) (c *config, code int, done bool) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && args[0] != "-h" && args[0] != "--help" {
		fmt.Fprintln(stderr, "ranchd check: the name of the configuration file is missing: ranchd check FILE [flags]")
		return nil, exitUsage, true
	}
	if args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintln(stdout, "Usage: ranchd check FILE [flags]\n\nChecks a configuration file, and the files that it names, without opening sockets, and exits with 0 if they are valid and 2 otherwise.\nFlags override the file, as with ranchd -c FILE [flags].")
		return nil, exitOK, true
	}
	return parseFlags(append([]string{"--check", "--config", args[0]}, args[1:]...), stdout, stderr)
}

// configFlags are the flags of ranchd config.
type configFlags struct {
	Default bool `help:"Print a configuration file with all keys, their explanation and their defaults."`
	Schema  bool `help:"Print the JSON schema of configuration files, for editors."`
	Help    bool `short:"h" help:"Print this help and exit."`
}

// printConfig runs ranchd config and returns the exit code.
func printConfig(args []string, stdout, stderr io.Writer) int {
	var f configFlags
	k := kong.Must(&f, kong.Name("ranchd config"), kong.Description("Describes configuration files. One of the flags is required."),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp())
	ctx, err := k.Parse(args)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "ranchd config: %v; allowed is one of --default and --schema\n", cliflag.Error(err))
		return exitUsage
	case f.Help:
		ctx.PrintUsage(false)
	case f.Default == f.Schema:
		fmt.Fprintln(stderr, "ranchd config: allowed is one of --default and --schema")
		return exitUsage
	case f.Schema:
		stdout.Write(spec.Schema("ranchd configuration"))
	default:
		io.WriteString(stdout, defaultFile())
	}
	return exitOK
}

const fileHead = `Configuration of ranchd. Every value in this file is the default. ranchd check FILE checks a file; ranchd -c FILE uses it; flags override it.
Keys before the tables configure the process, and are the defaults of all listeners. docs/configuration.md describes them.`

// defaultFile returns a configuration file with all keys, which has the effect of no file.
func defaultFile() string {
	var b strings.Builder
	for line := range strings.Lines(fileHead) {
		b.WriteString(settings.Comment(line))
	}
	b.WriteString(settings.Sample(spec.Keys))
	for _, t := range spec.Tables {
		b.WriteString("\n" + settings.Comment(t.Help))
		header := "[[" + t.Name + "]]"
		switch {
		case t.Named:
			header = "[" + t.Name + ".NAME]"
		case t.Single:
			header = "[" + t.Name + "]"
		}
		if t.Name != listenerTable {
			b.WriteString("# " + header + "\n" + commented(settings.Sample(t.Keys)))
			continue
		}
		b.WriteString("# A listener can have all keys above that concern listeners, and these:\n" + commented(settings.Sample(tableOnly(t.Keys))))
		for _, inner := range t.Tables {
			b.WriteString("#\n" + settings.Comment(inner.Help) + "# [[" + t.Name + "." + inner.Name + "]]\n" + commented(settings.Sample(inner.Keys)))
		}
		for _, address := range defaultListen {
			e, err := parseEndpoint(address)
			if err != nil {
				panic(err)
			}
			protocol := e.Service
			e.Service = echoService
			fmt.Fprintf(&b, "\n%s\naddress = %q\nprotocol = %q\nfallback = true\n", header, e, protocol)
		}
	}
	return b.String()
}

func tableOnly(keys []settings.Key) (list []settings.Key) {
	for _, k := range keys {
		if k.TableOnly {
			list = append(list, k)
		}
	}
	return list
}

// commented returns a part of a file as comments.
func commented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case line == "\n":
			b.WriteString("#\n")
		case strings.HasPrefix(line, "#"):
			b.WriteString("#" + line[1:])
		default:
			b.WriteString("# " + line)
		}
	}
	return b.String()
}
