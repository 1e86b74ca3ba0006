package shell

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Defaults of [Program].
const (
	DefaultProgramTime   = time.Minute
	DefaultProgramCPU    = 10 * time.Second
	DefaultProgramOutput = 1 << 20
	DefaultConcurrent    = 4
	DefaultGrace         = 2 * time.Second
)

// Program is one that sessions may run, as a command. It is started as it is, without a shell, with its
// arguments as a list, an empty standard input, and the session's directory as its own. Its output, with that of
// errors, streams to the client. It, and all processes of its group, are killed when it ends, at its
// limits, when the client cancels it, and when the session ends. The zero value of each field is its default.
type Program struct {
	Name string // of the command
	Help string // of the command; "" is its path
	// Path is the file to execute. It has to be absolute.
	Path string
	// Args are its first arguments, always.
	Args []string
	// Allow decides about the client's arguments, which come behind those. nil allows none. [AnyArgs] allows all.
	Allow func(args []string) error
	// Role is who may run it. 0, which is Guest, is Operator.
	Role Role
	// Timeout is how long it may run. 0 is 1 min; negative is no limit.
	Timeout time.Duration
	// CPU is how much time of a processor it may take, in whole seconds, rounded up; each process that it starts may take as
	// much. 0 is 10 s; negative is no limit.
	CPU time.Duration
	// MaxOutput is how many bytes it may write. It is killed at more. 0 is 1 MiB; negative is no limit.
	MaxOutput int
	// MaxConcurrent is how many of it may run at once, in all sessions. 0 is 4; negative is no limit.
	MaxConcurrent int
	// Env is its whole environment beside PATH=/usr/bin:/bin, LANG=C.UTF-8 and what it says otherwise.
	Env []string
	// Grace is how long it has between SIGTERM and SIGKILL. 0 is 2 s; negative is no time.
	Grace time.Duration
}

// AnyArgs allows all arguments, also those that begin with "-".
func AnyArgs([]string) error { return nil }

// NoFlags allows all arguments but those that begin with "-".
func NoFlags(args []string) error {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			return Usage("argument %q: none may begin with \"-\"", a)
		}
	}
	return nil
}

func (p Program) validate() error {
	var faults []error
	bad := func(field string, value any, allowed string) {
		faults = append(faults, fmt.Errorf("%s %q: allowed %s", field, value, allowed))
	}
	if !isName(p.Name) {
		bad("Name", p.Name, "are letters, digits, \"-\", \"_\" and \".\"")
	}
	if !filepath.IsAbs(p.Path) || strings.ContainsRune(p.Path, 0) {
		bad("Path", p.Path, "are absolute paths")
	}
	for _, e := range p.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			bad("Env", e, "are NAME=VALUE")
		}
	}
	for _, a := range p.Args {
		if strings.ContainsRune(a, 0) {
			bad("Args", a, "is what has no NUL byte")
		}
	}
	if p.Role >= numRoles {
		bad("Role", fmt.Sprint(uint8(p.Role)), "are Guest, for Operator, Viewer and Operator")
	}
	return errors.Join(faults...)
}

func (p Program) withDefaults() Program {
	def(&p.Help, "Run "+p.Path+".")
	def(&p.Role, Operator)
	def(&p.Timeout, DefaultProgramTime)
	def(&p.CPU, DefaultProgramCPU)
	def(&p.MaxOutput, DefaultProgramOutput)
	def(&p.MaxConcurrent, DefaultConcurrent)
	def(&p.Grace, DefaultGrace)
	return p
}
