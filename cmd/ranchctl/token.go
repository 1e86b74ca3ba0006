package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
)

// tokenFlags is the command line of "ranchctl token".
type tokenFlags struct {
	Role string `arg:"" enum:"viewer,operator" help:"What its holder may do: viewer looks, operator changes things too."`
	Name string `arg:"" help:"What logs call its holder."`
	File string `placeholder:"FILE" help:"Append the line to this file of tokens, which is made with mode 0600 if it is not there."`
	Help bool   `short:"h" help:"Print this."`
}

const tokenDescription = `Makes a token with which somebody can use the shells of ranchd. The token itself is printed once, and kept nowhere; what belongs into the file that ranchd --tokens names is a line with its hash.`

// token makes a token. Nothing of it needs a server.
func token(args []string, stdout, stderr io.Writer) int {
	var f tokenFlags
	k := kong.Must(&f, kong.Name("ranchctl token"), kong.Description(tokenDescription), kong.Writers(stdout, stderr), kong.NoDefaultHelp())
	if slices.Contains(args, "-h") || slices.Contains(args, "--help") { // before arguments are missed
		if ctx, err := kong.Trace(k, args); err == nil {
			ctx.PrintUsage(false)
		}
		return exitInOrder
	}
	if _, err := k.Parse(args); err != nil {
		fmt.Fprintf(stderr, "ranchctl token: %v\nranchctl token --help tells more.\n", err)
		return exitUsage
	}
	role := map[string]shell.Role{"viewer": shell.Viewer, "operator": shell.Operator}[f.Role]
	secret, line, err := access.GenerateToken(role, f.Name)
	if err != nil {
		fmt.Fprintf(stderr, "ranchctl token: %v\n", err)
		return exitUsage
	}
	if f.File == "" {
		fmt.Fprintf(stdout, "%s\n", secret)
		fmt.Fprintf(stderr, "That is the token, which is not shown again. This line belongs into the file of tokens:\n")
		fmt.Fprintf(stdout, "%s\n", line)
		return exitInOrder
	}
	if err := appendLine(f.File, line); err != nil {
		fmt.Fprintf(stderr, "ranchctl token: --file: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%s\n", secret)
	fmt.Fprintf(stderr, "That is the token, which is not shown again; its hash is in %s.\n", f.File)
	return exitInOrder
}

func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
