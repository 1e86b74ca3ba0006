package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"goranch/internal/cliflag"
	"goranch/protocol/shell"
	"goranch/protocol/shell/access"
)

// tokenFlags is the command line of "ranchctl token".
type tokenFlags struct {
	Role string `arg:"" enum:"viewer,operator" help:"Role of the user: viewer (may run commands that show something) or operator (all commands)."`
	Name string `arg:"" help:"Name of the user in logs."`
	File string `placeholder:"FILE" help:"Append the line to this token file, which is created with mode 0600 if it does not exist."`
	Help bool   `short:"h" help:"Print this help and exit."`
}

const tokenDescription = `Creates a token for a user of ranchd's shells. The token is printed once and not stored. ` +
	`The file of ranchd --tokens contains a line with its hash.`

// token runs "ranchctl token", which needs no server, and returns the exit code.
func token(args []string, stdout, stderr io.Writer) int {
	var f tokenFlags
	k := kong.Must(&f, kong.Name("ranchctl token"), kong.Description(tokenDescription),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp())
	if slices.Contains(args, "-h") || slices.Contains(args, "--help") { // before kong reports missing arguments
		if ctx, err := kong.Trace(k, args); err == nil {
			ctx.PrintUsage(false)
		}
		return exitOK
	}
	if _, err := k.Parse(args); err != nil {
		fmt.Fprintf(stderr, "ranchctl token: %v\nranchctl token --help shows the usage.\n", cliflag.Error(err))
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
		fmt.Fprintf(stderr, "This is the token; it is not shown again. Add this line to the token file:\n")
		fmt.Fprintf(stdout, "%s\n", line)
		return exitOK
	}
	if err := appendLine(f.File, line); err != nil {
		fmt.Fprintf(stderr, "ranchctl token: --file: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "%s\n", secret)
	fmt.Fprintf(stderr, "This is the token; it is not shown again. Its hash is in %s.\n", f.File)
	return exitOK
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
