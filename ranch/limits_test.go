package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// waitReasons waits until n connections have ended and returns their reasons.
func waitReasons(t testing.TB, rec *recorder, n int) (reasons []conns.Reason) {
	t.Helper()
	for _, e := range rec.wait(t, ranch.ConnEnded, n) {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}

// Each time limit ends a connection that exceeds it, not before the limit and at most a quarter later.
func TestLimitsOfTime(t *testing.T) {
	const limit = 4 * time.Second
	// what the client does once a second
	type client struct{ sends, reads bool }
	for _, c := range []struct {
		name   string
		opts   ranch.Options
		client client
		want   conns.Reason // Finished: it stays open
	}{
		{"idle", ranch.Options{Limits: conns.Limits{IdleTimeout: limit}}, client{}, conns.IdleTimeout},
		{"not idle: it sends", ranch.Options{Limits: conns.Limits{IdleTimeout: limit}}, client{sends: true}, conns.Finished},
		{"not idle: it gets", ranch.Options{Limits: conns.Limits{IdleTimeout: limit}}, client{reads: true}, conns.Finished},
		{"nothing read", ranch.Options{Limits: conns.Limits{ReadTimeout: limit}}, client{reads: true}, conns.ReadTimeout},
		{"something read", ranch.Options{Limits: conns.Limits{ReadTimeout: limit}}, client{sends: true}, conns.Finished},
		{"nothing written", ranch.Options{Limits: conns.Limits{WriteTimeout: limit}}, client{sends: true}, conns.WriteTimeout},
		{"something written", ranch.Options{Limits: conns.Limits{WriteTimeout: limit}}, client{reads: true}, conns.Finished},
		{"too old", ranch.Options{Limits: conns.Limits{Lifetime: limit}}, client{sends: true, reads: true}, conns.Expired},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fakeTransport)
				// Writes every second if the client reads; reads all the time.
				serve := protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
					var wg sync.WaitGroup
					defer wg.Wait()
					if c.client.reads {
						wg.Go(func() { everySecond(ctx, conn) })
					}
					_, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
					return err
				})
				l, rec := startListener(t, f, c.opts, serve)
				begin := time.Now()
				nc, err := f.Dial(t.Context(), dialAddr(l))
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				go io.Copy(io.Discard, nc)
				if c.client.sends {
					go everySecond(t.Context(), nc)
				}
				if c.want == conns.Finished {
					time.Sleep(10 * limit)
					if n := rec.count(ranch.ConnEnded); n != 0 {
						t.Errorf("got %+v, want an open connection", rec.ofKind(ranch.ConnEnded))
					}
					return
				}
				e := rec.wait(t, ranch.ConnEnded, 1)[0]
				if e.Reason != c.want {
					t.Errorf("got reason %v, %v, want %v", e.Reason, e.Err, c.want)
				}
				if took := time.Since(begin); took < limit || took > limit+limit/4 {
					t.Errorf("got an end after %v, want %v", took, limit)
				}
			})
		})
	}
}

// everySecond writes until ctx ends or it fails.
func everySecond(ctx context.Context, w io.Writer) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := w.Write([]byte(".")); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A protocol that ignores the end of a limit is closed after the ShutdownTimeout.
func TestLimitIsEnforced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		begin := time.Now()
		l, rec := startListener(t, f, ranch.Options{Limits: conns.Limits{Lifetime: time.Second}, ShutdownTimeout: 3 * time.Second},
			protocol.Func(func(ctx context.Context, conn *transport.Conn) error {
				for {
					if _, err := conn.Write([]byte(".")); err != nil {
						return err
					}
				}
			}))
		nc, err := f.Dial(t.Context(), dialAddr(l))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		e := rec.wait(t, ranch.ConnEnded, 1)[0]
		if took := time.Since(begin); e.Reason != conns.Expired || took < 4*time.Second || took > 5*time.Second {
			t.Errorf("got reason %v, %v after %v, want %v after 4s", e.Reason, e.Err, took, conns.Expired)
		}
	})
}

