package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"goranch/internal/cliflag"
	"goranch/internal/console"
)

// flags is the parsed command line.
type flags struct {
	// Connection.
	Connect        string        `short:"c" placeholder:"ADDRESS" help:"Address of the shell: unix:/path, tcp://host:port, tls://host:port or tls+unix:/path. Default: the admin socket of a ranchd on this machine, which is ranchd.sock in $XDG_RUNTIME_DIR, without that variable /run/ranchd.sock for root and /tmp/ranchd-UID.sock for other users."`
	ConnectTimeout time.Duration `placeholder:"TIME" default:"5s" help:"Time limit of connecting, and again of the first answer of the shell. Default: ${default}."`
	TokenFile      string        `placeholder:"FILE" help:"File whose first line is the token to authenticate with. Default: $RANCHCTL_TOKEN. There is no flag for the token itself, because other users can see it in the list of processes."`

	// TLS.
	CA                 string `name:"ca" placeholder:"FILE" help:"CA certificates that may sign the server's certificate, PEM. Default: those of the system."`
	Cert               string `placeholder:"FILE" help:"Client certificate, PEM; requires --key."`
	Key                string `placeholder:"FILE" help:"Private key of --cert, PEM. It may be the same file."`
	ServerName         string `placeholder:"NAME" help:"Name that the server's certificate must contain. Default: the host of --connect."`
	InsecureSkipVerify bool   `help:"Accept any server certificate. An attacker on the network can then read and change everything; for tests only."`

	// Commands.
	Output    string  `short:"o" placeholder:"FORMAT" default:"text" enum:"text,json" help:"Format of results: text, or json for one JSON document. Default: ${default}."`
	Timeout   timeout `placeholder:"TIME" default:"infinity" help:"Time limit of a command, after which it is cancelled, or infinity. Not used at the prompt. Default: ${default}."`
	KeepGoing bool    `help:"With commands from stdin: continue after a command that failed, and reconnect."`

	Version bool `env:"-" help:"Print the version and exit."`
	Help    bool `short:"h" env:"-" help:"Print this help and exit."`

	Command []string `arg:"" optional:"" passthrough:"" help:"A command of the server with its arguments; \"help\" lists them."`
}

// timeout is a time limit. 0 is infinity.
type timeout time.Duration

// UnmarshalText reads a duration or infinity, of which 0 is a former name.
func (t *timeout) UnmarshalText(b []byte) error {
	if string(b) == "infinity" {
		*t = 0
		return nil
	}
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 {
		return fmt.Errorf("%q: allowed are durations such as 500ms, 5s or 2m, and infinity", b)
	}
	*t = timeout(d)
	return nil
}

// parse parses the command line. If done is true, there is nothing more to do, and code is the exit
// code.
func parse(args []string, stdout, stderr io.Writer) (f *flags, code int, done bool) {
	f = &flags{}
	k := kong.Must(f, kong.Name("ranchctl"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.NoDefaultHelp(), kong.DefaultEnvars("RANCHCTL"),
		// Without the environment variable of each flag: helpTail explains how they are formed.
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }))
	ctx, err := k.Parse(args)
	switch {
	case err != nil:
		return nil, usageError(stderr, cliflag.Error(err)), true
	case f.Help:
		ctx.PrintUsage(false)
		io.WriteString(stdout, helpTail+exitHelp)
		return nil, exitOK, true
	case f.Version:
		fmt.Fprintln(stdout, version())
		return nil, exitOK, true
	}
	if len(f.Command) > 0 && strings.HasPrefix(f.Command[0], "-") { // kong passes unknown flags through
		if f.Command[0] != "--" {
			return nil, usageError(stderr, fmt.Errorf("unknown flag %s", f.Command[0])), true
		}
		f.Command = f.Command[1:]
	}
	if len(f.Command) > 0 && f.Command[0] == "completion" {
		script, err := completionScript(strings.Join(f.Command[1:], " "))
		if err != nil {
			return nil, usageError(stderr, err), true
		}
		io.WriteString(stdout, script)
		return nil, exitOK, true
	}
	if f.Connect == "" {
		f.Connect = console.AdminSocket()
		if err := console.CheckSocket(f.Connect); err != nil {
			fmt.Fprintln(stderr, "ranchctl:", err)
			return nil, exitNoConnection, true
		}
	}
	return f, exitOK, false
}

func usageError(w io.Writer, err error) int {
	fmt.Fprintf(w, "ranchctl: %v\nranchctl --help lists all flags.\n", err)
	return exitUsage
}

// validate returns all faults that can be found without connecting.
func (f *flags) validate() error {
	var faults []error
	if f.ConnectTimeout <= 0 {
		faults = append(faults, fmt.Errorf("--connect-timeout %v: allowed are durations such as 500ms, 5s or 2m", f.ConnectTimeout))
	}
	if (f.Cert == "") != (f.Key == "") {
		faults = append(faults, errors.New("--cert and --key: allowed are both or neither"))
	}
	return errors.Join(faults...)
}
