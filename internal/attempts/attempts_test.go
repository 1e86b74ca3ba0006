package attempts

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1234} }

// nth returns a different address for each n.
func nth(n int) net.Addr {
	ip := make(net.IP, 4)
	binary.BigEndian.PutUint32(ip, 0x0a000000+uint32(n))
	return &net.TCPAddr{IP: ip, Port: 1}
}

// named is an address of another kind.
type named string

func (named) Network() string  { return "other" }
func (a named) String() string { return string(a) }

func TestSource(t *testing.T) {
	for _, c := range []struct {
		addr net.Addr
		want string // "": does not count
	}{
		{tcp("192.0.2.1"), "192.0.2.1"},
		{tcp("::ffff:192.0.2.1"), "192.0.2.1"},
		{tcp("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::"},
		{tcp("2001:db8:1:2::"), "2001:db8:1:2::"},
		{tcp("::1"), "::"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::"},
		{&net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1}, "192.0.2.1"},
		{named("192.0.2.1:80"), "192.0.2.1"},
		{named("[2001:db8::1]:80"), "2001:db8::"},
		{named("mem:client-1"), ""},
		{named(""), ""},
		{&net.UnixAddr{Net: "unix"}, ""},
		{&net.UnixAddr{Net: "unix", Name: "192.0.2.1:80"}, ""},
		{&net.TCPAddr{}, ""},
		{(*net.TCPAddr)(nil), ""},
		{nil, ""},
	} {
		got := ""
		if a := sourceOf(c.addr); a.IsValid() {
			got = a.String()
		}
		if got != c.want {
			t.Errorf("%v counts as %q, want %q", c.addr, got, c.want)
		}
	}
}

func TestBackOff(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, c := range []struct {
		name string
		opts Options
		want []time.Duration // the wait after each failure
	}{
		{"the defaults", Options{}, []time.Duration{0, 0, 0, 0, 0, s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 5 * m, 5 * m}},
		{"none is free", Options{Free: -1, First: 2 * s, Max: 5 * s}, []time.Duration{2 * s, 4 * s, 5 * s, 5 * s}},
		{"the longest is less than the first", Options{Free: 1, First: 3 * s, Max: s}, []time.Duration{0, 3 * s, 3 * s}},
		{"more than a duration holds", Options{Free: -1, First: 1 << 61, Max: 1<<63 - 1}, []time.Duration{1 << 61, 1 << 62, 1<<63 - 1, 1<<63 - 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, a, b := New(c.opts), tcp("192.0.2.1"), tcp("192.0.2.2")
				var got []time.Duration
				for range c.want {
					table.Fail(a)
					wait, ok := table.Allow(a)
					if ok != (wait == 0) {
						t.Errorf("Allow: %v, %v", wait, ok)
					}
					if wait, ok := table.Allow(b); !ok || wait != 0 {
						t.Errorf("another address waits %v", wait)
					}
					got = append(got, wait)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestTheWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a := New(Options{Free: -1, First: 10 * time.Second}), tcp("2001:db8::1")
		table.Fail(a)
		time.Sleep(4 * time.Second)
		if wait, ok := table.Allow(tcp("2001:db8::2")); wait != 6*time.Second || ok {
			t.Errorf("a neighbour in the /64 waits %v, want 6s", wait)
		}
		if _, ok := table.Allow(tcp("2001:db8:0:1::1")); !ok {
			t.Error("another /64 waits")
		}
		time.Sleep(6 * time.Second)
		if wait, ok := table.Allow(a); !ok {
			t.Errorf("still %v after the wait", wait)
		}
		table.Fail(a) // it is not forgotten
		if wait, _ := table.Allow(a); wait != 20*time.Second {
			t.Errorf("waits %v after the second failure, want 20s", wait)
		}
	})
}

func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a, b := New(Options{Free: 1, Max: time.Minute, Forget: 10 * time.Minute}), tcp("192.0.2.1"), tcp("192.0.2.2")
		table.Fail(a)
		time.Sleep(9 * time.Minute)
		table.Fail(b)
		table.Fail(b)
		table.Fail(a) // its time begins anew
		time.Sleep(10*time.Minute - 1)
		if table.Allow(a); table.Len() != 2 {
			t.Errorf("%d known, want 2", table.Len())
		}
		time.Sleep(time.Nanosecond)
		if table.Allow(nth(1)); table.Len() != 0 {
			t.Errorf("%d known after the time, want none", table.Len())
		}
		table.Fail(a)
		if _, ok := table.Allow(a); !ok {
			t.Error("its first failure is not free again")
		}
		table.Succeed(a)
		if table.Len() != 0 {
			t.Error("a success does not forget")
		}
	})
}

