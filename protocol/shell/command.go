package shell

import (
	"context"
	"time"
)

// Role is what a user may do.
type Role uint8

const (
	Guest    Role = iota // may not even look: must authenticate first
	Viewer               // may look
	Operator             // may change
	numRoles
)

var roleNames = [numRoles]string{"guest", "viewer", "operator"}

// String returns the role in a word.
func (r Role) String() string {
	if r < numRoles {
		return roleNames[r]
	}
	return "nobody"
}

// User is who gives commands.
type User struct {
	Name string // for the audit log: "uid 1000 (alice)", "token ops", "CN=alice", "127.0.0.1"
	Role Role
}

// Command is one command of the shell.
type Command struct {
	Name    string // one word: letters, digits, "-", "_", "."
	Aliases []string
	Usage   string // what follows the name: "<listener> <n>", "[--sort KEY] [--limit N]"
	Help    string // one line, then, after a line feed, as much as there is to say
	Role    Role   // who may use it: the least role
	Changes bool   // it changes something: it is told to Options.Audit
	// Args are the fewest and the most arguments, flags not counted. A negative MaxArgs is no limit.
	MinArgs, MaxArgs int
	Flags            []Flag
	// Raw leaves what follows the name as it is, to Call.Value: neither quotes nor flags mean anything.
	Raw bool
	// Quick runs the command in the turn of its connection, which costs less than a goroutine of its own. It is for
	// commands that never wait: while one runs nothing is read, and it cannot be cancelled.
	Quick bool
	// Complete returns what the last of args, which may be empty, could become. nil: nothing.
	Complete func(ctx context.Context, c *Call, args []string) []string
	// Run runs the command. What it writes to c.Out streams to the client; what it gives to c.Return is the
	// result. ctx ends when the client cancels, the session ends or the server stops. The error is told to the
	// client, with its code if it is an [*Error]. A panic ends the connection, as one of a protocol does. The goroutine
	// runs other commands afterwards: who locks it to its thread unlocks it, or ends it by runtime.Goexit.
	Run func(ctx context.Context, c *Call) error

	secret  bool    // it is not remembered
	method  uintptr // the code of Run as Method has made it
	frugal  bool    // its Run shows the Call to nobody: that is used again
	builtin bool    // one that another command of its name may replace
}

// Flag is an option of a command, "--name" or "--name VALUE" or "--name=VALUE".
type Flag struct {
	Name    string
	Value   string // what it takes, for the help: "N", "KEY"; "" is a switch
	Help    string
	Choices []string // what is allowed, and completed; nil is anything
}

// Table is a result of rows. JSON is an array of objects keyed by the columns' keys.
type Table struct {
	Columns []Column
	Rows    [][]any // string, bool, integers, floats, time.Duration, time.Time, Bytes, or fmt.Stringer
	Total   int     // rows there are in all, if more than these; 0: these are all
}

// Column is a column of a Table.
type Column struct {
	Key   string // of JSON: "read_bytes"
	Title string // "READ"; "" is Key
	Right bool   // align to the right
	Wide  bool   // the first to go when the terminal is narrow
	Kind  Kind   // what its values are; what is empty is told by the first row
}

// Kind is what a client shows a value as.
type Kind string

// Kinds of values.
const (
	Plain      Kind = ""
	KindBytes  Kind = "bytes"    // an integer
	KindLength Kind = "duration" // seconds, which may have a fraction
	KindTime   Kind = "time"     // RFC 3339
)

// Fields is a result of names and values, in order. JSON is an object.
type Fields []Field

// Field is one of Fields.
type Field struct {
	Key   string // of JSON
	Title string // of text; "" is Key
	Value any    // as in Table
}

// Bytes is a number of bytes: "1.2 MiB" in text, the number in JSON. Durations are "1m3s" in text, seconds (a float) in JSON; times are RFC 3339 in both.
type Bytes uint64

// AuditEntry is a command that changes something, when it has been run.
type AuditEntry struct {
	Time     time.Time
	User     User
	Remote   string // the client's address
	Command  string // its name
	Line     string // the request as it was given
	Err      error  // nil: it has succeeded
	Duration time.Duration
}
