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

func tcpAddr(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1234} }

// nthAddr returns a different address for each n.
func nthAddr(n int) net.Addr {
	ip := make(net.IP, 4)
	binary.BigEndian.PutUint32(ip, 0x0a000000+uint32(n))
	return &net.TCPAddr{IP: ip, Port: 1}
}

// otherAddr is an address of a network without IP addresses.
type otherAddr string

func (otherAddr) Network() string  { return "other" }
func (a otherAddr) String() string { return string(a) }

func TestBackOff(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, c := range []struct {
		name string
		opts Options
		want []time.Duration // the wait after each failure
	}{
		{"defaults", Options{}, []time.Duration{0, 0, 0, 0, 0, s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 5 * m, 5 * m}},
		{"no free failures", Options{Free: -1, First: 2 * s, Max: 5 * s}, []time.Duration{2 * s, 4 * s, 5 * s, 5 * s}},
		{"Max below First", Options{Free: 1, First: 3 * s, Max: s}, []time.Duration{0, 3 * s, 3 * s}},
		{"overflow", Options{Free: -1, First: 1 << 61, Max: 1<<63 - 1}, []time.Duration{1 << 61, 1 << 62, 1<<63 - 1, 1<<63 - 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, a, b := New(c.opts), tcpAddr("192.0.2.1"), tcpAddr("192.0.2.2")
				var got []time.Duration
				for range c.want {
					table.Fail(a)
					wait, ok := table.Allow(a)
					if ok != (wait == 0) {
						t.Errorf("Allow: got %v and wait %v, want true exactly if the wait is 0", ok, wait)
					}
					if wait, ok := table.Allow(b); !ok || wait != 0 {
						t.Errorf("another address: got %v and wait %v, want true and 0", ok, wait)
					}
					got = append(got, wait)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("waits (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a := New(Options{Free: -1, First: 10 * time.Second}), tcpAddr("2001:db8::1")
		table.Fail(a)
		time.Sleep(4 * time.Second)
		if wait, ok := table.Allow(tcpAddr("2001:db8::2")); wait != 6*time.Second || ok {
			t.Errorf("another address of the /64: got %v and wait %v, want false and 6s", ok, wait)
		}
		if _, ok := table.Allow(tcpAddr("2001:db8:0:1::1")); !ok {
			t.Error("another /64: got refused, want allowed")
		}
		time.Sleep(6 * time.Second)
		if wait, ok := table.Allow(a); !ok {
			t.Errorf("after the wait: got wait %v, want 0", wait)
		}
		table.Fail(a) // the first failure still counts
		if wait, _ := table.Allow(a); wait != 20*time.Second {
			t.Errorf("after the second failure: got wait %v, want 20s", wait)
		}
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a, b := New(Options{Free: 1, Max: time.Minute, Forget: 10 * time.Minute}), tcpAddr("192.0.2.1"), tcpAddr("192.0.2.2")
		table.Fail(a)
		time.Sleep(9 * time.Minute)
		table.Fail(b)
		table.Fail(b)
		table.Fail(a) // restarts its period
		time.Sleep(10*time.Minute - 1)
		if table.Allow(a); table.Len() != 2 {
			t.Errorf("before the period ends: got %d entries, want 2", table.Len())
		}
		time.Sleep(time.Nanosecond)
		if table.Allow(nthAddr(1)); table.Len() != 0 {
			t.Errorf("after the period: got %d entries, want 0", table.Len())
		}
		table.Fail(a)
		if _, ok := table.Allow(a); !ok {
			t.Error("first failure after the period: got refused, want allowed")
		}
		table.Succeed(a)
		if table.Len() != 0 {
			t.Errorf("after a success: got %d entries, want 0", table.Len())
		}
	})
}

// A Forget shorter than a wait does not shorten the wait.
func TestForgetKeepsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a := New(Options{Free: -1, First: time.Minute, Forget: time.Second}), tcpAddr("192.0.2.1")
		table.Fail(a)
		time.Sleep(time.Minute - 1)
		if wait, _ := table.Allow(a); wait != 1 {
			t.Errorf("got wait %v, want 1ns", wait)
		}
	})
}

func TestAddressesWithoutIPAreNotCounted(t *testing.T) {
	table := New(Options{Free: -1})
	table.Fail(tcpAddr("192.0.2.1"))
	for _, a := range []net.Addr{&net.UnixAddr{Net: "unix", Name: "@"}, otherAddr("mem:client-7"), nil} {
		for range 100 {
			table.Fail(a)
		}
		if _, ok := table.Allow(a); !ok || table.Len() != 1 {
			t.Errorf("%v: got allowed %v and %d entries, want true and 1", a, ok, table.Len())
		}
		table.Succeed(a)
	}
}

// Addresses with free failures never evict a waiting address, and the table stays within Size.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, a := New(Options{Free: 2, First: time.Hour, Max: time.Hour, Size: 100}), tcpAddr("192.0.2.1")
		for range 3 {
			table.Fail(a)
		}
		for i := range 100_000 { // two failures per address, both free
			table.Fail(nthAddr(i))
			table.Fail(nthAddr(i))
			if n := table.Len(); n > 100 {
				t.Fatalf("got %d entries, want at most 100", n)
			}
		}
		if wait, ok := table.Allow(a); ok || wait != time.Hour {
			t.Fatalf("waiting address after the flood: got %v and wait %v, want false and 1h", ok, wait)
		}
		if n := table.Len(); n != 51 {
			t.Errorf("got %d entries, want 50 free and 1 waiting", n)
		}
		for i := range 50 { // half of the capacity in waiting addresses
			if _, ok := table.Allow(a); ok {
				t.Fatalf("evicted by %d waiting addresses, want 50", i)
			}
			for range 3 {
				table.Fail(nthAddr(i))
			}
		}
		if _, ok := table.Allow(a); !ok {
			t.Error("after 50 other waiting addresses: got refused, want evicted")
		}
		if n := table.Len(); n > 100 {
			t.Errorf("got %d entries, want at most 100", n)
		}
	})
}

// The lists, the map and the counter agree after concurrent use.
func TestConcurrentUse(t *testing.T) {
	table := New(Options{Free: 1, First: time.Nanosecond, Max: time.Microsecond, Forget: 50 * time.Microsecond, Size: 20})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				a := nthAddr((i*7 + g) % 40)
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
	for _, l := range []*list{&table.free, &table.waiting} {
		n := 0
		for e := l.root.next; e != nil && e != &l.root; e = e.next {
			if n++; e.list != l || table.entries[e.addr] != e {
				t.Errorf("%v: got an entry of another list or map key, want its own", e.addr)
			}
			listed[e.addr] = true
		}
		if n != l.n || n > 10 {
			t.Errorf("got %d entries in the list and a count of %d, want equal and at most 10", n, l.n)
		}
	}
	if len(listed) != len(table.entries) || table.Len() != len(listed) {
		t.Errorf("got %d entries in lists, %d in the map, a count of %d, want equal", len(listed), len(table.entries), table.Len())
	}
}

func BenchmarkAllowEmpty(b *testing.B) {
	table, a := New(Options{}), tcpAddr("192.0.2.1")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			table.Allow(a)
		}
	})
}

func BenchmarkAllowFull(b *testing.B) {
	table, a := New(Options{}), tcpAddr("192.0.2.1")
	for i := range defaultSize {
		table.Fail(nthAddr(i))
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
		table.Fail(nthAddr(i))
	}
}
