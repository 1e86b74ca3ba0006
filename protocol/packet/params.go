package packet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// decoder decodes params to one type.
type decoder struct {
	optional     bool  // params may be absent
	positional   []int // indices of the struct fields that an array fills; nil: not a struct
	allowUnknown bool  // unknown fields are ignored
}

func newDecoder(t reflect.Type, allowUnknown bool) *decoder {
	d := &decoder{allowUnknown: allowUnknown}
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

var errNoParams = errors.New("params are missing")

// decode decodes params to the value that in points to.
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
		return fmt.Errorf("%d positional params: allowed are %d", len(all), len(d.positional))
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
	if !d.allowUnknown {
		dec.DisallowUnknownFields()
	}
	return dec.Decode(in)
}

// describe returns the text of a decoding error in terms of JSON, without the names of Go types.
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
