package shell

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// sessionCommands are those about the session itself.
func (s *Shell) sessionCommands() []Command {
	return []Command{
		{Name: "echo", Usage: "<text>", Help: "Answer the text.", Role: Viewer, Raw: true, Quick: true, Run: echo},
		{Name: "whoami", Help: "Show who you are, and your role.", Role: Viewer, Quick: true, Run: whoami},
		{Name: "id", Help: "Show the id of this session, to reconnect with.", Quick: true, Run: id},
		{Name: "history", Usage: "[n]", Help: "Show earlier requests, the last n.\n!5 repeats request 5, !! the last one.",
			Role: Viewer, MaxArgs: 1, Quick: true, Run: history},
		{Name: "set", Usage: "[<name> [<value>]]", Help: "Set a variable, or show all.\nset name=value does the same. Nothing is put in place of $name.",
			Role: Viewer, MaxArgs: 2, Quick: true, Run: s.set},
		{Name: "get", Usage: "<name>", Help: "Show a variable.", Role: Viewer, MinArgs: 1, MaxArgs: 1, Quick: true, Run: get, Complete: completeVariable},
		{Name: "unset", Usage: "<name> ...", Help: "Forget variables.", Role: Viewer, MinArgs: 1, MaxArgs: -1, Quick: true, Run: unset, Complete: completeVariable},
		{Name: "format", Usage: "json | text", Help: "Choose how answers look.", MaxArgs: 1, Quick: true, Run: format, Complete: choices("json", "text")},
		{Name: "prompt", Usage: "on | off", Help: "Choose whether a prompt follows each answer in text.", Role: Viewer, MinArgs: 1, MaxArgs: 1, Quick: true, Run: setPrompt, Complete: choices("on", "off")},
		{Name: "reconnect", Usage: "<id>", Help: "Go on with an earlier session. This one ends.", Role: Viewer, MinArgs: 1, MaxArgs: 1, Run: unreachable, secret: true},
		{Name: "cancel", Help: "Cancel the command that is running, as Ctrl-C does, and those that wait.", Role: Viewer, Run: unreachable},
		{Name: "quit", Aliases: []string{"exit"}, Help: "End this session and the connection.", Quick: true, Run: quit},
	}
}

// unreachable stands for commands that the connection runs itself: they get here by "!n" only.
func unreachable(_ context.Context, c *Call) error {
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
	c.Return(c.lv.session.ID())
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
			return Usage("%s: allowed are numbers", quoted(c.Args[0]))
		}
		first = max(0, len(all)-n)
	}
	if c.Session.JSON {
		c.Return(slices.Clone(all[first:]))
		return nil
	}
	var b strings.Builder
	for i, request := range all[first:] {
		fmt.Fprintf(&b, "%5d  %s\n", first+i+1, printable(request))
	}
	c.Return(b.String())
	return nil
}

// recall returns the request that "!n" or "!!" stands for.
func (s *State) recall(request string) (string, error) {
	n := len(s.History)
	if which := strings.TrimSpace(request[1:]); which != "!" {
		var err error
		if n, err = strconv.Atoi(which); err != nil {
			return "", Usage("%s: allowed are !! and ! with a number from history", quoted(request))
		}
	}
	if n < 1 || n > len(s.History) {
		return "", Usage("there is no request %d in the history", n)
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
			return Usage("a value is missing: set <name> <value>")
		}
	}
	if !isName(name) || len(name) > maxVariable {
		return Usage("variable %s: allowed are names of 1 to %d letters, digits, \"-\", \"_\" and \".\"", quoted(name), maxVariable)
	}
	if len(value) > maxValue {
		return Usage("a value of %d bytes: allowed are %d", len(value), maxValue)
	}
	if _, there := c.Session.Variables[name]; !there && len(c.Session.Variables) >= s.opts.Variables {
		return &Error{Message: fmt.Sprintf("there are %d variables already, as many as there may be", s.opts.Variables)}
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
		return &Error{Message: "there is no variable " + quoted(c.Args[0])}
	}
	c.Return(value)
	return nil
}

func unset(_ context.Context, c *Call) error {
	for _, name := range c.Args {
		if _, ok := c.Session.Variables[name]; !ok {
			return &Error{Message: "there is no variable " + quoted(name)}
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
	now := "text"
	if c.Session.JSON {
		now = "json"
	}
	if len(c.Args) == 1 {
		now = c.Args[0]
	}
	switch now {
	case "json":
		c.Session.JSON = true
		c.Return(now)
	case "text":
		c.Session.JSON = false
		c.Return(now)
	default:
		return Usage("format %s: allowed are json and text", quoted(now))
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

// quoted is what a client has sent, in an answer: not more of it than makes sense.
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
