package shell

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Method returns a command that answers "name:value", or "name value", by calling f with the value. For a P that is
// a string it is the value as it was sent; numbers and bools are parsed; a struct{} takes no value; any other P is
// decoded from JSON. R is the result, given to [Call.Return]; that of struct{} is none. f runs in another
// goroutine than the connection's, with a ctx as for Command.Run. The command is for Viewers; change the fields of what is returned for
// anything else.
func Method[P, R any](name, help string, f func(ctx context.Context, p P) (R, error)) Command {
	decode := decoder[P]()
	c := Command{Name: name, Help: help, Role: Viewer, Raw: true, MaxArgs: 1, Usage: "<value>"}
	if _, none := any(*new(P)).(struct{}); none {
		c.Usage = ""
	}
	c.Run = func(ctx context.Context, call *Call) error {
		p, err := decode(call.Value)
		if err != nil {
			return Usage("%s: %s", name, valueFault(err))
		}
		result, err := f(ctx, p)
		if err != nil {
			return err
		}
		switch v := any(&result).(type) { // a pointer: no value of this is allocated
		case *struct{}:
		case *string:
			call.text = text(*v)
			call.result = &call.text
		default:
			call.Return(result)
		}
		return nil
	}
	c.method = reflect.ValueOf(c.Run).Pointer()
	return c
}

// decoder returns what turns a value into a P, chosen once.
func decoder[P any]() func(value string) (P, error) {
	switch any((*P)(nil)).(type) {
	case *string:
		return func(v string) (P, error) { return *any(&v).(*P), nil }
	case *struct{}:
		return func(v string) (p P, err error) {
			if v != "" {
				err = fmt.Errorf("it takes no value")
			}
			return p, err
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
	return func(v string) (p P, err error) {
		err = json.Unmarshal([]byte(v), &p)
		return p, err
	}
}

func parsed[P, V any](parse func(string) (V, error)) func(string) (P, error) {
	return func(s string) (P, error) {
		v, err := parse(strings.TrimSpace(s))
		return *any(&v).(*P), err
	}
}

// valueFault says what is wrong in words that do not name functions of Go.
func valueFault(err error) string {
	if e, ok := err.(*strconv.NumError); ok {
		return fmt.Sprintf("value %q: %v", e.Num, e.Err)
	}
	return "value: " + strings.TrimPrefix(err.Error(), "json: ")
}
