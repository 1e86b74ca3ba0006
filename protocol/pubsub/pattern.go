package pubsub

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"goranch/protocol"
)

// Tokens of patterns, with the meaning they have in NATS: dots separate the tokens of a name;
// "*" matches one token, and ">" as the last token matches one or more.
const (
	oneToken  = "*"
	allTokens = ">"
)

func isPattern(name string) bool {
	if !strings.ContainsAny(name, oneToken+allTokens) {
		return false
	}
	tokens := strings.Split(name, ".")
	for i, t := range tokens {
		if t == oneToken || t == allTokens && i == len(tokens)-1 {
			return true
		}
	}
	return false
}

// checkTopic returns an error if name is not a valid topic or pattern.
func checkTopic(name string, maxLen int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty topic name", protocol.ErrBadInput)
	case len(name) > maxLen:
		return fmt.Errorf("%w: topic name of %d bytes, the limit is %d", protocol.ErrBadInput, len(name), maxLen)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: topic name is not valid UTF-8", protocol.ErrBadInput)
	}
	return nil
}

// patternTree finds the patterns that match a topic.
type patternTree struct {
	count   atomic.Int64 // 0 lets match return without a lock
	mu      sync.RWMutex
	root    patternNode
	created atomic.Uint64 // patterns ever added; changed under mu
}

// patternNode is a position between two tokens.
type patternNode struct {
	end     *topic // the pattern that ends here
	endRest *topic // the pattern whose last token, here, is ">"
	next    map[string]*patternNode
}

func (pt *patternTree) add(t *topic) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	t.patternSeq = pt.created.Add(1)
	n := &pt.root
	tokens := strings.Split(t.name, ".")
	for i, token := range tokens {
		if token == allTokens && i == len(tokens)-1 {
			n.endRest = t
			pt.count.Add(1)
			return
		}
		if n.next == nil {
			n.next = make(map[string]*patternNode)
		}
		if n.next[token] == nil {
			n.next[token] = new(patternNode)
		}
		n = n.next[token]
	}
	n.end = t
	pt.count.Add(1)
}

func (pt *patternTree) remove(t *topic) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	pt.root.remove(t, strings.Split(t.name, "."))
	pt.count.Add(-1)
}

// remove removes t, and reports whether n is empty afterwards.
func (n *patternNode) remove(t *topic, tokens []string) bool {
	switch {
	case len(tokens) == 0:
		n.end = nil
	case n.endRest == t:
		n.endRest = nil
	default:
		if child := n.next[tokens[0]]; child != nil && child.remove(t, tokens[1:]) {
			delete(n.next, tokens[0])
		}
	}
	return n.end == nil && n.endRest == nil && len(n.next) == 0
}

// lockMatching returns the patterns that match a topic, locked.
func (pt *patternTree) lockMatching(name string) []*topic {
	for {
		created := pt.created.Load()
		matching := pt.match(name)
		for _, t := range matching {
			t.mu.Lock()
		}
		// Before the locks were held, a session may have moved from one of these patterns to a new
		// one, which would then be missing.
		if len(matching) == 0 || pt.created.Load() == created {
			return matching
		}
		for _, t := range matching {
			t.mu.Unlock()
		}
	}
}

// match returns the patterns that match a topic, in the order of their creation.
func (pt *patternTree) match(name string) []*topic {
	if pt.count.Load() == 0 {
		return nil
	}
	pt.mu.RLock()
	defer pt.mu.RUnlock()
	all := pt.root.match(nil, name)
	slices.SortFunc(all, func(a, b *topic) int { return cmp.Compare(a.patternSeq, b.patternSeq) })
	return all
}

// match appends the patterns below n that match name.
func (n *patternNode) match(all []*topic, name string) []*topic {
	if n.endRest != nil {
		all = append(all, n.endRest)
	}
	token, rest, more := strings.Cut(name, ".")
	for i, key := range [...]string{token, oneToken} {
		child := n.next[key]
		switch {
		case child == nil, i > 0 && token == oneToken: // already visited
		case more:
			all = child.match(all, rest)
		case child.end != nil:
			all = append(all, child.end)
		}
	}
	return all
}
