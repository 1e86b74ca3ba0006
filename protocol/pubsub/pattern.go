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

// In a pattern a "*" stands for one token of a name, and a ">" at the end for one or more. Tokens are
// divided by dots, as in NATS.
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

// checkTopic reports a name that cannot be used.
func checkTopic(name string, most int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the topic is empty", protocol.ErrBadInput)
	case len(name) > most:
		return fmt.Errorf("%w: the topic's name has %d bytes: allowed are %d", protocol.ErrBadInput, len(name), most)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: the topic's name is not UTF-8", protocol.ErrBadInput)
	}
	return nil
}

// patterns finds the topics that are patterns and fit a name.
type patterns struct {
	count atomic.Int64 // 0: nobody has to look
	mu    sync.RWMutex
	root  node
	made  atomic.Uint64 // ever; changed under mu
}

// node is the tokens that may follow.
type node struct {
	here *topic // the pattern that ends here
	rest *topic // the pattern that ends with ">" here
	next map[string]*node
}

func (ps *patterns) add(t *topic) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	t.rank = ps.made.Add(1)
	n := &ps.root
	tokens := strings.Split(t.name, ".")
	for i, token := range tokens {
		if token == allTokens && i == len(tokens)-1 {
			n.rest = t
			ps.count.Add(1)
			return
		}
		if n.next == nil {
			n.next = make(map[string]*node)
		}
		if n.next[token] == nil {
			n.next[token] = new(node)
		}
		n = n.next[token]
	}
	n.here = t
	ps.count.Add(1)
}

func (ps *patterns) remove(t *topic) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.root.remove(t, strings.Split(t.name, "."))
	ps.count.Add(-1)
}

// remove reports whether nothing is left of n.
func (n *node) remove(t *topic, tokens []string) bool {
	switch {
	case len(tokens) == 0:
		n.here = nil
	case n.rest == t:
		n.rest = nil
	default:
		if child := n.next[tokens[0]]; child != nil && child.remove(t, tokens[1:]) {
			delete(n.next, tokens[0])
		}
	}
	return n.here == nil && n.rest == nil && len(n.next) == 0
}

// lock returns the patterns that fit a name, with their locks held.
func (ps *patterns) lock(name string) []*topic {
	for {
		made := ps.made.Load()
		fit := ps.match(name)
		for _, t := range fit {
			t.mu.Lock()
		}
		if len(fit) == 0 || ps.made.Load() == made { // else somebody may have gone from one of them to a new one
			return fit
		}
		for _, t := range fit {
			t.mu.Unlock()
		}
	}
}

// match returns the patterns that fit a name, the oldest first.
func (ps *patterns) match(name string) []*topic {
	if ps.count.Load() == 0 {
		return nil
	}
	ps.mu.RLock()
	defer ps.mu.RUnlock()
	all := ps.root.match(nil, name)
	slices.SortFunc(all, func(a, b *topic) int { return cmp.Compare(a.rank, b.rank) })
	return all
}

func (n *node) match(all []*topic, name string) []*topic {
	if n.rest != nil {
		all = append(all, n.rest)
	}
	token, rest, more := strings.Cut(name, ".")
	for i, key := range [...]string{token, oneToken} {
		child := n.next[key]
		switch {
		case child == nil, i > 0 && token == oneToken:
		case more:
			all = child.match(all, rest)
		case child.here != nil:
			all = append(all, child.here)
		}
	}
	return all
}