// Lifetimes are shortened at random within the LifetimeJitter.
func TestLifetimeJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		const n = 50
		l, rec := startListener(t, f, ranch.Options{Limits: conns.Limits{Lifetime: time.Hour, LifetimeJitter: 0.5}}, greetAndEcho)
		servedClients(t, f, dialAddr(l), n)
		seen := map[time.Duration]bool{}
		time.Sleep(time.Hour + time.Minute)
		for _, e := range rec.wait(t, ranch.ConnEnded, n) {
			if e.Duration < time.Hour/2 || e.Duration > time.Hour+time.Second {
				t.Errorf("got a lifetime of %v, want 30m to 1h", e.Duration)
			}
			seen[e.Duration.Truncate(time.Minute)] = true
		}
		if len(seen) < n/4 {
			t.Errorf("got ends in %d different minutes, want at least %d", len(seen), n/4)
		}
	})
}

// rejecting is a protocol with a rejection message.
type rejecting struct{ protocol.Protocol }

func (rejecting) Refuse(_ context.Context, conn *transport.Conn, cause error) {
	fmt.Fprintf(conn, "-%v", cause)
}

// At the cap a client is refused at once, with the rejection message of the protocol.
func TestRefuseAtCap(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := m.startListener(t, ranch.Options{MaxConnections: 2, RefuseAfter: -1}, rejecting{greetAndEcho})
		in := m.servedClients(t, l, 2)
		v := m.newClient(t, l).waitServed(t)
		v.nc.SetReadDeadline(time.Now().Add(testTimeout))
		if got, err := io.ReadAll(v.nc); err != nil || string(got) != conns.RefusedAtCap.Error() {
			t.Errorf("rejection message: got %q, %v, want %v", got, err, conns.RefusedAtCap)
		}
		if got := waitReasons(t, rec, 1)[0]; got != conns.RefusedAtCap {
			t.Errorf("got reason %v, want %v", got, conns.RefusedAtCap)
		}
		for _, v := range in {
			v.checkEcho(t)
		}
		if i := l.Info(); i.PeakConnections != 2 || i.Refused != 1 {
			t.Errorf("got %s, want a peak of 2 and 1 refused", pretty(i))
		}
		in[0].close()
		waitActive(t, l, 1)
		m.newClient(t, l).waitServed(t).checkEcho(t)
	})
}

// A pending client gets a slot that becomes free in time, and is refused if none does.
func TestRefuseAfterATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 1, RefuseAfter: time.Minute}, greetAndEcho)
		in := servedClients(t, f, dialAddr(l), 1)
		v := newClient(t, f, dialAddr(l))
		time.Sleep(time.Minute - time.Second)
		if !v.waiting() {
			t.Fatal("the client was served or refused, want it to wait")
		}
		in[0].close()
		v.waitServed(t)
		begin := time.Now()
		late := newClient(t, f, dialAddr(l))
		if err := <-late.served; err == nil {
			t.Error("a client was served above the cap")
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("got refused after %v, want 1m", took)
		}
		if got := waitReasons(t, rec, 2)[1]; got != conns.RefusedAtCap {
			t.Errorf("got reason %v, want %v", got, conns.RefusedAtCap)
		}
	})
}

// Connections beyond the maximum of pending ones are refused at once.
func TestMaxPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{MaxConnections: 1, RefuseAfter: time.Hour}, rejecting{greetAndEcho})
		servedClients(t, f, dialAddr(l), 1)
		for range 1100 {
			if _, err := f.Dial(t.Context(), dialAddr(l)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := l.Info().PendingConnections; n != 1024 {
			t.Errorf("got %d pending connections, want 1024", n)
		}
		if n := rec.count(ranch.ConnEnded); n != 76 {
			t.Errorf("got %d refused connections, want 76", n)
		}
	})
}

// RefuseAfter can be changed while acceptors wait, both ways.
func TestRefuseAfterChanges(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		opts := ranch.Options{Addr: m.addr(t), MaxConnections: 1}
		l, _, err := tryStartListener(t, new(ranch.Server), m.t, opts, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		in := m.servedClients(t, l, 1)
		waitAllWaiting(t, l)
		waits := m.newClient(t, l)
		set := func(d time.Duration) {
			t.Helper()
			opts.RefuseAfter = d
			if _, err := l.SetOptions(nil, opts); err != nil {
				t.Fatal(err)
			}
		}
		set(-1)
		if err := receive(t, "the waiting client is refused", waits.served); err == nil {
			t.Error("a client was served above the cap")
		}
		set(0)
		waits = m.newClient(t, l)
		in[0].close()
		if err := receive(t, "the client is served", waits.served); err != nil {
			// Acceptors that were in accept when it changed refuse no connection either.
			t.Errorf("got %v, want the client served", err)
		}
	})
}

