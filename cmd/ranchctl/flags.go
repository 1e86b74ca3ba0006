package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"goranch/internal/console"
)

// flags is the command line as it was typed.
type flags struct {
	Connect        string        `short:"c" placeholder:"ADDRESS" help:"The shell to connect to: unix:/path, tcp://host:port, tls://host:port, tls+unix:/path. Default: the admin socket of a ranchd on this machine, which is ranchd.sock in $XDG_RUNTIME_DIR, else /run/ranchd.sock for root, and /tmp/ranchd-UID.sock for others."`
	ConnectTimeout time.Duration `placeholder:"TIME" default:"5s" help:"How long connecting may take. Default: ${default}."`
	TokenFile      string        `placeholder:"FILE" help:"What to authenticate with, the file's first line. Default: $RANCHCTL_TOKEN; there is no flag for the token itself, since others could see it in the list of processes."`

	CA                 string `name:"ca" placeholder:"FILE" help:"Who may sign the server's certificate, PEM. Default: those whom the system trusts."`
	Cert               string `placeholder:"FILE" help:"Certificate to present to the server, PEM, with its --key."`
	Key                string `placeholder:"FILE" help:"Key of --cert, PEM. It may be the same file."`
	ServerName         string `placeholder:"NAME" help:"Name that the server's certificate must be good for. Default: the host that is connected to."`
	InsecureSkipVerify bool   `help:"Accept every certificate: anybody on the way can then read and change everything. For trying out only."`

	Output    string        `short:"o" placeholder:"FORMAT" default:"text" enum:"text,json" help:"text or json: the result as one JSON document. Default: ${default}."`
	Timeout   time.Duration `placeholder:"TIME" default:"0s" help:"How long a command may take until it is cancelled; 0 is no limit. Not for the prompt. Default: ${default}."`
	KeepGoing bool          `help:"With commands from stdin: go on after one that failed."`

	Version bool `env:"-" help:"Print which build this is."`
	Help    bool `short:"h" env:"-" help:"Print this."`

	Command []string `arg:"" optional:"" passthrough:"" help:"A command of the server, and all that belongs to it; \"help\" lists them."`
}

const description = `Gives commands to the shell of a server. Without a command it is a prompt if stdin is a terminal, else it reads commands from stdin, one per line.`

const helpTail = `
Flags of ranchctl stand before the command; all that follows the command's name belongs
to the command. Every flag but the last two can be set in the environment, --connect as
RANCHCTL_CONNECT and so on; the command line goes before it.

At the prompt Tab completes, the arrows and Ctrl-R go through the history, Ctrl-C clears
the line or cancels the command that runs, Ctrl-D ends.

Examples:
  ranchctl status
  ranchctl connections --sort bytes --limit 5
  ranchctl -o json connections | jq -r '.[].peer'
  ranchctl --connect tls://admin.example.org:8443 --ca site.pem --token-file ~/.ranch-token
  ranchctl bots --clients 10000           drive a topic server; ranchctl bots --help
  ranchctl token operator ann             a token; ranchctl token --help
  source <(ranchctl completion bash)      also zsh and fish

`

// parse reads the command line. done means that there is nothing to do, and code is then
// how to exit.
func parse(args []string, stdout, stderr io.Writer) (f *flags, code int, done bool) {
	f = &flags{}
	k := kong.Must(f, kong.Name("ranchctl"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp(), kong.DefaultEnvars("RANCHCTL"),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help })) // helpTail says how the environment's names are made
	ctx, err := k.Parse(args)
	switch {
	case err != nil:
		return nil, complain(stderr, err), true
	case f.Help:
		ctx.PrintUsage(false)
		io.WriteString(stdout, helpTail+exitHelp)
		return nil, exitInOrder, true
	case f.Version:
		fmt.Fprintln(stdout, version())
		return nil, exitInOrder, true
	}
	if len(f.Command) > 0 && strings.HasPrefix(f.Command[0], "-") { // kong passes on what it does not know
		if f.Command[0] != "--" {
			return nil, complain(stderr, fmt.Errorf("unknown flag %s", f.Command[0])), true
		}
		f.Command = f.Command[1:]
	}
	if len(f.Command) == 2 && f.Command[0] == "completion" {
		script, err := completionScript(f.Command[1])
		if err != nil {
			return nil, complain(stderr, err), true
		}
		io.WriteString(stdout, script)
		return nil, exitInOrder, true
	}
	if f.Connect == "" {
		f.Connect = console.AdminSocket()
		if err := console.CheckSocket(f.Connect); err != nil {
			fmt.Fprintln(stderr, "ranchctl:", err)
			return nil, exitUnconnected, true
		}
	}
	return f, exitInOrder, false
}

func complain(w io.Writer, err error) int {
	fmt.Fprintf(w, "ranchctl: %v\nranchctl --help lists all flags.\n", err)
	return exitUsage
}

// validate reports what can be told without connecting.
func (f *flags) validate() error {
	var faults []error
	if f.Timeout < 0 {
		faults = append(faults, fmt.Errorf("--timeout %v: it must not be negative", f.Timeout))
	}
	if f.ConnectTimeout <= 0 {
		faults = append(faults, fmt.Errorf("--connect-timeout %v: it must be more than 0", f.ConnectTimeout))
	}
	if (f.Cert == "") != (f.Key == "") {
		faults = append(faults, errors.New("--cert and --key go together"))
	}
	return errors.Join(faults...)
}
