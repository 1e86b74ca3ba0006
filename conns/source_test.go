package conns

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestSourceOf(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{tcp("192.0.2.1:80"), "192.0.2.1"},
		{tcp("[::ffff:192.0.2.1]:80"), "192.0.2.1"},
		{tcp("[2001:db8:1:2:3:4:5:6]:80"), "2001:db8:1:2::"},
		{tcp("[fe80::1%eth0]:80"), "fe80::"},
		{&net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, "192.0.2.7"},
		{&net.UnixAddr{Name: "/run/x", Net: "unix"}, ""},
		{nil, ""},
	} {
		got := sourceOf(c.addr)
		if got.IsValid() != (c.want != "") || got.IsValid() && got.String() != c.want {
			t.Errorf("%v counts as %v", c.addr, got)
		}
	}
}

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

func nth(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }

// A flood of addresses leaves the table bounded, and live ones in it.
func TestSourcesUnderAFlood(t *testing.T) {
	var s sources
	lim := &Limits{PerAddress: 1, AddressRate: Rate{PerSecond: 0.01, Burst: 2}}
	now := int64(1000 * time.Second)
	const live, flood = 1000, 100_000
	for i := range live {
		if _, err := s.enter(nth(i), lim, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range flood {
		src, err := s.enter(nth(live+i), lim, now)
		if err != nil {
			t.Fatal(err)
		}
		s.leave(src, now)
	}
	if n := s.len(); n > maxQuiet+live+16 {
		t.Errorf("%d addresses are remembered", n)
	}
	for i := range live {
		if _, err := s.enter(nth(i), lim, now); !errors.Is(err, ErrPerAddress) {
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
	var s sources
	lim := &Limits{AddressRate: Rate{PerSecond: 1, Burst: 1}}
	now := int64(1000 * time.Second)
	src, err := s.enter(nth(1), lim, now)
	if err != nil {
		t.Fatal(err)
	}
	s.leave(src, now)
	if _, err := s.enter(nth(1), lim, now); !errors.Is(err, ErrAddressRate) {
		t.Errorf("at once again: %v", err)
	}
	now += int64(time.Second)
	if src, err = s.enter(nth(1), lim, now); err != nil {
		t.Errorf("a second later: %v", err)
	}
	s.leave(src, now+int64(time.Second))
	if n := s.len(); n != 0 {
		t.Errorf("%d addresses are remembered", n)
	}
}

// BenchmarkSource is what an address costs: enter and leave, with many others live.
func BenchmarkSource(b *testing.B) {
	var s sources
	lim := &Limits{PerAddress: 1 << 30, AddressRate: Rate{PerSecond: 1e9}}
	now := int64(1000 * time.Second)
	for i := range 100_000 {
		if _, err := s.enter(nth(i), lim, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		src, err := s.enter(nth(rand.IntN(100_000)), lim, now)
		if err != nil {
			b.Fatal(err)
		}
		s.leave(src, now)
	}
}