// dialFrom connects from a loopback address.
func dialFrom(t testing.TB, l *ranch.Listener, ip string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	nc, err := d.DialContext(testContext(t), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testTimeout))
	return nc
}

func isServed(nc net.Conn) bool {
	_, err := io.ReadFull(nc, make([]byte, 1))
	return err == nil
}

// The limit applies to each address; a connection that ends makes room.
func TestMaxPerAddress(t *testing.T) {
	if !canBind("127.0.0.2") {
		t.Skip("the system has one loopback address; on macOS: sudo ifconfig lo0 alias 127.0.0.2")
	}
	l, rec := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Limits: conns.Limits{PerAddress: 2}}, greetAndEcho)
	a, b := dialFrom(t, l, "127.0.0.2"), dialFrom(t, l, "127.0.0.2")
	if !isServed(a) || !isServed(b) {
		t.Fatal("got a client refused below the limit")
	}
	if isServed(dialFrom(t, l, "127.0.0.2")) {
		t.Error("got a client served above the limit")
	}
	if got := waitReasons(t, rec, 1)[0]; got != conns.RefusedAddress {
		t.Errorf("got reason %v, want %v", got, conns.RefusedAddress)
	}
	if !isServed(dialFrom(t, l, "127.0.0.3")) {
		t.Error("got a client of another address refused")
	}
	a.Close()
	waitUntil(t, "a client of the address is served again", func() bool { return isServed(dialFrom(t, l, "127.0.0.2")) })
	if n := l.Info().Addresses; n != 2 {
		t.Errorf("Addresses: got %d, want 2", n)
	}
}

func canBind(ip string) bool {
	ln, err := net.Listen("tcp", ip+":0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

// An address that connects too often is refused after the burst.
func TestAddressRate(t *testing.T) {
	l, rec := startListener(t, transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Limits: conns.Limits{AddressRate: conns.Rate{PerSecond: 0.001, Burst: 3}}}, greetAndEcho)
	for i := range 5 {
		if got := isServed(dialFrom(t, l, "127.0.0.1")); got != (i < 3) {
			t.Errorf("connection %d: got served %v, want %v", i+1, got, i < 3)
		}
	}
	for _, r := range waitReasons(t, rec, 2) {
		if r != conns.RefusedRate {
			t.Errorf("got reason %v, want %v", r, conns.RefusedRate)
		}
	}
}

// Connections are accepted at the rate, and none is refused.
func TestAcceptRate(t *testing.T) {
	for _, sockets := range []int{1, 2} {
		t.Run(fmt.Sprint(sockets), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fakeTransport)
				begin := time.Now()
				_, rec := startListener(t, &sharingTransport{f}, ranch.Options{
					NumListenSockets: sockets, Limits: conns.Limits{AcceptRate: conns.Rate{PerSecond: 10, Burst: 5}},
				}, greetAndEcho)
				time.Sleep(time.Minute) // tokens beyond the burst are not saved
				const n = 105
				for i := range n {
					newClient(t, f, f.all[i%sockets].Addr().String())
				}
				rec.wait(t, ranch.ConnStarted, n)
				took := time.Since(begin) - time.Minute
				if took < 9800*time.Millisecond || took > 10*time.Second+100*time.Millisecond {
					t.Errorf("got %d connections accepted in %v, want 10s", n, took)
				}
			})
		})
	}
}

// Handshakes in progress are limited; other connections wait for their turn.
func TestMaxHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := make(chan struct{})
		f := &fakeTransport{handshake: func(ctx context.Context, nc net.Conn) (net.Conn, error) {
			select {
			case <-turn:
				return nc, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		l, rec := startListener(t, f, ranch.Options{Limits: conns.Limits{MaxHandshakes: 2}, HandshakeTimeout: 30 * time.Second}, greetAndEcho)
		all := []*client{newClient(t, f, dialAddr(l)), newClient(t, f, dialAddr(l)), newClient(t, f, dialAddr(l))}
		synctest.Wait()
		if i := l.Info(); i.Handshakes != 2 || i.AllConnections != 3 {
			t.Errorf("got %s, want 2 handshakes and 3 connections", pretty(i))
		}
		for range all {
			turn <- struct{}{}
		}
		for _, v := range all {
			v.waitServed(t)
		}
		newClient(t, f, dialAddr(l))
		newClient(t, f, dialAddr(l))
		newClient(t, f, dialAddr(l))
		begin := time.Now()
		for _, r := range waitReasons(t, rec, 3) {
			if r != conns.HandshakeTimeout {
				t.Errorf("got reason %v, want %v", r, conns.HandshakeTimeout)
			}
		}
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("got %v, want 30s", took)
		}
	})
}

