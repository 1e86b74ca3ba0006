package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/ranch"
	"goranch/transport"
)

func (rejecting) Refuse(_ context.Context, conn *transport.Conn, cause error) {
	fmt.Fprintf(conn, "-%v", cause)
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

// Every faulty limit is reported.
func TestBadLimits(t *testing.T) {
	_, err := ranch.NewListener(ref, transport.TCP{}, ranch.Options{
		Limits: conns.Limits{PerAddress: -2, MaxHandshakes: -2, IdleTimeout: -2, ReadTimeout: -2, WriteTimeout: -2, Lifetime: -2, LifetimeJitter: 2,
			LoginTimeout: -2, MaxUnestablished: -2, MinReceiveRate: -2,
			ReceiveRate: -2, SendRate: -2, TotalReceiveRate: -2, TotalSendRate: -2, AcceptRate: conns.Rate{PerSecond: -1}, AddressRate: conns.Rate{PerSecond: 1, Burst: -1}},
		Evict:  "youngest",
		Alarms: map[string]ranch.Alarm{"a": {}, "b": {Connections: 1, Descriptors: 0.5}, "c": {Connections: -1}, "d": {Descriptors: 2}, "e": {Connections: 1, Cooldown: -1}},
	}, greetAndEcho)
	if !errors.Is(err, ranch.ErrBadOption) {
		t.Fatalf("got %v, want %v", err, ranch.ErrBadOption)
	}
	for _, field := range []string{"PerAddress", "MaxHandshakes", "IdleTimeout", "ReadTimeout", "WriteTimeout", "Lifetime", "LifetimeJitter", "LoginTimeout", "MaxUnestablished", "MinReceiveRate",
		"ReceiveRate", "SendRate", "TotalReceiveRate", "TotalSendRate",
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