// However short Forget is, a wait is not forgotten.
func TestForgetsNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a := New(Options{Free: -1, First: time.Minute, Forget: time.Second}), tcp("192.0.2.1")
		table.Fail(a)
		time.Sleep(time.Minute - 1)
		if wait, _ := table.Allow(a); wait != 1 {
			t.Errorf("waits %v, want 1ns", wait)
		}
	})
}

func TestUncountedAddresses(t *testing.T) {
	table := New(Options{Free: -1})
	table.Fail(tcp("192.0.2.1"))
	for _, a := range []net.Addr{&net.UnixAddr{Net: "unix", Name: "@"}, named("mem:client-7"), nil} {
		for range 100 {
			table.Fail(a)
		}
		if _, ok := table.Allow(a); !ok || table.Len() != 1 {
			t.Errorf("%v: allowed %v, %d known", a, ok, table.Len())
		}
		table.Succeed(a)
	}
}

// A flood costs what the table has room for, and pushes nobody out who waits.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a := New(Options{Free: 2, First: time.Hour, Max: time.Hour, Size: 100}), tcp("192.0.2.1")
		for range 3 {
			table.Fail(a)
		}
		for i := range 100_000 { // two of each, all free
			table.Fail(nth(i))
			table.Fail(nth(i))
			if n := table.Len(); n > 100 {
				t.Fatalf("%d known, want 100 at most", n)
			}
		}
		if wait, ok := table.Allow(a); ok || wait != time.Hour {
			t.Fatalf("the flood made room for the guesser: %v, %v", wait, ok)
		}
		if n := table.Len(); n != 51 {
			t.Errorf("%d known, want 50 of the flood and one that waits", n)
		}
		// It takes as many that wait as half of the table holds.
		for i := range 50 {
			if _, ok := table.Allow(a); ok {
				t.Fatalf("pushed out by %d that wait", i)
			}
			for range 3 {
				table.Fail(nth(i))
			}
		}
		if _, ok := table.Allow(a); !ok {
			t.Error("the table is larger than it may be")
		}
		if n := table.Len(); n > 100 {
			t.Errorf("%d known, want 100 at most", n)
		}
	})
}

// The lists, the map and the count tell the same, whatever happens.
func TestManyAtOnce(t *testing.T) {
	table := New(Options{Free: 1, First: time.Nanosecond, Max: time.Microsecond, Forget: 50 * time.Microsecond, Size: 20})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				a := nth((i*7 + g) % 40)
				switch table.Allow(a); i % 5 {
				case 0:
					table.Succeed(a)
				default:
					table.Fail(a)
				}
			}
		})
	}
	wg.Wait()
	listed := map[netip.Addr]bool{}
	for i := range table.halves {
		half, n := &table.halves[i], 0
		for e := half.root.next; e != nil && e != &half.root; e = e.next {
			if n++; e.half != half || table.entries[e.addr] != e {
				t.Errorf("%v is in the wrong place", e.addr)
			}
			listed[e.addr] = true
		}
		if n != half.n || n > 10 {
			t.Errorf("half %d: %d in the list, counted %d, room for 10", i, n, half.n)
		}
	}
	if len(listed) != len(table.entries) || table.Len() != len(listed) {
		t.Errorf("%d listed, %d in the map, %d counted", len(listed), len(table.entries), table.Len())
	}
}

func BenchmarkAllowEmpty(b *testing.B) {
	table, a := New(Options{}), tcp("192.0.2.1")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			table.Allow(a)
		}
	})
}

func BenchmarkAllowFull(b *testing.B) {
	table, a := New(Options{}), tcp("192.0.2.1")
	for i := range DefaultSize {
		table.Fail(nth(i))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			table.Allow(a)
		}
	})
}

func BenchmarkFailFlood(b *testing.B) {
	table, i := New(Options{}), 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		table.Fail(nth(i))
	}
}
