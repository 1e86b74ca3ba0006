package shell

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"goranch/internal/termtext"
)

// sessionCommands are the commands for the session itself.
func (s *Shell) sessionCommands() []Command {
	return []Command{
		{Name: "echo", Usage: "<text>", Help: "Return the text.", Role: Viewer, Raw: true, Quick: true, Run: echo},
		{Name: "whoami", Help: "Show your user name, role and address.", Role: Viewer, Quick: true, Run: whoami},
		{Name: "id", Help: "Show the id of this session, for reconnect.", Quick: true, Run: id},
		{Name: "history", Usage: "[<n>]", Help: "List the last n requests, or all.\n\n!5 repeats request 5, and !! the last one.",
			Role: Viewer, MaxArgs: 1, Quick: true, Run: history},
		{Name: "set", Usage: "[<name> [<value>]]", Help: "Set a variable, or list all.\n\n\"set name=value\" is also accepted. Variables are not expanded in requests.",
			Role: Viewer, MaxArgs: 2, Quick: true, Run: s.set},
		{Name: "get", Usage: "<name>", Help: "Show a variable.", Role: Viewer, MinArgs: 1, MaxArgs: 1, Quick: true, Run: get, Complete: completeVariable},
		{Name: "unset", Usage: "<name> ...", Help: "Remove variables.", Role: Viewer, MinArgs: 1, MaxArgs: -1, Quick: true, Run: unset, Complete: completeVariable},
		{Name: "format", Usage: "json | text", Help: "Set or show the format of answers.", MaxArgs: 1, Quick: true, Run: format, Complete: choices("json", "text")},
		{Name: "prompt", Usage: "on | off", Help: "Show a prompt after each answer in text.", Role: Viewer, MinArgs: 1, MaxArgs: 1, Quick: true, Run: setPrompt, Complete: choices("on", "off")},
		{Name: "reconnect", Usage: "<id>", Help: "Resume an earlier session and end this one.", Role: Viewer, MinArgs: 1, MaxArgs: 1, Run: notRepeatable, secret: true},
		{Name: "cancel", Help: "Cancel the running command and all queued requests, like Ctrl-C.", Role: Viewer, Run: notRepeatable},
		{Name: "quit", Aliases: []string{"exit"}, Help: "End this session and the connection.", Quick: true, Run: quit},
	}
}

// notRepeatable is the Run of the commands that the connection handles itself. It is called only if
// they are repeated by "!n".
func notRepeatable(_ context.Context, c *Call) error {
	return Usage("%s cannot be repeated", split(c.req.text).name)
}

func echo(_ context.Context, c *Call) error {
	c.Return(c.Value)
	return nil
}

func whoami(_ context.Context, c *Call) error {
	c.Return(Fields{{Key: "name", Value: c.User.Name}, {Key: "role", Value: c.User.Role.String()}, {Key: "remote", Value: c.Remote.String()}})
	return nil
}

func id(_ context.Context, c *Call) error {
	c.Return(c.runner.session.ID())
	return nil
}

func quit(_ context.Context, c *Call) error {
	c.quit = true
	c.Return("bye")
	return nil
}

func history(_ context.Context, c *Call) error {
	all := c.Session.History
	first := 0
	if len(c.Args) == 1 {
		n, err := strconv.Atoi(c.Args[0])
		if err != nil || n < 0 {
			return Usage("%s: allowed are numbers from 0", quoted(c.Args[0]))
		}
		first = max(0, len(all)-n)
	}
	if c.Session.JSON {
		c.Return(slices.Clone(all[first:]))
		return nil
	}
	var b strings.Builder
	for i, request := range all[first:] {
		fmt.Fprintf(&b, "%5d  %s\n", first+i+1, termtext.Line(request))
	}
	c.Return(b.String())
	return nil
}

