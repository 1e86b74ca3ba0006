package ranch_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"goranch/protocol"
	"goranch/ranch"
)

// asAccept gives an error the form in which package net returns it.
func asAccept(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "fake", Err: os.NewSyscallError("accept4", errno)}
}

// What each error of accept calls for: how long until the next try, and whether anybody
// is told. Whatever it is, the client that comes after it is served.
func TestAcceptErrors(t *testing.T) {
	const atOnce, rest = 0, 100 * time.Millisecond
	for _, c := range []struct {
		err   error
		pause time.Duration
		told  bool
	}{
		// One peer's fault.
		{asAccept(syscall.ECONNABORTED), atOnce, false},
		{asAccept(syscall.EPROTO), atOnce, false},
		{asAccept(syscall.ECONNRESET), atOnce, false},
		{asAccept(syscall.EINTR), atOnce, false},
		{asAccept(syscall.EPERM), atOnce, false},
		{asAccept(syscall.ENETDOWN), atOnce, false},
		{asAccept(syscall.ENETUNREACH), atOnce, false},
		{asAccept(syscall.EHOSTDOWN), atOnce, false},
		{asAccept(syscall.EHOSTUNREACH), atOnce, false},
		{asAccept(syscall.ENOPROTOOPT), atOnce, false},
		{asAccept(syscall.EOPNOTSUPP), atOnce, false},
		{asAccept(syscall.ETIMEDOUT), atOnce, false},
		{syscall.ECONNABORTED, atOnce, false},
		{fmt.Errorf("wrapped: %w", asAccept(syscall.ECONNABORTED)), atOnce, false},
		// The system is short of something.
		{asAccept(syscall.EMFILE), rest, true},
		{asAccept(syscall.ENFILE), rest, true},
		{asAccept(syscall.ENOBUFS), rest, true},
		{asAccept(syscall.ENOMEM), rest, true},
		// Nobody knows.
		{asAccept(syscall.EINVAL), rest, true},
		{errors.New("never seen before"), rest, true},
		{io.EOF, rest, true},
		{os.ErrDeadlineExceeded, rest, true}, // not by our recall
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeTransport{script: repeated(3, failWith(c.err))}
				begin := time.Now()
				l, rec := startListener(t, f, ranch.Options{NumAcceptors: 1}, greetAndEcho)
				servedClients(t, f, dialAddr(l), 1)
				if got := time.Since(begin); got != 3*c.pause {
					t.Errorf("after 3 errors a client was served at %v, not %v", got, 3*c.pause)
				}
				if got := l.Info().AcceptErrors; got != 3 {
					t.Errorf("AcceptErrors is %d", got)
				}
				if !c.told {
					time.Sleep(time.Minute)
					if got := rec.ofKind(ranch.AcceptFailed, ranch.AcceptRecovered, ranch.SocketReopened); got != nil {
						t.Errorf("events: %v", got)
					}
					return
				}
				recovered := rec.wait(t, ranch.AcceptRecovered, 1)[0]
				failed := rec.ofKind(ranch.AcceptFailed)
				if len(failed) != 1 || failed[0].Err != c.err || failed[0].Addr != l.Addr() {
					t.Errorf("events %q: %v", ranch.AcceptFailed, failed)
				}
				if recovered.Duration != 3*c.pause || recovered.Addr != l.Addr() {
					t.Errorf("recovered at %v after %v, not %v", recovered.Addr, recovered.Duration, 3*c.pause)
				}
				if n, _ := f.lastListener().inAccept(); n != 1 {
					t.Errorf("%d acceptors in accept", n)
				}
			})
		})
	}
}

// While descriptors are short, each connection that goes lets another in. That is one
// episode, however often accept succeeds in between; the next one is another.
func TestOneEpisodeOneWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 3}, greetAndReturn('!'))
		for episode := 1; episode <= 3; episode++ {
			begin := time.Now()
			for range 50 {
				f.lastListener().addScript(failWith(asAccept(syscall.EMFILE)))
				servedClients(t, f, dialAddr(l), 1)
				time.Sleep(100 * time.Millisecond)
			}
			lasted := time.Since(begin)
			if got := rec.count(ranch.AcceptFailed); got != episode {
				t.Fatalf("in episode %d there were %d events %q", episode, got, ranch.AcceptFailed)
			}
			if got := rec.count(ranch.AcceptRecovered); got != episode-1 {
				t.Fatalf("in episode %d there were %d events %q", episode, got, ranch.AcceptRecovered)
			}
			time.Sleep(time.Minute)
			got := rec.ofKind(ranch.AcceptRecovered)
			if len(got) != episode || got[episode-1].Duration > lasted {
				t.Fatalf("after episode %d of %v: events %q: %v", episode, lasted, ranch.AcceptRecovered, got)
			}
		}
	})
}

// Peers that fail one after the other are let go at once, but a socket that does nothing
// but fail is not a matter of peers: it may not spin.
func TestPeerFaultsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const faults = 3000
		f := &fakeTransport{script: repeated(faults, failWith(asAccept(syscall.ECONNABORTED)))}
		begin := time.Now()
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 10}, greetAndEcho)
		synctest.Wait()
		if _, calls := f.lastListener().inAccept(); calls < 1000 || calls > 1010 {
			t.Errorf("accept was called %d times without a pause", calls)
		}
		if got := rec.count(ranch.AcceptFailed); got != 1 {
			t.Errorf("%d events %q", got, ranch.AcceptFailed)
		}
		servedClients(t, f, dialAddr(l), 1)
		if got := time.Since(begin); got < 19*time.Second || got > 21*time.Second {
			t.Errorf("the last 2000 failures of 10 acceptors took %v, not 20s", got)
		}
		servedClients(t, f, dialAddr(l), 20)
		rec.wait(t, ranch.AcceptRecovered, 1)
		if got := l.Info().AcceptErrors; got != faults {
			t.Errorf("AcceptErrors is %d", got)
		}
	})
}

