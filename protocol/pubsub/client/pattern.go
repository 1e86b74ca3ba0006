package client

import "strings"

// isPattern reports whether the server takes name for a pattern: a token is "*", or the last one is
// ">".
func isPattern(name string) bool {
	for {
		token, rest, more := strings.Cut(name, ".")
		switch {
		case token == "*", token == ">" && !more:
			return true
		case !more:
			return false
		}
		name = rest
	}
}

// matches reports whether a pattern matches a topic.
func matches(pattern, topic string) bool {
	for {
		p, pRest, pMore := strings.Cut(pattern, ".")
		t, tRest, tMore := strings.Cut(topic, ".")
		switch {
		case p == ">" && !pMore:
			return true
		case p != "*" && p != t, pMore != tMore:
			return false
		case !pMore:
			return true
		}
		pattern, topic = pRest, tRest
	}
}
