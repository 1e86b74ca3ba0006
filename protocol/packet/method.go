package packet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Call is a request in progress. It is a context too, the connection's, which ends when the
// connection is to end.
type Call struct {
	context.Context
	Session *Session
	Method  string
	// ID is the request's, as it was written; nil for a notification, which gets no answer.
	ID json.RawMessage
}

// None are the params of a method that takes none.
type None = struct{}

// Validator is for params that can be wrong in ways that their type does not say. Its error goes to
// the client, as the data of -32602.
type Validator interface{ Validate() error }

type method func(call *Call, params json.RawMessage) (any, error)

// Register makes f a method of s, under that name, also while s is serving. It runs in the
// goroutine of the connection that calls it.
//
// Params are decoded by encoding/json to P; what does not fit is answered by -32602. Where P is a
// struct, fields that it does not have are refused, unless Options.AllowUnknownFields, and an array
// fills its fields in their order, where those left out keep their zero value. Params may be absent, or
// null, if P has no fields or can be nil; [Validator] says more.
//
// If f returns an [*Error], that is the answer. The text of others does not reach the client,
// unless Options.ExposeErrors; it gets -32603, and Options.OnError the error.
//
// The error, which wraps [ErrMethod], says that the name is taken, empty, or begins with "rpc.",
// which is reserved, or that f is nil.
func Register[P, R any](s *Server, name string, f func(call *Call, params P) (R, error)) error {
	if f == nil {
		return fmt.Errorf("%w: %q has no function", ErrMethod, name)
	}
	d := newDecoder(reflect.TypeFor[P](), s.opts.AllowUnknownFields)
	return s.register(name, func(call *Call, params json.RawMessage) (any, error) {
		var in P
		if err := d.decode(params, reflect.ValueOf(&in)); err != nil {
			return nil, InvalidParams(describe(err))
		}
		if v, ok := any(&in).(Validator); ok {
			if err := v.Validate(); err != nil {
				return nil, InvalidParams(err.Error())
			}
		}
		return f(call, in)
	})
}

func (s *Server) register(name string, m method) error {
	if name == "" || strings.HasPrefix(name, "rpc.") {
		return fmt.Errorf("%w: name %q: allowed are those that are not empty and do not begin with rpc", ErrMethod, name)
	}
	if _, taken := s.methods.LoadOrStore(name, m); taken {
		return fmt.Errorf("%w: name %q is taken", ErrMethod, name)
	}
	return nil
}

// decoder decodes params of one type.
type decoder struct {
	optional   bool  // they may be absent
	positional []int // fields of a struct, which an array fills; nil: it does not
	unknown    bool  // fields that the struct does not have are ignored
}

func newDecoder(t reflect.Type, unknown bool) *decoder {
	d := &decoder{unknown: unknown}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		d.optional = true
		return d
	case reflect.Struct:
	default:
		return d
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return d
	}
	d.optional = t.NumField() == 0
	d.positional = []int{}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && !f.Anonymous && f.Tag.Get("json") != "-" {
			d.positional = append(d.positional, i)
		}
	}
	return d
}

var errNoParams = errors.New("they are missing")

// decode decodes params to what in points to.
func (d *decoder) decode(params json.RawMessage, in reflect.Value) error {
	if params == nil {
		if d.optional {
			return nil
		}
		return errNoParams
	}
	if d.positional == nil || params[0] != '[' {
		return d.value(params, in.Interface())
	}
	var all []json.RawMessage
	if err := json.Unmarshal(params, &all); err != nil {
		return err
	}
	if len(all) > len(d.positional) {
		return fmt.Errorf("%d by position, allowed are %d", len(all), len(d.positional))
	}
	for i, p := range all {
		if err := d.value(p, in.Elem().Field(d.positional[i]).Addr().Interface()); err != nil {
			return fmt.Errorf("position %d: %w", i, err)
		}
	}
	return nil
}

func (d *decoder) value(params json.RawMessage, in any) error {
	dec := json.NewDecoder(bytes.NewReader(params))
	if !d.unknown {
		dec.DisallowUnknownFields()
	}
	return dec.Decode(in)
}

// describe says what is wrong in words of JSON, not of Go.
func describe(err error) string {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		field := t.Field
		if field == "" {
			field = "params"
		}
		return fmt.Sprintf("%s: %s is not allowed here", field, t.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
