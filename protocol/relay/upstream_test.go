package relay_test

import (
	"context"
	"io"
	"maps"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol/relay"
	"goranch/ranch"
)

// open opens n connections and returns how many each upstream has.
func (f *front) open(n int) map[string]int {
	f.t.Helper()
	for range n {
		f.dial()
		synctest.Wait()
	}
	live := map[string]int{}
	for _, u := range f.relay.Stats().Upstreams {
		live[u.Addr] = u.Live
	}
	return live
}

func TestBalance(t *testing.T) {
	for name, tt := range map[string]struct {
		upstreams []relay.Upstream
		conns     int
		want      map[string]int
	}{
		"fewest connections": {upstreams("a", "b", "c"), 9, map[string]int{"a": 3, "b": 3, "c": 3}},
		"weights":            {[]relay.Upstream{{Addr: "a", Weight: 3}, {Addr: "b"}, {Addr: "c"}}, 10, map[string]int{"a": 6, "b": 2, "c": 2}},
		"maximum":            {[]relay.Upstream{{Addr: "a", MaxConnections: 2}, {Addr: "b"}, {Addr: "c"}}, 10, map[string]int{"a": 2, "b": 4, "c": 4}},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFront(t, relay.Options{Upstreams: tt.upstreams}, ranch.Options{})
			for _, u := range tt.upstreams {
				f.serve(u.Addr, echoes)
			}
			if diff := cmp.Diff(tt.want, f.open(tt.conns)); diff != "" {
				t.Errorf("connections (-want +got):\n%s", diff)
			}
		})
	}
}

// Connections that end before the next one begins are distributed by weight, in turn.
func TestBalanceOfShortConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: []relay.Upstream{{Addr: "a", Weight: 2}, {Addr: "b"}}}, ranch.Options{})
		f.serve("a", named("a"))
		f.serve("b", named("b"))
		got := ""
		for range 6 {
			nc := f.dial()
			p := make([]byte, 1)
			io.ReadFull(nc, p)
			got += string(p)
			nc.Close()
			f.wantEnd(conns.PeerClosed)
		}
		if got != "abaaba" {
			t.Errorf("got the order %q, want %q", got, "abaaba")
		}
	})
}

func TestNoneAvailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: []relay.Upstream{{Addr: "a", MaxConnections: 1}}}, ranch.Options{})
		f.serve("a", echoes)
		f.open(1)
		if got := f.relay.Stats().Upstreams[0].State; got != relay.Full {
			t.Errorf("got the state %q, want full", got)
		}
		wantReadError(t, f.dial(), syscall.ECONNRESET)
		f.wantFailure(relay.NoneAvailable)
		if got := f.relay.Stats().NoneAvailable; got != 1 {
			t.Errorf("got %d connections without an upstream, want 1", got)
		}
	})
}

// After MaxFailures an upstream is not used for BackOff, and again after one further failure. If
// all are out, they are used all the same.
func TestPassiveHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []relay.State
		f := newFront(t, relay.Options{
			Upstreams: upstreams("good", "bad"), Passive: relay.Passive{MaxFailures: 2, BackOff: time.Minute},
			OnChange: func(st relay.UpstreamStats) { changes = append(changes, st.State) },
		}, ranch.Options{})
		f.serve("good", echoes)
		attempts := func(n int) uint64 {
			f.open(n)
			return f.relay.Stats().Upstreams[1].Failed[relay.DialRefused]
		}
		if got := attempts(5); got != 2 {
			t.Errorf("got %d attempts to use the failing upstream, want 2", got)
		}
		if st := f.relay.Stats().Upstreams[1]; st.State != relay.Out || time.Until(st.OutUntil) != time.Minute {
			t.Errorf("got the state %q until %v, want out for a minute", st.State, st.OutUntil)
		}
		after(time.Minute)
		if got := attempts(5); got != 3 {
			t.Errorf("got %d attempts, want one more after the back-off", got)
		}
		after(10 * time.Minute)
		f.serve("bad", echoes)
		if got := f.open(10); got["bad"] == 0 {
			t.Errorf("got %v, want connections to the upstream that works again", got)
		}
		if diff := cmp.Diff([]relay.State{relay.Out, relay.Out}, changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
	bubble(t, "all are out", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a"), Passive: relay.Passive{MaxFailures: 1}}, ranch.Options{})
		f.dial()
		f.wantFailure(relay.DialRefused)
		f.serve("a", named("a"))
		wantRead(t, f.dial(), "a")
	})
	bubble(t, "early resets", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a"), Passive: relay.Passive{MaxFailures: 1}}, ranch.Options{})
		ln := f.listen("a")
		for i, want := range []relay.State{relay.Up, relay.Out} {
			nc := f.dial()
			up, _ := ln.Accept()
			if i == 0 {
				io.WriteString(up, "x")
				wantRead(t, nc, "x")
			}
			resetConn(up)
			f.wantFailure(relay.Reset)
			if got := f.relay.Stats().Upstreams[0].State; got != want {
				t.Errorf("reset %d: got the state %q, want %q", i, got, want)
			}
		}
	})
}

func TestHealthChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []relay.State
		o := relay.Options{
			Upstreams: upstreams("a"), Check: relay.Check{Interval: time.Second, Fall: 2, Rise: 3},
			OnChange: func(st relay.UpstreamStats) { changes = append(changes, st.State) },
		}
		f := newFront(t, o, ranch.Options{})
		state := func(when string, want relay.State) {
			t.Helper()
			if got := f.relay.Stats().Upstreams[0].State; got != want {
				t.Errorf("%s: got the state %q, want %q", when, got, want)
			}
		}
		after(500 * time.Millisecond)
		state("after one failed check", relay.Up)
		after(time.Second)
		state("after two failed checks", relay.Down)
		wantReadError(t, f.dial(), syscall.ECONNRESET)
		f.wantFailure(relay.NoneAvailable)
		f.serve("a", echoes)
		after(2 * time.Second)
		state("after two successful checks", relay.Down)
		after(time.Second)
		state("after three successful checks", relay.Up)
		if diff := cmp.Diff([]relay.State{relay.Down, relay.Up}, changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
	bubble(t, "turned off while down", func(t *testing.T) {
		o := relay.Options{Upstreams: upstreams("a"), Check: relay.Check{Interval: time.Second, Fall: 1}}
		f := newFront(t, o, ranch.Options{})
		synctest.Wait()
		o.Check.Interval = 0
		o.Transport = f.mem
		if err := f.relay.SetOptions(o); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if got := f.relay.Stats().Upstreams[0]; got.State != relay.Up || time.Since(got.CheckedAt) < time.Minute {
			t.Errorf("got %+v, want up and not checked any more", got)
		}
		o.Check.Interval = time.Second
		if err := f.relay.SetOptions(o); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if got := f.relay.Stats().Upstreams[0]; got.State != relay.Down {
			t.Errorf("got %+v, want down", got)
		}
	})
	bubble(t, "a check that hangs", func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a"), Check: relay.Check{Interval: time.Second, Timeout: time.Second, Fall: 1}}, ranch.Options{})
		f.fill("a")
		after(1500 * time.Millisecond)
		if got := f.relay.Stats().Upstreams[0]; got.State != relay.Down {
			t.Errorf("got %+v, want down", got)
		}
	})
}

// New options apply at once. Connections of an upstream that is removed continue, and its figures
// are shown until they have ended.
func TestSetOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a", "b")}, ranch.Options{})
		var served atomic.Int32
		for _, name := range []string{"a", "b", "c"} {
			f.serve(name, func(nc net.Conn) {
				served.Add(1)
				io.Copy(nc, nc)
			})
		}
		first := f.dial()
		synctest.Wait()
		f.open(3)
		o := f.relay.Options()
		o.Upstreams = upstreams("c", "b")
		if err := f.relay.SetOptions(o); err != nil {
			t.Fatal(err)
		}
		io.WriteString(first, "still forwarded")
		wantRead(t, first, "still forwarded")
		if diff := cmp.Diff(map[string]int{"a": 2, "b": 3, "c": 3}, f.open(4)); diff != "" {
			t.Errorf("connections (-want +got):\n%s", diff)
		}
		states := map[string]relay.State{}
		for _, u := range f.relay.Stats().Upstreams {
			states[u.Addr] = u.State
		}
		if want := (map[string]relay.State{"a": relay.Removed, "b": relay.Up, "c": relay.Up}); !maps.Equal(states, want) {
			t.Errorf("got the states %v, want %v", states, want)
		}
		f.l.Stop()
		if got := len(f.relay.Stats().Upstreams); got != 2 {
			t.Errorf("got %d upstreams after all connections have ended, want 2", got)
		}
		o.Upstreams = nil
		if err := f.relay.SetOptions(o); err == nil {
			t.Error("got no error for options without upstreams")
		}
		if got := len(f.relay.Options().Upstreams); got != 2 {
			t.Errorf("got %d upstreams after an error, want the 2 in force", got)
		}
	})
}

func TestCloseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFront(t, relay.Options{Upstreams: upstreams("a"), Check: relay.Check{Interval: time.Second}}, ranch.Options{})
		for range 2 {
			if err := f.relay.Close(context.Background()); err != nil {
				t.Errorf("Close: got %v, want no error", err)
			}
		}
		if err := f.relay.SetOptions(f.relay.Options()); err != nil { // starts no checks
			t.Errorf("SetOptions after Close: got %v, want no error", err)
		}
	})
}
