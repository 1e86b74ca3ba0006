package admin

import (
	"strings"

	"goranch/internal/termtext"
	"goranch/transport"
)

// labelPrefix precedes the key of a label in a filter.
const labelPrefix = "label."

// labels are the labels of a connection as a value of a table.
type labels []transport.Label

// get returns the value of a label; "" if there is none.
func (l labels) get(key string) string {
	for _, one := range l {
		if one.Key == key {
			return one.Value
		}
	}
	return ""
}

// String returns the labels as "key=value key=value".
func (l labels) String() string {
	words := make([]string, len(l))
	for i, one := range l {
		words[i] = one.String()
	}
	return strings.Join(words, " ")
}

// MarshalJSON returns an object.
func (l labels) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, one := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(termtext.AppendJSON(b, one.Key), ':')
		b = termtext.AppendJSON(b, one.Value)
	}
	return append(b, '}'), nil
}

// label compares a label. A connection without it differs from every value.
func label(key string) compiler {
	return text(func(s *subject) string { return labels(s.info.Labels).get(key) })
}

// isLabelKey reports whether a label can have that key.
func isLabelKey(key string) bool {
	return key != "" && strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
}
