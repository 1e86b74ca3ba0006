package pubsub

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"goranch/internal/topicname"
	"goranch/protocol"
)

// Limits of patterns.
const (
	// maxPatternTokens limits the tokens of a pattern.
	maxPatternTokens = 32
	// maxRareShapes limits the shapes of patterns that are neither short nor simple; see shape.
	maxRareShapes = 1024
	// shortPattern is the number of tokens up to which all shapes are allowed.
	shortPattern = 6
)

// checkPattern returns an error if name is a pattern with too many tokens.
func checkPattern(name string) error {
	if n := strings.Count(name, ".") + 1; n > maxPatternTokens && topicname.IsPattern(name) {
		return fmt.Errorf("%w: pattern of %d tokens, the limit is %d", protocol.ErrBadInput, n, maxPatternTokens)
	}
	return nil
}

// patternIndex finds the patterns that match a topic. Patterns are grouped by their shape, and the
// patterns of one shape are found by one look-up. The cost of a search therefore depends on the
// shapes in use, of which a topic of few tokens has few, and neither on the number of patterns nor
// on their length.
type patternIndex struct {
	seed  maphash.Seed
	count atomic.Int64 // 0 lets match return without a lock

	mu      sync.RWMutex
	created uint64
	exact   [maxPatternTokens + 1][]*shape // by the number of tokens
	open    [maxPatternTokens][]*shape     // of patterns that end with ">", by the number of tokens before it
	rare    int                            // shapes that count against maxRareShapes
}

// shape is the set of patterns that have "*" as the same tokens.
type shape struct {
	wildcards uint32
	rare      bool
	patterns  map[uint64]*topic // by the sum of the hashes of the other tokens
}

// patternEntry is a topic's place in the index; nil for topics that are no patterns.
type patternEntry struct {
	seq  uint64 // place in the order of creation, in which patterns are locked
	next *topic // another pattern with the same sum
}

// parsedPattern is a name as the index sees it.
type parsedPattern struct {
	tokens    int // without ">"
	open      bool
	wildcards uint32
	sum       uint64
}

// hash returns the hash of a token. The position is part of it, and the seed prevents clients from
// choosing tokens with equal hashes.
func (pi *patternIndex) hash(token string, position int) uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := maphash.String(pi.seed, token) + uint64(position)*odd
	h ^= h >> 29
	return h * odd
}

func (pi *patternIndex) parse(pattern string) (p parsedPattern) {
	for more := true; more; {
		var token string
		token, pattern, more = strings.Cut(pattern, ".")
		switch {
		case token == topicname.Rest && !more:
			p.open = true
			return p
		case token == topicname.One:
			p.wildcards |= 1 << p.tokens
		default:
			p.sum += pi.hash(token, p.tokens)
		}
		p.tokens++
	}
	return p
}

func (p *parsedPattern) rare() bool {
	return rare(p.tokens, bits.OnesCount32(p.wildcards))
}

func (pi *patternIndex) shapes(p *parsedPattern) *[]*shape {
	if p.open {
		return &pi.open[p.tokens]
	}
	return &pi.exact[p.tokens]
}

// isRare reports whether the shape of a pattern is rare.
func isRare(pattern string) bool {
	tokens, wildcards := 0, 0
	for token := range strings.SplitSeq(pattern, ".") {
		tokens++
		if token == topicname.One {
			wildcards++
		}
	}
	if strings.HasSuffix(pattern, "."+topicname.Rest) {
		tokens--
	}
	return rare(tokens, wildcards)
}

// rare reports whether a shape of so many tokens, without ">", counts against maxRareShapes.
func rare(tokens, wildcards int) bool { return tokens > shortPattern && wildcards > 1 }

const rareShapes = "arrangements of wildcards in patterns of more than 6 tokens"

// add adds t, a pattern of a subscriber with that account. The error wraps errLimit.
func (pi *patternIndex) add(t *topic, a *account) error {
	p := pi.parse(t.name)
	pi.mu.Lock()
	defer pi.mu.Unlock()
	list := pi.shapes(&p)
	i := slices.IndexFunc(*list, func(s *shape) bool { return s.wildcards == p.wildcards })
	if i < 0 {
		if p.rare() {
			if pi.rare == maxRareShapes {
				return limitError(rareShapes, maxRareShapes)
			}
			if err := a.mayAddShape(int64(maxRareShapes - pi.rare)); err != nil {
				return err
			}
			pi.rare++
		}
		i = len(*list)
		*list = append(*list, &shape{wildcards: p.wildcards, rare: p.rare(), patterns: make(map[uint64]*topic)})
	}
	s := (*list)[i]
	pi.created++
	t.pattern = &patternEntry{seq: pi.created, next: s.patterns[p.sum]}
	s.patterns[p.sum] = t
	pi.count.Add(1)
	return nil
}

func (pi *patternIndex) remove(t *topic) {
	p := pi.parse(t.name)
	pi.mu.Lock()
	defer pi.mu.Unlock()
	list := pi.shapes(&p)
	i := slices.IndexFunc(*list, func(s *shape) bool { return s.wildcards == p.wildcards })
	s := (*list)[i]
	if first := s.patterns[p.sum]; first != t {
		for first.pattern.next != t {
			first = first.pattern.next
		}
		first.pattern.next = t.pattern.next
	} else if t.pattern.next != nil {
		s.patterns[p.sum] = t.pattern.next
	} else {
		delete(s.patterns, p.sum)
	}
	if len(s.patterns) == 0 {
		*list = slices.Delete(*list, i, i+1)
		if s.rare {
			pi.rare--
		}
	}
	pi.count.Add(-1)
}

// lockMatching returns the patterns that match a topic, locked, in the order of their creation. No
// pattern is added meanwhile: a session could move to it from one that is not locked yet, and would
// then miss the message.
func (pi *patternIndex) lockMatching(name string) []*topic {
	if pi.count.Load() == 0 {
		return nil
	}
	pi.mu.RLock()
	defer pi.mu.RUnlock()
	matching := pi.match(name)
	for _, t := range matching {
		t.mu.Lock()
	}
	return matching
}

// match returns the patterns that match a topic, in the order of their creation. pi.mu is held.
func (pi *patternIndex) match(name string) (all []*topic) {
	all = pi.search(pi.open[0], 0, nil, name, all) // ">" matches every topic
	var hashes [maxPatternTokens]uint64
	sum, tokens := uint64(0), 0
	rest, more := name, true
	for more && tokens < maxPatternTokens {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		hashes[tokens] = pi.hash(token, tokens)
		sum += hashes[tokens]
		tokens++
		if more && tokens < maxPatternTokens {
			all = pi.search(pi.open[tokens], sum, &hashes, name, all)
		}
	}
	if !more {
		all = pi.search(pi.exact[tokens], sum, &hashes, name, all)
	}
	slices.SortFunc(all, func(a, b *topic) int { return cmp.Compare(a.pattern.seq, b.pattern.seq) })
	return all
}

// search appends the patterns of the shapes that match name. sum is the sum of the hashes of the
// first tokens of name, as many as the shapes have.
func (pi *patternIndex) search(shapes []*shape, sum uint64, hashes *[maxPatternTokens]uint64, name string, all []*topic) []*topic {
	for _, s := range shapes {
		literals := sum
		for w := s.wildcards; w != 0; w &= w - 1 {
			literals -= hashes[bits.TrailingZeros32(w)]
		}
		for t := s.patterns[literals]; t != nil; t = t.pattern.next {
			if topicname.Match(t.name, name) {
				all = append(all, t)
			}
		}
	}
	return all
}
