package ranch_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

// KeepClosed cannot be changed, and the map of alarms is copied.
func TestSetOptionsKeepsFixedOptions(t *testing.T) {
	alarms := map[string]ranch.Alarm{"a": {Connections: 1000}}
	l, _ := startListener(t, new(fakeTransport), ranch.Options{KeepClosed: 7, Alarms: alarms}, greetAndEcho)
	for i := range 100 { // the race detector sees unsynchronized use
		alarms[fmt.Sprint(i)] = ranch.Alarm{Connections: -1}
	}
	l.Options().Alarms["b"] = ranch.Alarm{}
	if o := l.Options(); len(o.Alarms) != 1 {
		t.Errorf("got %d alarms, want 1", len(o.Alarms))
	}
	if _, err := l.SetOptions(nil, ranch.Options{KeepClosed: 9}); err != nil {
		t.Fatal(err)
	}
	if n := l.Options().KeepClosed; n != 7 {
		t.Errorf("KeepClosed: got %d, want 7", n)
	}
}

// Concurrent changes are made one after the other, so that none is lost, and keep the cap.
func TestChangeOptions(t *testing.T) {
	l, _ := startListener(t, new(transport.Mem), ranch.Options{}, echo.Protocol{})
	if err := l.SetMaxConnections(0); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := l.ChangeOptions(func(o *ranch.Options) { o.PerAddress++; o.MaxConnections = 5 }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if o := l.Options(); o.PerAddress != 100 || l.Info().MaxConnections != 0 || o.MaxConnections != 1024 {
		t.Errorf("got %d changes, cap %d, initial cap %d, want 100, 0, 1024", o.PerAddress, l.Info().MaxConnections, o.MaxConnections)
	}
	_, err := l.ChangeOptions(func(o *ranch.Options) { o.IdleTimeout, o.Lifetime = -2, time.Hour })
	if !errors.Is(err, ranch.ErrBadOption) || l.Options().Lifetime != 0 {
		t.Errorf("got %v, Lifetime %v, want %v and no change", err, l.Options().Lifetime, ranch.ErrBadOption)
	}
	waiting, err := l.ChangeOptions(func(o *ranch.Options) { o.NumAcceptors = 3 })
	if err != nil || len(waiting) != 1 || waiting[0] != "NumAcceptors" {
		t.Errorf("got waiting %v, %v, want NumAcceptors", waiting, err)
	}
}
