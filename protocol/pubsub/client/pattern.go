package client

import "strings"

// isPattern tells what the server takes for one: a token is "*", or the last one ">".
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

// fits reports whether a topic fits a pattern.
func fits(pattern, topic string) bool {
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
