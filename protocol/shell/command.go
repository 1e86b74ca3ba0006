package shell

import (
	"context"
	"strconv"
	"time"
)

// Role is a level of permissions.
type Role uint8

// Roles, from the least to the most permissions.
const (
	Guest    Role = iota // may only authenticate
	Viewer               // may run commands that read
	Operator             // may run commands that change something
	numRoles
)

var roleNames = [numRoles]string{"guest", "viewer", "operator"}

// String returns the name of the role in lower case.
func (r Role) String() string {
	if r < numRoles {
		return roleNames[r]
	}
	return "role " + strconv.Itoa(int(r))
}

// User is the user of a connection.
type User struct {
	Name string // for the audit log: "uid 1000 (alice)", "token ops", "CN=alice", "127.0.0.1"
	Role Role
}

// Command is a command of the shell.
type Command struct {
	Name    string // letters, digits, "-", "_" and ".", at most 64
	Aliases []string
	Usage   string // the arguments: "<listener> <n>", "[--sort KEY] [--limit N]"
	Help    string // a line for the list of commands; more lines are shown by "help <command>"
	Role    Role   // the role required to run it
	Changes bool   // it changes something: its calls are passed to Options.Audit
	// MinArgs and MaxArgs are the allowed numbers of arguments, not counting flags. A negative
	// MaxArgs is no limit.
	MinArgs, MaxArgs int
	Flags            []Flag
	// Raw passes the text after the name to Call.Value as it is, without quotes or flags.
	Raw bool
	// Quick runs the command in the goroutine of its connection, which is faster than a worker. Run
	// must not block then: until it returns the connection is not read and cannot cancel it.
	Quick bool
	// Complete returns the possible values of the last element of args, which may be empty. nil
	// completes nothing.
	Complete func(ctx context.Context, c *Call, args []string) []string
	// Run runs the command. It streams output to c.Out and sets the result by c.Return. ctx is
	// cancelled when the client cancels the command, the session ends or the shell is closed. The
	// error is sent to the client; an [*Error] has a code. A panic ends the connection. Workers run
	// other commands later, so a Run that locks its goroutine to a thread must unlock it or call
	// runtime.Goexit.
	Run func(ctx context.Context, c *Call) error

	secret    bool    // not recorded in the history
	method    uintptr // code pointer of the Run that Method has made
	reuseCall bool    // Run does not retain its Call, which returns to the pool
	builtin   bool    // may be replaced by a command of the same name
}

// Flag is a flag of a command: "--name", "--name VALUE" or "--name=VALUE".
type Flag struct {
	Name    string
	Value   string // placeholder of the value in the help: "N", "KEY"; "" is a switch without a value
	Help    string
	Choices []string // allowed values, also used for completion; nil allows any
	// Complete returns the possible values for completion, if they are not Choices. nil is none.
	Complete func(ctx context.Context, c *Call) []string
}

// AuditEntry describes a call of a command with Changes.
type AuditEntry struct {
	Time     time.Time // start of the command
	User     User
	Remote   string // address of the client
	Command  string // name of the command
	Line     string // the request
	Err      error  // nil if it has succeeded
	Duration time.Duration
}