// fromHistory returns the request that "!n" or "!!" repeats.
func (s *State) fromHistory(request string) (string, error) {
	n := len(s.History)
	if which := strings.TrimSpace(request[1:]); which != "!" {
		var err error
		if n, err = strconv.Atoi(which); err != nil {
			return "", Usage("%s: allowed are !! and ! with a number of the history", quoted(request))
		}
	}
	if n < 1 || n > len(s.History) {
		return "", Usage("no request %d in the history", n)
	}
	return s.History[n-1], nil
}

// Limits of variables, in bytes.
const (
	maxVariable = 64
	maxValue    = 4 << 10
)

func (s *Shell) set(_ context.Context, c *Call) error {
	if len(c.Args) == 0 {
		var f Fields
		for _, name := range slices.Sorted(maps.Keys(c.Session.Variables)) {
			f = append(f, Field{Key: name, Value: c.Session.Variables[name]})
		}
		c.Return(f)
		return nil
	}
	name, value := c.Args[0], ""
	if len(c.Args) == 2 {
		value = c.Args[1]
	} else {
		var ok bool
		if name, value, ok = strings.Cut(name, "="); !ok {
			return Usage("missing value: set <name> <value>")
		}
	}
	if !isName(name) || len(name) > maxVariable {
		return Usage("variable %s: allowed are names of 1 to %d letters, digits, \"-\", \"_\" and \".\"", quoted(name), maxVariable)
	}
	if len(value) > maxValue {
		return Usage("value of %d bytes: allowed are at most %d", len(value), maxValue)
	}
	if _, exists := c.Session.Variables[name]; !exists && len(c.Session.Variables) >= s.opts.Variables {
		return &Error{Message: fmt.Sprintf("the session already has %d variables, which is the limit", s.opts.Variables)}
	}
	if n := c.Session.variablesBytes() - len(c.Session.Variables[name]) + len(value); n > maxVariablesBytes {
		return &Error{Message: fmt.Sprintf("the variables would take %d bytes: allowed are %d", n, maxVariablesBytes)}
	}
	if c.Session.Variables == nil {
		c.Session.Variables = map[string]string{}
	}
	c.Session.Variables[name] = value
	return nil
}

func get(_ context.Context, c *Call) error {
	value, ok := c.Session.Variables[c.Args[0]]
	if !ok {
		return &Error{Message: "unknown variable " + quoted(c.Args[0])}
	}
	c.Return(value)
	return nil
}

func unset(_ context.Context, c *Call) error {
	for _, name := range c.Args {
		if _, ok := c.Session.Variables[name]; !ok {
			return &Error{Message: "unknown variable " + quoted(name)}
		}
	}
	for _, name := range c.Args {
		delete(c.Session.Variables, name)
	}
	return nil
}

func completeVariable(_ context.Context, c *Call, _ []string) []string {
	return slices.Sorted(maps.Keys(c.Session.Variables))
}

// choices completes the first argument.
func choices(all ...string) func(context.Context, *Call, []string) []string {
	return func(_ context.Context, _ *Call, args []string) []string {
		if len(args) == 1 {
			return all
		}
		return nil
	}
}

func format(_ context.Context, c *Call) error {
	name := "text"
	if c.Session.JSON {
		name = "json"
	}
	if len(c.Args) == 1 {
		name = c.Args[0]
	}
	switch name {
	case "json", "text":
		c.Session.JSON = name == "json"
		c.Return(name)
	default:
		return Usage("format %s: allowed are json and text", quoted(name))
	}
	return nil
}

func setPrompt(_ context.Context, c *Call) error {
	switch c.Args[0] {
	case "on", "off":
		c.Session.Prompt = c.Args[0] == "on"
		return nil
	}
	return Usage("prompt %s: allowed are on and off", quoted(c.Args[0]))
}

// quoted returns input of a client for an error message, cut to 64 bytes.
func quoted(s string) string {
	if len(s) > 64 {
		n := 61
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return strconv.Quote(s)
}
