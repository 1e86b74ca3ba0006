package conns

import (
	"errors"
	"math/rand/v2"
	"net/netip"
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
			t.Fatalf("token %d of the burst: got a wait of %v, want 0", i+1, wait)
		}
	}
	if wait := take(); wait != 100*time.Millisecond {
		t.Errorf("after the burst: got a wait of %v, want 100ms", wait)
	}
	now += int64(100 * time.Millisecond)
	if wait := take(); wait != 0 {
		t.Errorf("after that wait: got a wait of %v, want 0", wait)
	}
	if wait := take(); wait != 100*time.Millisecond {
		t.Errorf("the next token: got a wait of %v, want 100ms", wait)
	}
	now += int64(time.Hour)
	for i := range 4 {
		if wait := take(); (wait == 0) != (i < 3) {
			t.Errorf("token %d after an hour: got a wait of %v, want 0 only for the burst of 3", i+1, wait)
		}
	}
	for r, want := range map[Rate]int{{PerSecond: 0.5}: 1, {PerSecond: 2.5}: 3, {PerSecond: 2.5, Burst: 7}: 7} {
		if got := r.burst(); got != want {
			t.Errorf("%+v: got a burst of %d, want %d", r, got, want)
		}
	}
}

// addrOf returns the key of one of 2^24 addresses.
func addrOf(i int) addressKey {
	return keyOf(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), nil)
}

// Under a flood of addresses the table stays bounded and keeps those with live connections.
func TestAddressTableIsBounded(t *testing.T) {
	var table addresses
	lim := addressLimits{1, Rate{PerSecond: 0.01, Burst: 2}}
	now := int64(1000 * time.Second)
	const live, flood = 1000, 100_000
	for i := range live {
		if _, err := table.add(addrOf(i), lim, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range flood {
		a, err := table.add(addrOf(live+i), lim, now)
		if err != nil {
			t.Fatal(err)
		}
		table.remove(a.key, now)
	}
	if n := table.len(); n > maxInactive+live+16 {
		t.Errorf("got %d addresses in the table, want at most %d", n, maxInactive+live+16)
	}
	for i := range live {
		if _, err := table.add(addrOf(i), lim, now); !errors.Is(err, RefusedAddress) {
			t.Fatalf("address %d with a live connection: got %v, want %v", i, err, RefusedAddress)
		}
	}
	table.prune(now + int64(time.Hour))
	if n := table.len(); n != live {
		t.Errorf("got %d addresses after all buckets are full again, want %d", n, live)
	}
}

// An address without connections stays in the table until its bucket is full again.
func TestAddressStaysForItsRate(t *testing.T) {
	var table addresses
	lim := addressLimits{rate: Rate{PerSecond: 1, Burst: 1}}
	now := int64(1000 * time.Second)
	a, err := table.add(addrOf(1), lim, now)
	if err != nil {
		t.Fatal(err)
	}
	table.remove(a.key, now)
	if _, err := table.add(addrOf(1), lim, now); !errors.Is(err, RefusedRate) {
		t.Errorf("at once again: got %v, want %v", err, RefusedRate)
	}
	now += int64(time.Second)
	if a, err = table.add(addrOf(1), lim, now); err != nil {
		t.Errorf("a second later: got %v, want nil", err)
	}
	table.remove(a.key, now+int64(time.Second))
	if n := table.len(); n != 0 {
		t.Errorf("got %d addresses in the table, want 0", n)
	}
}

// BenchmarkAddress adds and removes a connection of an address, with many others in the table.
func BenchmarkAddress(b *testing.B) {
	var table addresses
	lim := addressLimits{1 << 30, Rate{PerSecond: 1e9}}
	now := int64(1000 * time.Second)
	for i := range 100_000 {
		if _, err := table.add(addrOf(i), lim, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		a, err := table.add(addrOf(rand.IntN(100_000)), lim, now)
		if err != nil {
			b.Fatal(err)
		}
		table.remove(a.key, now)
	}
}
