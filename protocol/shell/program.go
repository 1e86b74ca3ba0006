package shell

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"goranch/internal/option"
)

// Program is an executable that sessions can run as a command (Linux only). It is executed
// directly, without a system shell, with its arguments as a list, empty standard input, and the
// session's working directory. Its standard output and standard error stream to the client. Its
// process group is killed when the program ends, exceeds a limit or is cancelled, and when the
// session ends. The zero value of each field but Name and Path is its default.
type Program struct {
	Name string // name of the command
	Help string // help of the command; "" names the path
	// Path is the absolute path of the executable.
	Path string
	// Args are the first arguments of every run.
	Args []string
	// Allow checks the client's arguments, which follow Args; its error is sent to the client. nil
	// allows none. [NoFlags] allows all that do not begin with "-".
	Allow func(args []string) error
	// Role is the role required to run it. 0, which is Guest, stands for Operator.
	Role Role
	// Timeout is the longest run time. 0 is 1 minute; transport.NoTimeout, or any other negative
	// value, is no limit.
	Timeout time.Duration
	// CPU is the longest processor time of each of its processes, rounded up to seconds. 0 is 10 s;
	// transport.NoTimeout, or any other negative value, is no limit.
	CPU time.Duration
	// MaxOutput is the largest output in bytes; the program is killed if it writes more. 0 is 1
	// MiB; transport.NoLimit, or any other negative value, is no limit.
	MaxOutput int
	// MaxConcurrent is the largest number of concurrent runs in all sessions. 0 is 4;
	// transport.NoLimit, or any other negative value, is no limit.
	MaxConcurrent int
	// Env is added to its environment, which is otherwise PATH=/usr/bin:/bin and LANG=C.UTF-8.
	Env []string
	// Grace is the time between SIGTERM and SIGKILL. 0 is 2 s; negative sends SIGKILL at once.
	Grace time.Duration
}

// NoFlags is a Program.Allow for any arguments except those that begin with "-".
func NoFlags(args []string) error {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			return Usage("argument %q: allowed are arguments that do not begin with \"-\"", a)
		}
	}
	return nil
}

// validate adds all faults to f; prefix is put before the names of the fields.
func (p Program) validate(f *option.Faults, prefix string) {
	bad := func(field, value, allowed string) { f.Bad(prefix+field, fmt.Sprintf("%q", value), allowed) }
	if !isName(p.Name) {
		bad("Name", p.Name, `letters, digits, "-", "_" and ".", beginning with a letter or digit`)
	}
	if !filepath.IsAbs(p.Path) || strings.ContainsRune(p.Path, 0) {
		bad("Path", p.Path, "absolute paths")
	}
	for _, e := range p.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			bad("Env", e, "NAME=VALUE")
		}
	}
	for _, a := range p.Args {
		if strings.ContainsRune(a, 0) {
			bad("Args", a, "texts without a NUL byte")
		}
	}
	if p.Role >= numRoles {
		bad("Role", p.Role.String(), "Viewer, Operator, and 0 for Operator")
	}
}

func (p Program) withDefaults() Program {
	option.Default(&p.Help, "Run "+p.Path+".")
	option.Default(&p.Role, Operator)
	option.Default(&p.Timeout, time.Minute)
	option.Default(&p.CPU, 10*time.Second)
	option.Default(&p.MaxOutput, 1<<20)
	option.Default(&p.MaxConcurrent, 4)
	option.Default(&p.Grace, 2*time.Second)
	return p
}