// Whoever suspends or stops a listener does not wait for its back-off, nor for a
// listening socket that cannot be opened again.
func TestBackOffIsInterrupted(t *testing.T) {
	for _, cause := range []struct {
		name string
		err  error
	}{{"rest", asAccept(syscall.EMFILE)}, {"reopen", net.ErrClosed}} {
		for _, by := range []struct {
			name string
			f    func(*ranch.Listener) error
		}{{"suspend", (*ranch.Listener).Suspend}, {"stop", (*ranch.Listener).Stop}} {
			t.Run(cause.name+" by "+by.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					full := true
					f := &fakeTransport{script: repeated(100, failWith(cause.err)), listen: func(n int) error {
						if n > 1 && full {
							return errTest
						}
						return nil
					}}
					l, _ := startListener(t, f, ranch.Options{}, greetAndEcho)
					time.Sleep(350 * time.Millisecond) // amid the pauses
					begin := time.Now()
					if err := by.f(l); err != nil {
						t.Fatal(err)
					}
					if got := time.Since(begin); got != 0 {
						t.Errorf("it took %v", got)
					}
					full = false
					if by.name == "suspend" {
						if err := l.Resume(); err != nil {
							t.Fatal(err)
						}
						servedClients(t, f, dialAddr(l), 20)
					}
				})
			})
		}
	}
}

// An acceptor that panics is started again, five times at once and then once a second:
// nothing spins, nobody's connection ends, and in the end all clients are served.
func TestAcceptorPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 12
		f := new(fakeTransport)
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 1, MaxConnections: 3}, greetAndEcho)
		before := servedClients(t, f, dialAddr(l), 1)[0]
		begin := time.Now()
		var panicked []time.Duration
		f.lastListener().addScript(repeated(n, func() error {
			panicked = append(panicked, time.Since(begin))
			panic(errTest)
		})...)
		synctest.Wait()
		before.checkEcho(t)
		servedClients(t, f, dialAddr(l), 2)
		newClient(t, f, dialAddr(l))
		synctest.Wait()
		if got := f.lastListener().queued(); got != 1 {
			t.Errorf("%d clients wait in the queue, not 1", got)
		}
		s := time.Second
		// After five seconds the first ones no longer count, and there are restarts at once again.
		want := []time.Duration{0, 0, 0, 0, 0, 0, 1 * s, 2 * s, 3 * s, 4 * s, 5 * s, 5 * s}
		if diff := cmp.Diff(want, panicked); diff != "" {
			t.Errorf("it panicked at (-want +got):\n%s", diff)
		}
		events := rec.ofKind(ranch.AcceptorPanicked)
		if len(events) != n {
			t.Fatalf("%d events %q", len(events), ranch.AcceptorPanicked)
		}
		var p *protocol.PanicError
		if !errors.As(events[0].Err, &p) || !errors.Is(p, errTest) || len(p.Stack) == 0 {
			t.Errorf("the event's error is %#v", events[0].Err)
		}
		if n := rec.count(ranch.AcceptorStopped); n != 0 {
			t.Errorf("%d acceptors stopped", n)
		}
	})
}

// A stop does not wait for the pause of an acceptor that panics all the time.
func TestStopWhileAcceptorsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTransport{script: repeated(1000, panicWith("again"))}
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 4}, greetAndEcho)
		time.Sleep(2500 * time.Millisecond)
		begin := time.Now()
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != 0 {
			t.Errorf("it took %v", got)
		}
		if n := rec.count(ranch.AcceptorStopped); n != 4 {
			t.Errorf("%d of 4 acceptors stopped", n)
		}
	})
}

// No error ends a listener silently, in whatever order they come.
func TestNoErrorEndsAListener(t *testing.T) {
	kinds := []acceptStep{
		failWith(asAccept(syscall.ECONNABORTED)), failWith(asAccept(syscall.EMFILE)), failWith(asAccept(syscall.ENOMEM)),
		failWith(net.ErrClosed), failWith(errors.New("never seen before")), panicWith("boo"), func() error { return nil },
	}
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.IntRange(0, len(kinds)-1), 0, 40).Draw(rt, "plan")
		acceptors := rapid.IntRange(1, 4).Draw(rt, "acceptors")
		synctest.Test(t, func(t *testing.T) {
			f := new(fakeTransport)
			l, rec := startListener(t, f, ranch.Options{NumAcceptors: acceptors, MaxConnections: 5}, greetAndEcho)
			for _, k := range plan {
				f.lastListener().addScript(kinds[k])
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(time.Minute) // all of it has happened, and is over
			servedClients(t, f, dialAddr(l), 5)
			newClient(t, f, dialAddr(l))
			synctest.Wait()
			if got := l.Info(); f.lastListener().queued() != 1 || got.PeakConnections != 5 || got.WaitingAcceptors != acceptors {
				t.Errorf("plan %v: %d in the queue; %s", plan, f.lastListener().queued(), pretty(got))
			}
			if failed, over := rec.count(ranch.AcceptFailed), rec.count(ranch.AcceptRecovered)+rec.count(ranch.SocketReopened); failed > over {
				t.Errorf("plan %v: %d episodes began, %d ended", plan, failed, over)
			}
		})
	})
}
