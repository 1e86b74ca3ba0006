// Package cliflag rewrites the errors of the flag parser kong: they then say what is allowed and
// what to write instead, as the other errors of command lines do.
package cliflag

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	unexpected = regexp.MustCompile(`^(--[a-z0-9-]+): expected (?:a valid 64 bit )?(\w+)(?: value)? but got "(.*?)"(?: \((.*?)\))?(?:;|:|$)`)
	boolean    = regexp.MustCompile(`^(\S+): bool value must be .* but got "(.*)"$`)
	enum       = regexp.MustCompile(`^(\S+) must be one of (".*") but got "(.*)"$`)
	missing    = regexp.MustCompile(`^expected "(.*)"$`)
	suggestion = regexp.MustCompile(`, did you mean "-\w"\?$`)                  // kong suggests short flags for long ones
	own        = regexp.MustCompile(`^(--[a-z0-9-]+): (".*": allowed are .*)$`) // of an UnmarshalText
	negative   = regexp.MustCompile(`^-\.?[0-9]`)
)

// allowed completes "allowed are ..." for the types of values.
var allowed = map[string]string{
	"int": "whole numbers", "float": "numbers", "duration": "durations such as 500ms, 5s or 2m", "bool": "true and false",
}

// Error returns err, an error of kong.Parse, with the form of the other errors.
func Error(err error) error {
	text := err.Error()
	if m := unexpected.FindStringSubmatch(text); m != nil {
		name, kind, value, token := m[1], m[2], m[3], m[4]
		switch {
		case token == "<EOL>":
			return fmt.Errorf("%s: the value is missing", name)
		case strings.HasPrefix(value, "-") && token != "":
			return fmt.Errorf("%s: the value is missing; one that begins with - is written %s=%s", name, name, value)
		case allowed[kind] != "":
			return fmt.Errorf("%s %q: allowed are %s", name, value, allowed[kind])
		}
	}
	if m := boolean.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s %q: allowed are %s", m[1], m[2], allowed["bool"])
	}
	if m := enum.FindStringSubmatch(text); m != nil {
		values := strings.Split(strings.Trim(m[2], `"`), `","`)
		return fmt.Errorf("%s %q: allowed are %s", m[1], m[3], strings.Join(values, ", "))
	}
	if m := own.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s %s", m[1], m[2])
	}
	if m := missing.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("arguments are missing: %s", m[1])
	}
	if s := suggestion.ReplaceAllString(text, ""); s != text {
		return errors.New(s)
	}
	return err
}

// Join returns args, where each negative number follows its flag as in --flag=-3. Without it kong
// would understand the number as short flags. No argument before "--" may be a negative number.
func Join(args []string) []string {
	joined := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" { // the rest are no flags
			return append(joined, args[i:]...)
		}
		last := len(joined) - 1
		if last >= 0 && negative.MatchString(arg) && strings.HasPrefix(joined[last], "--") && !strings.Contains(joined[last], "=") {
			joined[last] += "=" + arg
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}
