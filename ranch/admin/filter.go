package admin

import (
	"fmt"
	"strings"
	"time"

	"goranch/conns"
	"goranch/internal/nearest"
	"goranch/protocol/shell"
)

// ParseFilter reads a filter of live connections, such as "peer=10.0.0.0/8 idle>30s", and returns a
// function that reports whether a connection of that listener matches. All terms must match; ""
// matches every connection. docs/admin.md describes the fields, operators and values.
//
// The error names the faulty term and what is allowed. The function is safe for concurrent use.
func ParseFilter(s string) (func(listener string, i *conns.Info) bool, error) {
	f, err := parseFilter(s, live)
	if err != nil {
		return nil, err
	}
	return f.matchConn, nil
}

// filter selects connections that match all its terms. The zero value matches every connection.
type filter struct{ terms []term }

// maxTerms is how many terms a filter may have.
const maxTerms = 32

type term struct {
	text  string
	match func(*subject) bool
}

// subject is a connection that is compared with a filter.
type subject struct {
	listener string
	info     *conns.Info
	now      time.Time
}

// age returns the age of a live connection, or how long a closed one lived.
func (s *subject) age() time.Duration {
	if !s.info.Closed.IsZero() {
		return s.info.Closed.Sub(s.info.Since)
	}
	return s.now.Sub(s.info.Since)
}

func parseFilter(s string, of scope) (filter, error) {
	words, err := splitTerms(s)
	if err != nil {
		return filter{}, err
	}
	return newFilter(words, of)
}

// newFilter returns the filter with these terms. The word "and" is allowed between terms.
func newFilter(words []string, of scope) (filter, error) {
	var f filter
	for i, w := range words {
		if strings.EqualFold(w, "and") && i > 0 && i < len(words)-1 {
			continue
		}
		if len(f.terms) == maxTerms {
			return filter{}, shell.Usage("filter with %d terms: allowed are at most %d", len(words), maxTerms)
		}
		match, err := parseTerm(w, of)
		if err != nil {
			return filter{}, err
		}
		f.terms = append(f.terms, term{w, match})
	}
	return f, nil
}

// splitTerms splits s at spaces outside double quotes and removes the quotes.
func splitTerms(s string) (words []string, err error) {
	var word strings.Builder
	quoted, started := false, false
	end := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	for _, r := range s {
		switch {
		case r == '"':
			quoted, started = !quoted, true
		case !quoted && (r == ' ' || r == '\t'):
			end()
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if quoted {
		return nil, shell.Usage("filter %q: missing closing quote", s)
	}
	end()
	return words, nil
}

// String returns the filter in the form that parseFilter reads.
func (f filter) String() string {
	words := make([]string, len(f.terms))
	for i, t := range f.terms {
		words[i] = t.text
		if strings.ContainsAny(t.text, " \t") {
			words[i] = `"` + t.text + `"`
		}
	}
	return strings.Join(words, " ")
}

func (f filter) matchConn(listener string, i *conns.Info) bool {
	return len(f.terms) == 0 || f.match(&subject{listener: listener, info: i, now: time.Now()})
}

func (f filter) match(s *subject) bool {
	for i := range f.terms {
		if !f.terms[i].match(s) {
			return false
		}
	}
	return true
}

// matcher returns the Match of a query of the listener: nil if the filter matches every connection,
// which is cheaper.
func (f filter) matcher(listener string) func(*conns.Info) bool {
	if len(f.terms) == 0 {
		return nil
	}
	s := subject{listener: listener, now: time.Now()} // for all calls, which are made by one goroutine
	return func(i *conns.Info) bool {
		s.info = i
		return f.match(&s)
	}
}

// operators lists an operator before those that are its prefix.
var operators = []string{"!=", ">=", "<=", "==", "=", ">", "<"}

func parseTerm(text string, of scope) (func(*subject) bool, error) {
	at := strings.IndexAny(text, "=<>!")
	if at < 0 {
		return nil, termError(text, "no operator; terms are written like idle>30s or peer=10.0.0.0/8")
	}
	name, rest := text[:at], text[at:]
	f := fieldOf(name, of)
	if f == nil {
		err := termError(text, "no field %q of %s connections: allowed are %s and %sKEY", name, of, strings.Join(fieldNames(of), ", "), labelPrefix)
		err.Suggestion = nearest.Name(name, fieldNames(of))
		return nil, err
	}
	op := ""
	for _, o := range operators {
		if strings.HasPrefix(rest, o) {
			op = o
			break
		}
	}
	value := strings.TrimPrefix(rest, op)
	if op == "==" {
		op = "="
	}
	if !f.allows(op) {
		return nil, termError(text, "operators allowed after %s are %s", name, strings.Join(f.ops, " "))
	}
	if value == "" {
		return nil, termError(text, "missing value")
	}
	match, err := f.compile(op, value)
	if err != nil {
		return nil, termError(text, "%v", err)
	}
	return match, nil
}

func termError(text, format string, args ...any) *shell.Error {
	return shell.Usage("filter term %q: %s", text, fmt.Sprintf(format, args...))
}
