package shell

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Method returns a command that answers "name:value", or "name value", by calling f with the value. For a P that is
// a string it is the value as it was sent; numbers and bools are parsed; a struct{} takes no value; any other P is
// decoded from JSON. R is the result, given to [Call.Return]; that of struct{} is none. f runs in a goroutine of
// its own, with a ctx as for Command.Run. The command is for Viewers; change the fields of what is returned for
// anything else.
func Method[P, R any](name, help string, f func(ctx context.Context, p P) (R, error)) Command {
	decode := decoder[P]()
	c := Command{Name: name, Help: help, Role: Viewer, Raw: true, MaxArgs: 1, Usage: "<value>"}
	if _, none := any(*new(P)).(struct{}); none {
		c.Usage = ""
	}
	c.Run = func(ctx context.Context, call *Call) error {
		var p P
		if err := decode(call.Value, &p); err != nil {
			return Usage("%s: %s", name, valueFault(err))
		}
		result, err := f(ctx, p)
		if err != nil {
			return err
		}
		if _, none := any(result).(struct{}); !none {
			call.Return(result)
		}
		return nil
	}
	return c
}

// decoder returns what turns a value into a P, chosen once.
func decoder[P any]() func(value string, p *P) error {
	switch any((*P)(nil)).(type) {
	case *string:
		return func(v string, p *P) error { *any(p).(*string) = v; return nil }
	case *struct{}:
		return func(v string, _ *P) error {
			if v != "" {
				return fmt.Errorf("it takes no value")
			}
			return nil
		}
	case *bool:
		return parsed[P](strconv.ParseBool)
	case *int:
		return parsed[P](strconv.Atoi)
	case *int64:
		return parsed[P](func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	case *int32:
		return parsed[P](func(s string) (int32, error) { n, err := strconv.ParseInt(s, 10, 32); return int32(n), err })
	case *uint64:
		return parsed[P](func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	case *uint32:
		return parsed[P](func(s string) (uint32, error) { n, err := strconv.ParseUint(s, 10, 32); return uint32(n), err })
	case *uint:
		return parsed[P](func(s string) (uint, error) { n, err := strconv.ParseUint(s, 10, 0); return uint(n), err })
	case *float64:
		return parsed[P](func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	}
	return func(v string, p *P) error { return json.Unmarshal([]byte(v), p) }
}

func parsed[P, V any](parse func(string) (V, error)) func(string, *P) error {
	return func(s string, p *P) (err error) {
		*any(p).(*V), err = parse(strings.TrimSpace(s))
		return err
	}
}

// valueFault says what is wrong in words that do not name functions of Go.
func valueFault(err error) string {
	if e, ok := err.(*strconv.NumError); ok {
		return fmt.Sprintf("value %q: %v", e.Num, e.Err)
	}
	return "value: " + strings.TrimPrefix(err.Error(), "json: ")
}
