package admin

import (
	"fmt"
	"strings"
	"time"

	"goranch/conns"
	"goranch/internal/nearest"
	"goranch/protocol/shell"
)

// Filter chooses connections. It is terms such as "peer=10.0.0.0/8" or "idle>30s", all of which must hold. The zero value
// chooses every connection.
//
// A term is a field, an operator and a value, without blanks between them; a value with blanks stands in double quotes. The
// fields of text take = and !=, those of numbers, sizes and times < <= > >=, and numbers = and != as well:
//
//	id=7                        listener=echo     transport=tls     protocol=echo.Protocol
//	peer=10.0.0.0/8             a network, an address, an address with port, or any other address as it is shown
//	state=serving               or handshaking, ending
//	tls=true  counted=false     is encrypted; is counted by the cap
//	sni=example.com  alpn=h2    what the client of TLS has asked for, and what was agreed upon
//	age<5m  idle>30s            times as Go writes them: 500ms, 30s, 1h30m
//	read>1MiB  written  bytes   sizes: B, KiB, MiB, GiB, TiB, and kB, MB, GB, TB; bytes is both directions
//	reason=killed served=true ended<1m   of closed connections: why, whether the protocol was called, how long ago
//
// Of closed connections age is how long they lived, and state, tls, sni, alpn and idle are not known.
type Filter struct{ terms []term }

// maxTerms is how many terms a filter may have.
const maxTerms = 32

type term struct {
	text  string
	holds func(*subject) bool
}

// subject is a connection that is looked at.
type subject struct {
	listener string
	info     *conns.Info
	now      time.Time
}

func (s *subject) age() time.Duration {
	if !s.info.Closed.IsZero() {
		return s.info.Closed.Sub(s.info.Since)
	}
	return s.now.Sub(s.info.Since)
}

// ParseFilter reads a filter for live connections. Its error names the term that is wrong, and what is allowed.
func ParseFilter(s string) (Filter, error) { return parseFilter(s, live) }

// ParseClosedFilter reads a filter for closed connections.
func ParseClosedFilter(s string) (Filter, error) { return parseFilter(s, closed) }

func parseFilter(s string, of scope) (Filter, error) {
	words, err := splitTerms(s)
	if err != nil {
		return Filter{}, err
	}
	return newFilter(words, of)
}

// newFilter makes a filter of terms that are apart already. The word "and" may stand between them.
func newFilter(words []string, of scope) (Filter, error) {
	var f Filter
	for i, w := range words {
		if strings.EqualFold(w, "and") && i > 0 && i < len(words)-1 {
			continue
		}
		if len(f.terms) == maxTerms {
			return Filter{}, shell.Usage("filter: %d terms: allowed are %d at most", len(words), maxTerms)
		}
		holds, err := parseTerm(w, of)
		if err != nil {
			return Filter{}, err
		}
		f.terms = append(f.terms, term{w, holds})
	}
	return f, nil
}

// splitTerms divides at blanks that are not in double quotes, and drops those.
func splitTerms(s string) (words []string, err error) {
	var word strings.Builder
	quoted, began := false, false
	end := func() {
		if began {
			words = append(words, word.String())
		}
		word.Reset()
		began = false
	}
	for _, r := range s {
		switch {
		case r == '"':
			quoted, began = !quoted, true
		case !quoted && (r == ' ' || r == '\t'):
			end()
		default:
			word.WriteRune(r)
			began = true
		}
	}
	if quoted {
		return nil, shell.Usage("filter %q: a quote without its end", s)
	}
	end()
	return words, nil
}

// String returns the filter as ParseFilter reads it.
func (f Filter) String() string {
	words := make([]string, len(f.terms))
	for i, t := range f.terms {
		words[i] = t.text
		if strings.ContainsAny(t.text, " \t") {
			words[i] = `"` + t.text + `"`
		}
	}
	return strings.Join(words, " ")
}

// Empty reports whether the filter chooses every connection.
func (f Filter) Empty() bool { return len(f.terms) == 0 }

// Match reports whether the filter chooses a live connection of that listener.
func (f Filter) Match(listener string, i *conns.Info) bool {
	return f.Empty() || f.holds(&subject{listener: listener, info: i, now: time.Now()})
}

// MatchClosed reports whether the filter chooses a closed connection of that listener.
func (f Filter) MatchClosed(listener string, i *conns.Info) bool {
	return f.Match(listener, i)
}

func (f Filter) holds(s *subject) bool {
	for i := range f.terms {
		if !f.terms[i].holds(s) {
			return false
		}
	}
	return true
}

// matcher is the filter for a listener's Select: nil if it chooses all, which costs less.
func (f Filter) matcher(listener string) func(*conns.Info) bool {
	if f.Empty() {
		return nil
	}
	now := time.Now()
	return func(i *conns.Info) bool { return f.holds(&subject{listener: listener, info: i, now: now}) }
}

// operators, the longer of two that begin alike first.
var operators = []string{"!=", ">=", "<=", "==", "=", ">", "<"}

func parseTerm(text string, of scope) (func(*subject) bool, error) {
	at := strings.IndexAny(text, "=<>!")
	if at < 0 {
		return nil, termError(text, "it has no operator: terms are like idle>30s or peer=10.0.0.0/8")
	}
	name, rest := text[:at], text[at:]
	f := fieldOf(name, of)
	if f == nil {
		err := termError(text, "there is no field %q of %s connections: allowed are %s", name, of, strings.Join(fieldNames(of), ", "))
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
	if !f.takes(op) {
		return nil, termError(text, "allowed after %s are %s", name, strings.Join(f.ops, " "))
	}
	if value == "" {
		return nil, termError(text, "the value is missing")
	}
	holds, err := f.compile(op, value)
	if err != nil {
		return nil, termError(text, "%v", err)
	}
	return holds, nil
}

func termError(text, format string, args ...any) *shell.Error {
	return shell.Usage("filter term %q: %s", text, fmt.Sprintf(format, args...))
}
