package faults

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Source makes random decisions, which its seed determines. Its methods may be called from any
// goroutine; concurrent calls take numbers in the order in which they run, so what must not depend
// on the scheduler takes them from a source of its own: see [Source.Derive].
type Source struct {
	seed uint64
	mu   sync.Mutex
	r    *rand.Rand
}

// NewSource returns the source of a seed.
func NewSource(seed uint64) *Source {
	return &Source{seed: seed, r: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

// Derive returns another source, which the seed of s and n determine, whatever was drawn from s.
func (s *Source) Derive(n uint64) *Source {
	x := s.seed ^ (n+1)*0xd6e8feb86659fd93
	x ^= x >> 32
	return NewSource(x * 0x9e3779b97f4a7c15)
}

// Chance returns true with probability p; 0 or less is never, 1 or more always.
func (s *Source) Chance(p float64) bool {
	if p <= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Float64() < p
}

// IntN returns a number from 0 to n-1. n must be positive.
func (s *Source) IntN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.IntN(n)
}

// Between returns a duration from lo to hi, which must not be less than lo.
func (s *Source) Between(lo, hi time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return lo + time.Duration(s.r.Int64N(int64(hi-lo)+1))
}

// Pick returns one of its arguments.
func Pick[T any](s *Source, of ...T) T { return of[s.IntN(len(of))] }
