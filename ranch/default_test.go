package ranch_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
	"goranch/transport"
)

// The functions of the package act on Default and on no other server.
func TestDefaultServer(t *testing.T) {
	mem, ctx := new(transport.Mem), testContext(t)
	opts := ranch.Options{MaxConnections: 5, Logger: discardLogger}
	l, err := ranch.StartListener(ref, mem, opts, greetAndEcho)
	if err != nil {
		t.Fatal(err)
	}
	defer ranch.Drain(cancelledContext)
	if _, err := ranch.StartListener(ref, mem, opts, greetAndEcho); !errors.Is(err, ranch.ErrAlreadyStarted) {
		t.Errorf("second start: got %v, want %v", err, ranch.ErrAlreadyStarted)
	}
	var other ranch.Server
	if _, err := other.StartListener(ref, mem, opts, greetAndEcho); err != nil {
		t.Errorf("same name in another server: got %v, want nil", err)
	}
	defer other.Drain(cancelledContext)

	if got, err := ranch.Default.Listener(ref); got != l || err != nil {
		t.Errorf("Default.Listener: got %v, %v, want %v", got, err, l)
	}
	if got := listenerNames(ranch.Default); !cmp.Equal(got, []string{ref}) {
		t.Errorf("Listeners: got %v, want %v", got, []string{ref})
	}
	servedClients(t, mem, dialAddr(l), 2)
	if got, err := ranch.Info(ref); err != nil || got.ActiveConnections != 2 {
		t.Errorf("Info: got %+v, %v, want 2 active connections", got, err)
	}
	if err := ranch.WaitForConnections(ctx, ref, ranch.Equal, 2); err != nil {
		t.Errorf("WaitForConnections: got %v, want nil", err)
	}
	if err := ranch.SetMaxConnections(ref, 9); err != nil {
		t.Errorf("SetMaxConnections: got %v, want nil", err)
	}
	if got, err := ranch.MaxConnections(ref); got != 9 || err != nil {
		t.Errorf("MaxConnections: got %d, %v, want 9", got, err)
	}
	if err := ranch.SetProtocol(ref, writeUntilClosed); err != nil || l.Info().Protocol == nil {
		t.Errorf("SetProtocol: got %v, want nil", err)
	}
	if err := errors.Join(ranch.SuspendListener(ref), ranch.ResumeListener(ref)); err != nil {
		t.Error(err)
	}
	if err := ranch.StopListener(ref); err != nil {
		t.Error(err)
	}
	if got := listenerNames(&other); !cmp.Equal(got, []string{ref}) {
		t.Errorf("the other server: got listeners %v, want %v", got, []string{ref})
	}
}

// A stopped listener frees its name, however it was stopped, and only its own.
func TestStopFreesTheName(t *testing.T) {
	for name, stop := range map[string]func(*ranch.Server, *ranch.Listener) error{
		"Listener.Stop":  func(_ *ranch.Server, l *ranch.Listener) error { return l.Stop() },
		"Listener.Drain": func(_ *ranch.Server, l *ranch.Listener) error { return l.Drain(cancelledContext) },
		"Server.Drain":   func(s *ranch.Server, _ *ranch.Listener) error { return s.Drain(cancelledContext, ref) },
	} {
		t.Run(name, func(t *testing.T) {
			var s ranch.Server
			mem, opts := new(transport.Mem), ranch.Options{Logger: discardLogger}
			first, err := s.StartListener(ref, mem, opts, greetAndEcho)
			if err != nil {
				t.Fatal(err)
			}
			if err := stop(&s, first); err != nil {
				t.Fatal(err)
			}
			second, err := s.StartListener(ref, mem, opts, greetAndEcho)
			if err != nil {
				t.Fatalf("second start: got %v, want nil", err)
			}
			if err := first.Stop(); !errors.Is(err, ranch.ErrStopped) {
				t.Errorf("second stop: got %v, want %v", err, ranch.ErrStopped)
			}
			if got, err := s.Listener(ref); got != second || err != nil {
				t.Errorf("got %v, %v, want the second listener", got, err)
			}
			if err := second.Stop(); err != nil {
				t.Error(err)
			}
			if _, err := s.Listener(ref); !errors.Is(err, ranch.ErrNotFound) {
				t.Errorf("after the stop: got %v, want %v", err, ranch.ErrNotFound)
			}
		})
	}
}

// listenerNames returns the names of the listeners of s.
func listenerNames(s *ranch.Server) (refs []string) {
	for _, l := range s.Listeners() {
		refs = append(refs, l.Ref())
	}
	return refs
}
