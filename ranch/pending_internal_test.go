package ranch

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"goranch/protocol"
	"goranch/transport"
)

// A connection becomes pending after the gate has granted an acceptor its reservation and before
// that is offered: it gets the slot when the acceptor offers it, also if it is to be refused at
// once.
func TestReservationOfferedLate(t *testing.T) {
	for _, refuseAfter := range []time.Duration{time.Minute, -1} {
		t.Run(refuseAfter.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				served := make(chan struct{}, 1)
				opts := Options{MaxConnections: 1, RefuseAfter: refuseAfter, Logger: slog.New(slog.DiscardHandler)}
				l, err := NewListener("test", new(transport.Mem), opts, protocol.Func(func(context.Context, *transport.Conn) error {
					served <- struct{}{}
					return nil
				}))
				if err != nil {
					t.Fatal(err)
				}
				if err := l.gate.Reserve(t.Context()); err != nil {
					t.Fatal(err)
				}
				client, server := net.Pipe()
				l.background.Add(1)
				go l.startPending(new(transport.Mem), server, false)
				synctest.Wait()
				begin := time.Now()
				if l.offer() {
					t.Error("offer: got true, want false: a pending connection waits")
				}
				io.ReadAll(client)
				if i := l.Info(); len(served) != 1 || i.Refused != 0 || time.Since(begin) != 0 {
					t.Errorf("after %v: got %+v, want the connection served at once", time.Since(begin), i)
				}
				synctest.Wait()
				if s := l.gate.State(); s.Used != 0 || s.Reserved != 0 {
					t.Errorf("got %+v, want no slot used or reserved", s)
				}
				if err := l.Stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An acceptor keeps the reservation that it offers while no connection is pending.
func TestReservationKept(t *testing.T) {
	l, err := NewListener("test", new(transport.Mem), Options{MaxConnections: 1}, protocol.Func(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !l.reserve(t.Context()) || !l.reservations.take() || l.reservations.take() {
		t.Error("got no reservation, or two, want one")
	}
}