// When the cap is lowered, connections are evicted by the policy.
func TestEvict(t *testing.T) {
	for _, policy := range []conns.EvictionPolicy{conns.EvictNone, conns.EvictOldest, conns.EvictMostIdle, conns.EvictRandom} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := new(fakeTransport)
				l, rec := startListener(t, f, ranch.Options{MaxConnections: 10, Evict: policy}, greetAndEcho)
				var all []*client
				for range 10 {
					all = append(all, newClient(t, f, dialAddr(l)).waitServed(t))
					time.Sleep(5 * time.Second)
				}
				all[0].checkEcho(t) // the oldest is not the most idle
				time.Sleep(5 * time.Second)
				if err := l.SetMaxConnections(7); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if policy == conns.EvictNone {
					if n := rec.count(ranch.ConnEnded); n != 0 {
						t.Errorf("got %d evicted connections, want 0", n)
					}
					return
				}
				waitActive(t, l, 7)
				first := l.Connections()[0].ID
				for _, e := range rec.wait(t, ranch.ConnEnded, 3) {
					if e.Reason != conns.Evicted {
						t.Errorf("got reason %v, %v, want %v", e.Reason, e.Err, conns.Evicted)
					}
					if policy == conns.EvictOldest && e.Conn.ID() >= first || policy == conns.EvictMostIdle && e.Conn.ID() <= first {
						t.Errorf("got connection %d evicted, the oldest that stays is %d", e.Conn.ID(), first)
					}
				}
			})
		})
	}
}

// Every faulty limit is reported.
func TestBadLimits(t *testing.T) {
	_, err := ranch.NewListener(ref, transport.TCP{}, ranch.Options{
		Limits: conns.Limits{PerAddress: -2, MaxHandshakes: -2, IdleTimeout: -2, ReadTimeout: -2, WriteTimeout: -2, Lifetime: -2, LifetimeJitter: 2, AcceptRate: conns.Rate{PerSecond: -1}, AddressRate: conns.Rate{PerSecond: 1, Burst: -1}},
		Evict:  9,
		Alarms: map[string]ranch.Alarm{"a": {}, "b": {Connections: 1, Descriptors: 0.5}, "c": {Connections: -1}, "d": {Descriptors: 2}, "e": {Connections: 1, Cooldown: -1}},
	}, greetAndEcho)
	if !errors.Is(err, ranch.ErrBadOption) {
		t.Fatalf("got %v, want %v", err, ranch.ErrBadOption)
	}
	for _, field := range []string{"PerAddress", "MaxHandshakes", "IdleTimeout", "ReadTimeout", "WriteTimeout", "Lifetime", "LifetimeJitter",
		"AcceptRate", "AddressRate", "Evict", `Alarms["a"]`, `Alarms["b"]`, `Alarms["c"].Connections`, `Alarms["d"].Descriptors`, `Alarms["e"].Cooldown`} {
		if !strings.Contains(err.Error(), "option "+field+" ") {
			t.Errorf("got %v, want a fault of %s", err, field)
		}
	}
	_, err = ranch.NewListener(ref, transport.TCP{}, ranch.Options{HandshakeTimeout: transport.NoTimeout, Limits: conns.Limits{
		PerAddress: transport.NoLimit, MaxHandshakes: transport.NoLimit, IdleTimeout: transport.NoTimeout, ReadTimeout: transport.NoTimeout,
		WriteTimeout: transport.NoTimeout, Lifetime: transport.NoTimeout, ParkAfter: transport.NoTimeout,
	}}, greetAndEcho)
	if err != nil {
		t.Errorf("got %v for no limits, want nil", err)
	}
}
