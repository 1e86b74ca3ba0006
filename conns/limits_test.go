package conns

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"goranch/internal/bucket"
)

// withClockSet returns t as if the system's time had been set forward by d since: its wall clock
// reading is d earlier, its monotonic clock reading is unchanged.
func withClockSet(t time.Time, d time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t)) // the seconds are above 30 bits of nanoseconds
	*wall -= uint64(d/time.Second) << 30
	return t
}

// A change of the system's time does not move the supervisor's clock, so it ends no connection.
func TestSystemTimeJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		s := New(Config{Gate: NewGate(1)})
		s.created = withClockSet(s.created, jump)
		if since := time.Since(s.created.Round(0)); since.Round(time.Hour) != jump {
			t.Fatalf("got a wall clock difference of %v, want %v: the test does not set the time", since, jump)
		}
		if now := time.Duration(s.now()); now < 0 || now > 30*time.Minute {
			t.Errorf("after a jump by %v: got %v on the supervisor's clock, want about 0", jump, now)
		}
	}
}

// Extreme rates neither overflow nor admit without a limit.
func TestRateExtremes(t *testing.T) {
	for _, c := range []struct {
		rate  Rate
		burst int           // admitted at once, up to 1,000
		wait  time.Duration // of the next, at least
	}{
		{Rate{PerSecond: 1e9}, 1000, 0},
		{Rate{PerSecond: 1e9, Burst: 1}, 1, 1},
		{Rate{PerSecond: 1e18, Burst: math.MaxInt}, 1000, 0},
		{Rate{PerSecond: 1e-9}, 1, 1e18},
		{Rate{PerSecond: 1e-10}, 1, bucket.LongestFill},
		{Rate{PerSecond: math.SmallestNonzeroFloat64}, 1, bucket.LongestFill},
		{Rate{PerSecond: 1, Burst: math.MaxInt}, 1000, 0},
		{Rate{PerSecond: 1e-3, Burst: 100}, 100, 1000 * time.Second},
	} {
		var full int64
		now := int64(24 * time.Hour)
		n := 0
		for n < 1000 && c.rate.take(&full, now) == 0 {
			n++
		}
		if n != c.burst {
			t.Errorf("%+v: got %d at once, want %d", c.rate, n, c.burst)
		}
		if n < 1000 {
			if wait := c.rate.take(&full, now); wait < c.wait {
				t.Errorf("%+v: got a wait of %v for the next, want at least %v", c.rate, wait, c.wait)
			}
		}
	}
}

// A change of the AcceptRate applies at once, also to acceptors that wait under the old rate.
func TestAcceptRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Gate: NewGate(1)})
		set := func(r Rate) { s.Set(Settings{Limits: Limits{AcceptRate: r}}) }
		set(Rate{PerSecond: 1e-6})
		done := make(chan error, 3)
		for range 3 {
			go func() { done <- s.WaitAccept(t.Context()) }()
		}
		synctest.Wait()
		if len(done) != 1 {
			t.Fatalf("got %d at once, want 1", len(done))
		}
		begin := time.Now()
		set(Rate{PerSecond: 10, Burst: 1})
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("got a wait of %v for two, want at most 1s", took)
		}
		set(Rate{PerSecond: 1e-6})
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { done <- s.WaitAccept(ctx) }()
		synctest.Wait()
		stop := errors.New("stop")
		cancel(stop)
		if err := <-done; err != stop {
			t.Errorf("got %v, want %v", err, stop)
		}
		go func() { done <- s.WaitAccept(t.Context()) }()
		synctest.Wait()
		set(Rate{})
		if err := <-done; err != nil {
			t.Errorf("got %v after the rate was removed, want nil", err)
		}
	})
}

// Lifetimes are spread evenly over the jitter, also those of consecutive ids.
func TestJitterIsEven(t *testing.T) {
	const n, bins = 100_000, 20
	l := Limits{Lifetime: time.Hour, LifetimeJitter: 0.5}
	var in [bins]int
	for id := range uint64(n) {
		d := l.lifetime(id)
		if d <= time.Hour/2 && d != time.Hour/2 || d > time.Hour {
			t.Fatalf("connection %d: got a lifetime of %v, want 30m to 1h", id, d)
		}
		in[min(int(float64(d-time.Hour/2)/float64(time.Hour/2)*bins), bins-1)]++
	}
	for i, k := range in {
		if k < n/bins*9/10 || k > n/bins*11/10 {
			t.Errorf("got %d of %d lifetimes in bin %d of %d, want about %d", k, n, i, bins, n/bins)
		}
	}
}
