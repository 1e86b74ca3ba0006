package logging

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Sampler is a slog.Handler that passes at most a number of records with the same level, message
// and values of some attributes per period; records below a level are all passed. The first record
// that it passes in a later period says by the attribute "suppressed" how many it did not; if none
// follows, a record of its own says so.
type Sampler struct {
	next slog.Handler
	*sampling
}

// sampling is the state that a Sampler shares with those that WithAttrs and WithGroup return.
type sampling struct {
	from   slog.Level
	limit  int
	period time.Duration
	keys   []string

	mu    sync.Mutex
	seen  map[sampleKey]*sample
	timer *time.Timer // runs while seen is not empty
}

type sampleKey struct {
	level   slog.Level
	message string
	values  string
}

type sample struct {
	next       slog.Handler // of the last record
	passed     int
	suppressed int
	until      time.Time
}

// maxSamples bounds the table. Records that do not fit are passed.
const maxSamples = 1000

// NewSampler returns a handler that passes all records below the level from, and of others limit
// records per period with the same level, message and values of the attributes named by keys.
func NewSampler(next slog.Handler, from slog.Level, limit int, period time.Duration, keys ...string) *Sampler {
	return &Sampler{next, &sampling{from: from, limit: limit, period: period, keys: keys, seen: map[sampleKey]*sample{}}}
}

// Enabled implements slog.Handler.
func (s *Sampler) Enabled(ctx context.Context, l slog.Level) bool { return s.next.Enabled(ctx, l) }

// WithAttrs implements slog.Handler.
func (s *Sampler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Sampler{s.next.WithAttrs(attrs), s.sampling}
}

// WithGroup implements slog.Handler.
func (s *Sampler) WithGroup(name string) slog.Handler {
	return &Sampler{s.next.WithGroup(name), s.sampling}
}

// Handle implements slog.Handler.
func (s *Sampler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < s.from {
		return s.next.Handle(ctx, r)
	}
	suppressed, pass := s.admit(s.next, s.key(r), time.Now())
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", suppressed))
	}
	return s.next.Handle(ctx, r)
}

func (s *sampling) key(r slog.Record) sampleKey {
	k := sampleKey{level: r.Level, message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		for _, name := range s.keys {
			if a.Key == name {
				k.values += a.Key + "=" + a.Value.String() + " "
			}
		}
		return true
	})
	return k
}

// admit counts a record, and returns whether to pass it, with how many before it were not.
func (s *sampling) admit(next slog.Handler, k sampleKey, now time.Time) (suppressed int, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.seen[k]
	if e == nil {
		if len(s.seen) >= maxSamples {
			return 0, true
		}
		e = &sample{until: now.Add(s.period)}
		s.seen[k] = e
		if s.timer == nil {
			s.timer = time.AfterFunc(s.period, s.sweep)
		}
	}
	if !now.Before(e.until) {
		suppressed = e.suppressed
		e.passed, e.suppressed, e.until = 0, 0, now.Add(s.period)
	}
	if e.passed >= s.limit {
		e.suppressed++
		e.next = next
		return 0, false
	}
	e.passed++
	return suppressed, true
}

// sweep removes samples whose period has passed, and reports what they have suppressed.
func (s *sampling) sweep() {
	now := time.Now()
	type report struct {
		key sampleKey
		*sample
	}
	var reports []report
	s.mu.Lock()
	for k, e := range s.seen {
		if now.Before(e.until) {
			continue
		}
		delete(s.seen, k)
		if e.suppressed > 0 {
			reports = append(reports, report{k, e})
		}
	}
	if s.timer = nil; len(s.seen) > 0 {
		s.timer = time.AfterFunc(s.period, s.sweep)
	}
	s.mu.Unlock()
	for _, r := range reports {
		rec := slog.NewRecord(now, r.key.level, r.key.message, 0)
		rec.AddAttrs(slog.Int("suppressed", r.suppressed))
		r.next.Handle(context.Background(), rec)
	}
}
