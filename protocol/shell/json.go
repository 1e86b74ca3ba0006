package shell

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"goranch/internal/termtext"
)

// MarshalJSON returns an array with one object per row.
func (t Table) MarshalJSON() ([]byte, error) { return t.appendJSON(nil) }

// MarshalJSON returns an object with the members in the order of the fields.
func (f Fields) MarshalJSON() ([]byte, error) { return f.appendJSON(nil) }

func (t Table) appendJSON(b []byte) (_ []byte, err error) {
	b = append(b, '[')
	for y, row := range t.Rows {
		if y > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		for i, c := range t.Columns {
			var v any
			if i < len(row) {
				v = row[i]
			}
			if b, err = appendMember(b, i == 0, c.Key, v); err != nil {
				return nil, err
			}
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

func (f Fields) appendJSON(b []byte) (_ []byte, err error) {
	b = append(b, '{')
	for i, field := range f {
		if b, err = appendMember(b, i == 0, field.Key, field.Value); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendMember(b []byte, first bool, key string, v any) ([]byte, error) {
	if !first {
		b = append(b, ',')
	}
	b = append(appendString(b, key), ':')
	return appendValue(b, v)
}

// appendValue appends the JSON of a result, or of a value in a Table or Fields.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case string:
		return appendString(b, v), nil
	case *text:
		return appendString(b, string(*v)), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case uint64:
		return strconv.AppendUint(b, v, 10), nil
	case Bytes:
		return strconv.AppendUint(b, uint64(v), 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(b, "null"...), nil
		}
	case Share:
		return appendValue(b, float64(v))
	case time.Duration:
		return strconv.AppendFloat(b, v.Seconds(), 'f', -1, 64), nil
	case time.Time:
		if v.IsZero() {
			return append(b, "null"...), nil
		}
		return appendString(b, v.Format(time.RFC3339Nano)), nil
	case []string:
		b = append(b, '[')
		for i, one := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, one)
		}
		return append(b, ']'), nil
	case Table:
		return v.appendJSON(b)
	case Fields:
		return v.appendJSON(b)
	case json.Marshaler:
	case error:
		return appendString(b, v.Error()), nil
	case fmt.Stringer:
		return appendString(b, v.String()), nil
	}
	j, err := marshal(v)
	return append(b, j...), err
}

// marshal is json.Marshal without escapes for <, > and &.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// appendString appends s as a JSON string, safe for terminals. Invalid UTF-8 is replaced by U+FFFD.
func appendString(b []byte, s string) []byte { return termtext.AppendJSON(b, s) }

// kindOf returns the kind of a value.
func kindOf(v any) string {
	switch v.(type) {
	case Bytes:
		return KindBytes
	case Share:
		return KindShare
	case time.Duration:
		return KindDuration
	case time.Time:
		return KindTime
	}
	return ""
}

// kind returns the kind of column i.
func (t Table) kind(i int) string {
	if t.Columns[i].Kind != "" {
		return t.Columns[i].Kind
	}
	for _, row := range t.Rows {
		if i < len(row) && row[i] != nil {
			return kindOf(row[i])
		}
	}
	return ""
}

// appendShape appends the members that describe a Table or Fields, for clients that display it.
func appendShape(b []byte, v any) []byte {
	switch v := v.(type) {
	case Table:
		b = append(b, `,"columns":[`...)
		for i, c := range v.Columns {
			b = appendTitled(b, i, c.Key, c.Title, v.kind(i))
			if c.Right {
				b = append(b, `,"right":true`...)
			}
			if c.Wide {
				b = append(b, `,"wide":true`...)
			}
			b = append(b, '}')
		}
		b = append(b, ']')
		if v.Total > len(v.Rows) {
			b = strconv.AppendInt(append(b, `,"total":`...), int64(v.Total), 10)
		}
	case Fields:
		b = append(b, `,"fields":[`...)
		for i, f := range v {
			b = append(appendTitled(b, i, f.Key, f.Title, kindOf(f.Value)), '}')
		}
		b = append(b, ']')
	}
	return b
}

func appendTitled(b []byte, i int, key, title, kind string) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	b = appendString(append(b, `{"key":`...), key)
	if title != "" {
		b = appendString(append(b, `,"title":`...), title)
	}
	if kind != "" {
		b = appendString(append(b, `,"kind":`...), kind)
	}
	return b
}

// appendOutput appends output as a member: "out" if it is UTF-8, otherwise "out64" in base64.
func appendOutput(b, p []byte) []byte {
	if utf8.Valid(p) {
		return appendString(append(b, `,"out":`...), string(p))
	}
	b = append(b, `,"out64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, p), '"')
}
