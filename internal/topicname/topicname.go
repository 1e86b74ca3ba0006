// Package topicname tells patterns from the names of topics, and matches them. Both have the
// meaning that they have in NATS: dots separate the tokens of a name; "*" matches one token, and
// ">" as the last token matches one or more.
package topicname

import "strings"

// The tokens that match others.
const (
	One  = "*" // one token
	Rest = ">" // as the last one: one or more tokens
)

// IsPattern reports whether name is a pattern.
func IsPattern(name string) bool {
	if !strings.ContainsAny(name, One+Rest) {
		return false
	}
	for {
		token, rest, more := strings.Cut(name, ".")
		if token == One || token == Rest && !more {
			return true
		}
		if !more {
			return false
		}
		name = rest
	}
}

// Match reports whether pattern matches name. A name that is no pattern matches itself only.
func Match(pattern, name string) bool {
	for {
		p, restOfPattern, morePattern := strings.Cut(pattern, ".")
		if p == Rest && !morePattern {
			return true
		}
		n, restOfName, moreName := strings.Cut(name, ".")
		if p != One && p != n || morePattern != moreName {
			return false
		}
		if !morePattern {
			return true
		}
		pattern, name = restOfPattern, restOfName
	}
}
