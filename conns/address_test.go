package conns

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	r := Rate{PerSecond: 10, Burst: 3}
	var full int64
	now := int64(1000 * time.Second)
	take := func() time.Duration { return r.take(&full, now) }
	for i := range 3 {
		if wait := take(); wait != 0 {
			t.Fatalf("%d of the burst waits %v", i+1, wait)
		}
	}
	if wait := take(); wait != 100*time.Millisecond {
		t.Errorf("the next waits %v", wait)
	}
	now += int64(100 * time.Millisecond)
	if wait := take(); wait != 0 {
		t.Errorf("it waits %v when it has waited", wait)
	}
	if wait := take(); wait != 100*time.Millisecond {
		t.Errorf("and one more %v", wait)
	}
	now += int64(time.Hour)
	for i := range 4 {
		if wait := take(); (wait == 0) != (i < 3) {
			t.Errorf("%d after an hour waits %v", i+1, wait)
		}
	}
	for r, want := range map[Rate]string{{}: "unlimited", {PerSecond: 0.5}: "0.5/s, burst 1", {PerSecond: 2.5}: "2.5/s, burst 3"} {
		if got := r.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func nth(i int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))}
}

// A flood of addresses leaves the table bounded, and live ones in it.
func TestSourcesUnderAFlood(t *testing.T) {
	var s addresses
	lim := &Limits{PerAddress: 1, AddressRate: Rate{PerSecond: 0.01, Burst: 2}}
	now := int64(1000 * time.Second)
	const live, flood = 1000, 100_000
	for i := range live {
		if _, err := s.add(nth(i), lim, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range flood {
		src, err := s.add(nth(live+i), lim, now)
		if err != nil {
			t.Fatal(err)
		}
		s.remove(src, now)
	}
	if n := s.len(); n > maxQuiet+live+16 {
		t.Errorf("%d addresses are remembered", n)
	}
	for i := range live {
		if _, err := s.add(nth(i), lim, now); !errors.Is(err, RefusedAddress) {
			t.Fatalf("address %d was forgotten while it lived: %v", i, err)
		}
	}
	s.forget(now + int64(time.Hour))
	if n := s.len(); n != live {
		t.Errorf("%d addresses are remembered when all buckets are full again", n)
	}
}

// An address that is remembered for its rate only is held to it, and forgotten afterwards.
func TestSourceIsRemembered(t *testing.T) {
	var s addresses
	lim := &Limits{AddressRate: Rate{PerSecond: 1, Burst: 1}}
	now := int64(1000 * time.Second)
	src, err := s.add(nth(1), lim, now)
	if err != nil {
		t.Fatal(err)
	}
	s.remove(src, now)
	if _, err := s.add(nth(1), lim, now); !errors.Is(err, RefusedRate) {
		t.Errorf("at once again: %v", err)
	}
	now += int64(time.Second)
	if src, err = s.add(nth(1), lim, now); err != nil {
		t.Errorf("a second later: %v", err)
	}
	s.remove(src, now+int64(time.Second))
	if n := s.len(); n != 0 {
		t.Errorf("%d addresses are remembered", n)
	}
}

// BenchmarkSource is what an address costs: enter and leave, with many others live.
func BenchmarkSource(b *testing.B) {
	var s addresses
	lim := &Limits{PerAddress: 1 << 30, AddressRate: Rate{PerSecond: 1e9}}
	now := int64(1000 * time.Second)
	for i := range 100_000 {
		if _, err := s.add(nth(i), lim, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		src, err := s.add(nth(rand.IntN(100_000)), lim, now)
		if err != nil {
			b.Fatal(err)
		}
		s.remove(src, now)
	}
}
