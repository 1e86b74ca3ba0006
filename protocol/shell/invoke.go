package shell

import (
	"context"
	"io"
	"net"
	"strings"
	"time"

	"goranch/transport"
)

// Invocation is a call of a command that does not arrive as a request of a [Shell]: by HTTP, or by
// the program itself. The zero value of each field but Remote is its default.
type Invocation struct {
	Args   []string          // arguments without flags
	Flags  map[string]string // by name; a switch has the value "true"
	Value  string            // for commands with Raw, which take neither Args nor Flags
	User   User
	Remote net.Addr        // address of the client
	Conn   *transport.Conn // connection of the client; nil is none, and Call.Conn then has the ID 0

	// Out receives streamed output. nil discards it. A command that must stop when its client reads
	// too slowly gets the error of a Write.
	Out io.Writer
	// Frame receives the results of Call.Frame, in the goroutine of the command. nil discards them.
	Frame func(v any) error
	// Audit is called after a command with Changes, as [Options].Audit. nil is none.
	Audit func(AuditEntry)
}

// Invoke runs the command as a shell does, in the caller's goroutine: it checks the role of the
// user, the flags and the number of arguments, and reports the call to Audit. The result is what
// the command has passed to [Call.Return]. The error is an [*Error]; that of a command whose ctx
// has ended is the cause of ctx. A panic of the command is not recovered.
func (c *Command) Invoke(ctx context.Context, inv Invocation) (result any, err error) {
	call := &Call{
		Args: inv.Args, Flags: inv.Flags, Value: inv.Value, User: inv.User, Remote: inv.Remote,
		Session: &State{Dir: "/", JSON: true}, Out: inv.Out, invocation: &inv,
	}
	if call.Out == nil {
		call.Out = io.Discard
	}
	start, fault := time.Now(), error(errInternal) // unless Run returns
	defer func() {
		if c.Changes && inv.Audit != nil {
			inv.Audit(AuditEntry{start, inv.User, inv.Remote.String(), c.Name, c.line(&inv), fault, time.Since(start)})
		}
	}()
	err = c.checkInvocation(&inv)
	if err == nil {
		err = c.Run(ctx, call)
	}
	if fault = err; err != nil {
		return call.result, asError(ctx, err)
	}
	return call.result, nil
}

// checkInvocation makes the checks that Shell makes while it parses a request.
func (c *Command) checkInvocation(inv *Invocation) error {
	if c.Role > inv.User.Role {
		return roleError(c.Name, c.Role, inv.User.Role)
	}
	if c.Raw {
		if len(inv.Args)+len(inv.Flags) > 0 {
			return Usage("%s takes a value, and neither arguments nor flags", c.Name)
		}
		return nil
	}
	for name, value := range inv.Flags {
		f := c.flag(name)
		switch {
		case f == nil:
			return Usage("%s has no flag --%s", c.Name, name)
		case f.Value == "" && value != "true":
			return Usage("flag --%s takes no value", name)
		}
		if err := f.check(value); err != nil {
			return err
		}
	}
	return c.checkCount(len(inv.Args))
}

// line returns the request line that has the same meaning as inv, for the audit log. Flags are in
// the order of the command.
func (c *Command) line(inv *Invocation) string {
	if c.Raw {
		return strings.TrimRight(c.Name+" "+inv.Value, " ")
	}
	words := []string{c.Name}
	for _, f := range c.Flags {
		if value, given := inv.Flags[f.Name]; given && f.Value == "" {
			words = append(words, "--"+f.Name)
		} else if given {
			words = append(words, quote("--"+f.Name+"="+value))
		}
	}
	for _, a := range inv.Args {
		words = append(words, quote(a))
	}
	return strings.Join(words, " ")
}

// MarshalResult returns a result as a JSON object, which has the members of an answer of the shell
// in JSON without its id: "result", and "columns", "fields" and "total" if they apply.
func MarshalResult(v any) ([]byte, error) {
	b, err := appendValue([]byte(`{"result":`), v)
	if err != nil {
		return nil, err
	}
	return append(appendShape(b, v), '}'), nil
}
