package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Method returns a command that answers "name:value" or "name value" by calling f. The type P
// determines how the value is decoded: a string is taken as sent, numbers and bools are parsed, a
// struct{} accepts no value, and everything else is JSON. The result is passed to [Call.Return]; an
// R of struct{} is no result. f runs in a worker goroutine with the context of [Command].Run. The
// command requires the role Viewer; the caller may change its fields.
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
		switch v := any(&result).(type) { // by pointer: converting a string to any would allocate
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

// decoder returns the function that decodes a value for P.
func decoder[P any]() func(value string) (P, error) {
	switch any((*P)(nil)).(type) {
	case *string:
		return func(v string) (P, error) { return *any(&v).(*P), nil }
	case *struct{}:
		return func(v string) (p P, err error) {
			if v != "" {
				err = errors.New("none is allowed")
			}
			return p, err
		}
	case *bool:
		return parser[P](strconv.ParseBool)
	case *int:
		return parser[P](strconv.Atoi)
	case *int64:
		return parser[P](func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	case *int32:
		return parser[P](func(s string) (int32, error) { n, err := strconv.ParseInt(s, 10, 32); return int32(n), err })
	case *uint64:
		return parser[P](func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	case *uint32:
		return parser[P](func(s string) (uint32, error) { n, err := strconv.ParseUint(s, 10, 32); return uint32(n), err })
	case *uint:
		return parser[P](func(s string) (uint, error) { n, err := strconv.ParseUint(s, 10, 0); return uint(n), err })
	case *float64:
		return parser[P](func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	}
	return func(v string) (p P, err error) {
		err = json.Unmarshal([]byte(v), &p)
		return p, err
	}
}

func parser[P, V any](parse func(string) (V, error)) func(string) (P, error) {
	return func(s string) (P, error) {
		v, err := parse(strings.TrimSpace(s))
		return *any(&v).(*P), err
	}
}

// valueFault describes a decoding error without the names of Go functions.
func valueFault(err error) string {
	if e, ok := err.(*strconv.NumError); ok {
		return fmt.Sprintf("value %q: %v", e.Num, e.Err)
	}
	return "value: " + strings.TrimPrefix(err.Error(), "json: ")
}
