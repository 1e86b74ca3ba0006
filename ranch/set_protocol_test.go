package ranch_test

import (
	"errors"
	"testing"

	"goranch/protocol"
	"goranch/ranch"
)

// A new protocol serves connections that are accepted from then on.
func TestSetProtocol(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var s ranch.Server
		l, _, err := tryStartListener(t, &s, m.t, ranch.Options{Addr: m.addr(t)}, greetAndEcho)
		if err != nil {
			t.Fatal(err)
		}
		before := m.servedClients(t, l, 2)
		next := newRequestServer()
		if err := l.SetProtocol(next); err != nil {
			t.Fatal(err)
		}
		if got := l.Info().Protocol; got != protocol.Protocol(next) {
			t.Errorf("got protocol %v, want %v", got, next)
		}
		for _, v := range before {
			v.checkEcho(t)
		}
		after := m.servedClients(t, l, 1)[0]
		after.nc.Write([]byte("work"))
		receive(t, "the new protocol is called", next.started)
		close(next.proceed)
		for _, c := range l.Connections()[:2] {
			if _, old := c.Protocol.(protocol.Func); !old {
				t.Errorf("old connection: got protocol %T, want protocol.Func", c.Protocol)
			}
		}
		if err := errors.Join(l.Suspend(), l.Resume()); err != nil {
			t.Fatal(err)
		}
		if got := l.Info().Protocol; got != protocol.Protocol(next) {
			t.Errorf("after a resume: got protocol %T, want %T", got, next)
		}
		if err := l.SetProtocol(nil); !errors.Is(err, ranch.ErrBadOption) || l.Info().Protocol == nil {
			t.Errorf("SetProtocol(nil): got %v, want %v and no change", err, ranch.ErrBadOption)
		}
	})
}
