package ranch_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// Rates of live connections change at run time. A connection that waits for its turn is neither
// idle nor slow, also if it waits longer than the limits of these, and is ended at once by a stop.
func TestBytesPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l, rec := startListener(t, mem, ranch.Options{Addr: "a", Limits: conns.Limits{
			IdleTimeout: 20 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 20 * time.Second, MinReceiveRate: 100}}, newLongLines())
		c := dialLines(t, mem, "a")
		c.wantAnswer(t, "before", "before")
		time.Sleep(5 * time.Second)
		if l.Info().Parked != 1 {
			t.Errorf("got %s, want a parked connection", pretty(l.Info()))
		}
		set := func(f func(*conns.Limits)) {
			if _, err := l.ChangeOptions(func(o *ranch.Options) { f(&o.Limits) }); err != nil {
				t.Fatal(err)
			}
		}
		// The limit of a connection that is parked, with reads of one byte.
		set(func(l *conns.Limits) { l.ReceiveRate = 1 })
		begin := time.Now()
		c.wantAnswer(t, "0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789")
		if took := time.Since(begin); took < 39*time.Second || took > 42*time.Second {
			t.Errorf("41 bytes at 1 per second: got %v, want about 41s", took)
		}
		c.Close()
		// Several connections share one byte per second: each waits longer than the IdleTimeout.
		set(func(l *conns.Limits) { l.ReceiveRate, l.TotalReceiveRate = 0, 1 })
		for range 30 {
			go func(c *lineClient) { c.Write(make([]byte, 1000)) }(dialLines(t, mem, "a"))
		}
		time.Sleep(10 * time.Minute)
		if n := rec.count(ranch.ConnEnded); n != 1 {
			t.Errorf("got %d ends, want that of the first client only: %s", n, pretty(l.Info()))
		}
		begin = time.Now()
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("got the stop after %v, want at once", took)
		}
		if n := l.Info().Reasons[conns.Shutdown]; n != 30 {
			t.Errorf("got %s, want 30 connections that ended when they were asked to", pretty(l.Info()))
		}
	})
}

// A limited echo server sends what it has received, on every transport.
func TestBytesPerSecondOnEveryTransport(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		const rate = 4 << 20
		l, _ := m.startListener(t, ranch.Options{Limits: conns.Limits{ReceiveRate: rate, SendRate: rate, TotalReceiveRate: rate, TotalSendRate: rate}}, greetAndEcho)
		for _, c := range m.servedClients(t, l, 3) {
			c.checkEcho(t)
		}
	})
}

// Without limits nothing is installed, and with one, it applies to new connections.
func TestTotalSendRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		const rate = 50_000
		l, _ := startListener(t, mem, ranch.Options{Addr: "a", Limits: conns.Limits{TotalSendRate: rate}}, echo.Protocol{})
		for range 10 {
			c := dialLines(t, mem, "a")
			go io.Copy(io.Discard, c)
			go func() {
				for p := make([]byte, 1000); ; {
					if _, err := c.Write(p); err != nil {
						return
					}
				}
			}()
		}
		time.Sleep(10 * time.Second)
		if got := l.Info().BytesWritten; got < 0.99*10*rate || got > 1.01*10*rate {
			t.Errorf("got %d bytes in 10 s, want %d, give or take 1 %%", got, 10*rate)
		}
	})
}
