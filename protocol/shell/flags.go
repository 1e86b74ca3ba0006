package shell

import (
	"fmt"
	"strings"
)

// parseFlags separates flags and arguments, up to "--", and checks the flags.
func (c *Command) parseFlags(args []string) (rest []string, flags map[string]string, err error) {
	if len(c.Flags) == 0 {
		return args, nil, nil
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(arg, "--") {
			rest = append(rest, arg)
			continue
		}
		name, value, given := strings.Cut(arg[2:], "=")
		f := c.flag(name)
		switch {
		case f == nil:
			return nil, nil, Usage("%s has no flag --%s", c.Name, name)
		case f.Value == "" && given:
			return nil, nil, Usage("flag --%s takes no value", name)
		case f.Value == "":
			value = "true"
		case !given && i+1 == len(args):
			return nil, nil, Usage("flag --%s needs a value: %s", name, f.Value)
		case !given:
			i++
			value = args[i]
		}
		if err := f.check(value); err != nil {
			return nil, nil, err
		}
		if flags == nil {
			flags = map[string]string{}
		}
		flags[name] = value
	}
	return rest, flags, nil
}

func (c *Command) flag(name string) *Flag {
	for i := range c.Flags {
		if c.Flags[i].Name == name {
			return &c.Flags[i]
		}
	}
	return nil
}

// check returns the error for a value that is not among the choices.
func (f *Flag) check(value string) error {
	if f.Choices == nil {
		return nil
	}
	for _, choice := range f.Choices {
		if value == choice {
			return nil
		}
	}
	return Usage("flag --%s %q: allowed are %s", f.Name, value, strings.Join(f.Choices, ", "))
}

// checkCount returns the error for too few or too many arguments.
func (c *Command) checkCount(n int) error {
	switch {
	case n < c.MinArgs && c.MinArgs == c.MaxArgs:
		return Usage("%s takes %s, not %d: %s", c.Name, arguments(c.MinArgs), n, c.usage())
	case n < c.MinArgs:
		return Usage("%s takes at least %s: %s", c.Name, arguments(c.MinArgs), c.usage())
	case c.MaxArgs == 0 && n > 0:
		return Usage("%s takes no arguments", c.Name)
	case c.MaxArgs >= 0 && n > c.MaxArgs:
		return Usage("%s takes at most %s: %s", c.Name, arguments(c.MaxArgs), c.usage())
	}
	return nil
}

func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

func (c *Command) usage() string { return strings.TrimRight(c.Name+" "+c.Usage, " ") }
