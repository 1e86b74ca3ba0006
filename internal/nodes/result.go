package nodes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"goranch/internal/termtext"
	"goranch/protocol/shell"
	"goranch/transport"
)

// parseResult decodes what shell.MarshalResult has encoded at another node. Values that are not as
// the kind of their column says stay as they are.
func parseResult(b []byte) (any, error) {
	// encoding/json matches the fields of shell.Column, which have no tags, by name.
	var m struct {
		Result  json.RawMessage `json:"result"`
		Columns []shell.Column  `json:"columns"`
		Fields  []shell.Column  `json:"fields"`
		Total   int             `json:"total"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("the result is not valid: %w", err)
	}
	switch {
	case m.Columns != nil:
		return parseTable(m.Result, m.Columns, m.Total)
	case m.Fields != nil:
		row, err := parseRow(m.Result)
		f := make(shell.Fields, len(m.Fields))
		for i, c := range m.Fields {
			f[i] = shell.Field{Key: c.Key, Title: termtext.Line(c.Title), Value: typed(row[c.Key], c.Kind)}
		}
		return f, err
	}
	var v any
	if len(m.Result) == 0 {
		return nil, nil
	}
	if err := decode(m.Result, &v); err != nil {
		return nil, fmt.Errorf("the result is not valid: %w", err)
	}
	if s, ok := v.(string); ok { // which the shell shows as it is
		return termtext.Lines(s), nil
	}
	return typed(v, ""), nil
}

func parseTable(result []byte, columns []shell.Column, total int) (any, error) {
	var rows []map[string]any
	if err := decode(result, &rows); err != nil {
		return nil, fmt.Errorf("the result is not valid: %w", err)
	}
	if len(rows)*len(columns) > len(result) { // each value takes more than a byte
		return nil, fmt.Errorf("the result is not valid: %d rows of %d columns in %d bytes", len(rows), len(columns), len(result))
	}
	t := shell.Table{Columns: columns, Rows: make([][]any, len(rows)), Total: max(total, 0)}
	for i := range columns {
		columns[i].Title = termtext.Line(columns[i].Title)
	}
	for y, row := range rows {
		for _, c := range columns {
			t.Rows[y] = append(t.Rows[y], typed(row[c.Key], c.Kind))
		}
	}
	return t, nil
}

func parseRow(result []byte) (row map[string]any, err error) {
	if err := decode(result, &row); err != nil {
		return nil, fmt.Errorf("the result is not valid: %w", err)
	}
	return row, nil
}

// decode decodes JSON, and keeps the notation of numbers.
func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

// typed returns a value as a command returns it. The shell escapes texts when it shows them.
func typed(v any, kind string) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil && kind == shell.KindTime {
			return t
		}
		return v
	case json.Number:
		return number(v, kind)
	case []any:
		return list(v)
	case map[string]any:
		return object(v)
	}
	return fmt.Sprint(v)
}

func number(v json.Number, kind string) any {
	f, err := v.Float64()
	i, notInt := v.Int64()
	switch {
	case err != nil:
		return v.String()
	case kind == shell.KindDuration && math.Abs(f) < math.MaxInt64/1e9:
		return time.Duration(math.Round(f * 1e9))
	case kind == shell.KindShare:
		return shell.Share(f)
	case kind == shell.KindBytes && notInt == nil && i >= 0:
		return shell.Bytes(i)
	case notInt == nil:
		return i
	}
	return f
}

// list returns a list of texts, or its JSON if it has other elements.
func list(all []any) any {
	texts := make([]string, len(all))
	for i, v := range all {
		s, ok := v.(string)
		if !ok {
			return text(all)
		}
		texts[i] = s
	}
	return texts
}

// object returns labels, or the JSON of an object with other members.
func object(m map[string]any) any {
	l := labels{}
	for key, v := range m {
		s, ok := v.(string)
		if !ok {
			return text(m)
		}
		l[key] = s
	}
	return l
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // it was decoded
		return fmt.Sprint(v)
	}
	return string(b)
}

// labels are the labels of a connection: an object of texts.
type labels map[string]string

// String returns "key=value key=value".
func (l labels) String() string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(l)) {
		words = append(words, transport.Label{Key: key, Value: l[key]}.String())
	}
	return strings.Join(words, " ")
}

// MarshalJSON returns an object that is safe for terminals.
func (l labels) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, key := range slices.Sorted(maps.Keys(l)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = termtext.AppendJSON(append(termtext.AppendJSON(b, key), ':'), l[key])
	}
	return append(b, '}'), nil
}
