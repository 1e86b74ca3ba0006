package ranch_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"goranch/protocol/echo"
	"goranch/ranch"
	"goranch/transport"
)

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
