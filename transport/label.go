package transport

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the labels of a connection; keys and values in bytes.
const (
	maxLabels     = 8
	maxLabelKey   = 32
	maxLabelValue = 128
)

// Label is a short text about a connection that its protocol has set for operators, such as the
// name of the user.
type Label struct{ Key, Value string }

// String returns "key=value". A value that is empty, or contains anything but letters, digits,
// punctuation and symbols, or one of = " \, is quoted as in Go, so that the result is safe for
// terminals and logs.
func (l Label) String() string {
	if l.Value == "" || !utf8.ValidString(l.Value) || strings.ContainsFunc(l.Value, needsQuotes) {
		return l.Key + "=" + strconv.Quote(l.Value)
	}
	return l.Key + "=" + l.Value
}

func needsQuotes(r rune) bool {
	return r == '=' || r == '"' || r == '\\' || r == ' ' || !unicode.IsPrint(r)
}

// SetLabel sets a label, or replaces its value. An empty value removes the label. A connection has
// at most 8 labels. A key has 1 to 32 bytes: lower-case letters, digits, "_", "." and "-". A value
// has at most 128 bytes of UTF-8. The error says which of these rules was broken; then nothing was
// changed.
//
// Labels are shown to operators and written to logs, so they must not be secret. They remain after
// the connection has ended. SetLabel may be called from any goroutine.
func (c *Conn) SetLabel(key, value string) error {
	if err := checkLabel(key, value); err != nil {
		return err
	}
	for {
		old := c.labels.Load()
		next, err := withLabel(old, key, value)
		if err != nil || c.labels.CompareAndSwap(old, next) {
			return err
		}
	}
}

// Labels returns the labels, sorted by key; nil if there are none. The result must not be modified.
// Labels may be called from any goroutine.
func (c *Conn) Labels() []Label {
	if l := c.labels.Load(); l != nil {
		return *l
	}
	return nil
}

// withLabel returns a copy of the labels with one of them set. nil stands for no labels.
func withLabel(old *[]Label, key, value string) (*[]Label, error) {
	var all []Label
	if old != nil {
		all = *old
	}
	at, exists := slices.BinarySearchFunc(all, key, func(l Label, key string) int { return strings.Compare(l.Key, key) })
	next := make([]Label, 0, len(all)+1)
	next = append(next, all[:at]...)
	if value != "" {
		next = append(next, Label{key, value})
	}
	if exists {
		at++
	}
	next = append(next, all[at:]...)
	switch {
	case len(next) > maxLabels:
		return nil, fmt.Errorf("label %s: the connection has %d labels already, which is the limit", key, maxLabels)
	case len(next) == 0:
		return nil, nil
	}
	next = slices.Clip(next)
	return &next, nil
}

func checkLabel(key, value string) error {
	if !validLabelKey(key) {
		return fmt.Errorf("label key %.40q: allowed are 1 to %d lower-case letters, digits, \"_\", \".\" and \"-\"", key, maxLabelKey)
	}
	if len(value) > maxLabelValue {
		return fmt.Errorf("label %s: a value of %d bytes: allowed are %d", key, len(value), maxLabelValue)
	}
	if !utf8.ValidString(value) {
		return fmt.Errorf("label %s: value %.40q: allowed is UTF-8", key, value)
	}
	return nil
}

func validLabelKey(key string) bool {
	if key == "" || len(key) > maxLabelKey {
		return false
	}
	return strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
}
