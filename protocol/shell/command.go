// Package shell is a line-based RPC shell whose sessions outlive their connections.
package shell

import (
	"context"
	"io"
	"time"
)

// Role is what a user may do.
type Role uint8

const (
	Guest    Role = iota // may not even look: must authenticate first
	Viewer               // may look
	Operator             // may change
)

// User is who gives commands.
type User struct {
	Name string // for the audit log: "uid 1000 (alice)", "token ops", "CN=alice", "127.0.0.1"
	Role Role
}

// Command is one command of the shell.
type Command struct {
	Name    string // one word: lower-case letters, digits, "-", "!"
	Aliases []string
	Usage   string // what follows the name: "<listener> <n>", "[--sort KEY] [--limit N]"
	Help    string // one line, then, after a line feed, as much as there is to say
	Role    Role   // who may use it: the least role
	Changes bool   // it changes something: it is written to the audit log
	// Args are the fewest and the most arguments, flags not counted. A negative MaxArgs is no limit.
	MinArgs, MaxArgs int
	Flags            []Flag
	// Complete returns what the last of args, which may be empty, could become. nil: nothing.
	Complete func(ctx context.Context, c *Call, args []string) []string
	// Run runs the command. What it writes to c.Out streams to the client; what it gives to c.Return is the
	// result. ctx ends when the client cancels, the session ends or the server stops. The error is told to the client.
	Run func(ctx context.Context, c *Call) error
}

// Flag is an option of a command, "--name" or "--name VALUE".
type Flag struct {
	Name    string
	Value   string // what it takes, for the help: "N", "KEY"; "" is a switch
	Help    string
	Choices []string // what is allowed, and completed; nil is anything
}

// Call is one command being run.
type Call struct {
	Args    []string
	Flags   map[string]string // those that were given; a switch is "true"
	User    User
	Session *State    // the session's own; only its running command touches it
	Out     io.Writer // streams to the client; a write error means that it has gone
	// …
}

// Return sets the result. In text it is shown as: a string as it is; a Table as a table; a Fields as aligned lines;
// anything else as JSON. With format:json it is the "result" of the answer.
func (c *Call) Return(v any) {}

// Table is a result of rows. JSON is an array of objects keyed by the columns' keys.
type Table struct {
	Columns []Column
	Rows    [][]any // string, bool, integers, floats, time.Duration, time.Time, Bytes, or fmt.Stringer
	Total   int     // rows there are in all, if more than these; 0: these are all
}

// Column is a column of a Table.
type Column struct {
	Key   string // of JSON: "read_bytes"
	Title string // "READ"
	Right bool   // align to the right
	Wide  bool   // the first to go when the terminal is narrow
}

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

// State is a session of the shell.
type State struct {
	History   []string
	Variables map[string]string
	Dir       string // within the root, "/" at the beginning
	JSON      bool   // format:json
}

var _ time.Duration
