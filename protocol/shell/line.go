package shell

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// line is a request, taken apart as far as it says itself.
type line struct {
	name  string
	value string // what follows the name
	colon bool   // as "name:value": a single value, in which nothing has a meaning
}

// split divides a request at the first ":" or blank. Blanks before it, and those before the words of a
// command line, are dropped.
func split(s string) line {
	s = trimBlanks(s)
	i := nameEnd(s)
	if i == len(s) {
		return line{name: s}
	}
	if s[i] == ':' {
		return line{s[:i], s[i+1:], true}
	}
	return line{name: s[:i], value: strings.Trim(s[i:], " \t")}
}

// nameEnd returns how long the name is that a request begins with.
func nameEnd[T string | []byte](s T) int {
	for i := range len(s) {
		if c := s[i]; c == ':' || isBlank(c) {
			return i
		}
	}
	return len(s)
}

// trimBlanks returns s without the blanks that it begins with.
func trimBlanks[T string | []byte](s T) T {
	for len(s) > 0 && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// args returns the arguments of a request.
func (l line) args() ([]string, error) {
	if !l.colon {
		return words(l.value)
	}
	if l.value == "" {
		return nil, nil
	}
	return []string{l.value}, nil
}

var (
	errQuote     = errors.New("a quote without its end")
	errBackslash = errors.New("a backslash at the end")
)

// words divides a command line at blanks. Between single quotes everything is as it is; between
// double quotes a backslash keeps what follows from ending them; outside, a backslash takes the meaning
// of the next character away. Nothing else has one: no variables, no patterns, no operators.
func words(s string) ([]string, error) {
	var all []string
	var word []byte
	in, began := byte(0), false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case in == 0 && (c == ' ' || c == '\t'):
			if began {
				all, word, began = append(all, string(word)), word[:0], false
			}
			continue
		case in == 0 && (c == '\'' || c == '"'):
			in = c
		case in != 0 && c == in:
			in = 0
		case c == '\\' && in != '\'':
			if i++; i == len(s) {
				return nil, errBackslash
			}
			if in == '"' && s[i] != '"' && s[i] != '\\' {
				word = append(word, '\\')
			}
			word = append(word, s[i])
		default:
			word = append(word, c)
		}
		began = true
	}
	if in != 0 {
		return nil, errQuote
	}
	if began {
		all = append(all, string(word))
	}
	return all, nil
}

// lastWord returns where the last word of a command line that is being typed begins.
func lastWord(s string) int {
	begin, in := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case in == 0 && (c == ' ' || c == '\t'):
			begin = i + 1
		case in == 0 && (c == '\'' || c == '"'):
			in = c
		case c == in:
			in = 0
		case c == '\\' && in != '\'':
			i++
		}
	}
	return begin
}

// quote returns s as words takes it for one word.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t'\"\\") {
		return s
	}
	if !strings.Contains(s, "'") {
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

var (
	errNUL  = &Error{Code: CodeUsage, Message: "a NUL byte in the request"}
	errUTF8 = &Error{Code: CodeUsage, Message: "the request is not UTF-8"}
)

// wellFormed reports what no request may contain.
func wellFormed(b []byte) *Error {
	if bytes.IndexByte(b, 0) >= 0 {
		return errNUL
	}
	if !utf8.Valid(b) {
		return errUTF8
	}
	return nil
}

// flags takes the flags out of args, as far as "--", and looks whether all is as the command says.
func (c *Command) flags(args []string) (rest []string, flags map[string]string, err error) {
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
		if err := f.allows(value); err != nil {
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

func (f *Flag) allows(value string) error {
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

// count reports too few or too many arguments.
func (c *Command) count(n int) error {
	switch {
	case n < c.MinArgs && c.MinArgs == c.MaxArgs:
		return Usage("%s takes %d arguments, not %d: %s", c.Name, c.MinArgs, n, c.usage())
	case n < c.MinArgs:
		return Usage("%s takes %d arguments or more: %s", c.Name, c.MinArgs, c.usage())
	case c.MaxArgs == 0 && n > 0:
		return Usage("%s takes no arguments", c.Name)
	case c.MaxArgs >= 0 && n > c.MaxArgs:
		return Usage("%s takes %d arguments at most: %s", c.Name, c.MaxArgs, c.usage())
	}
	return nil
}

func (c *Command) usage() string { return strings.TrimRight(c.Name+" "+c.Usage, " ") }
