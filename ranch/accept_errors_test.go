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

	"pgregory.net/rapid"

	"goranch/ranch"
)

// asAccept returns an error as package net wraps it.
func asAccept(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "fake", Err: os.NewSyscallError("accept4", errno)}
}

// After each error of accept: the time until the next try, and whether an event reports it. The
// next client is served.
func TestAcceptErrors(t *testing.T) {
	const atOnce, pause = 0, 100 * time.Millisecond
	for _, c := range []struct {
		err      error
		pause    time.Duration
		reported bool
	}{
		// Faults of one peer.
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
		// The system lacks a resource.
		{asAccept(syscall.EMFILE), pause, true},
		{asAccept(syscall.ENFILE), pause, true},
		{asAccept(syscall.ENOBUFS), pause, true},
		{asAccept(syscall.ENOMEM), pause, true},
		// Unknown errors.
		{asAccept(syscall.EINVAL), pause, true},
		{errors.New("never seen before"), pause, true},
		{io.EOF, pause, true},
		{os.ErrDeadlineExceeded, pause, true}, // without an interrupt
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeTransport{script: repeated(3, failWith(c.err))}
				begin := time.Now()
				l, rec := startListener(t, f, ranch.Options{NumAcceptors: 1}, greetAndEcho)
				servedClients(t, f, dialAddr(l), 1)
				if got := time.Since(begin); got != 3*c.pause {
					t.Errorf("after 3 errors: got a client served at %v, want %v", got, 3*c.pause)
				}
				if got := l.Info().AcceptErrors; got != 3 {
					t.Errorf("AcceptErrors: got %d, want 3", got)
				}
				if !c.reported {
					time.Sleep(time.Minute)
					if got := rec.ofKind(ranch.AcceptFailed, ranch.AcceptRecovered, ranch.SocketReopened); got != nil {
						t.Errorf("got events %v, want none", got)
					}
					return
				}
				recovered := rec.wait(t, ranch.AcceptRecovered, 1)[0]
				failed := rec.ofKind(ranch.AcceptFailed)
				if len(failed) != 1 || failed[0].Err != c.err || failed[0].Addr != l.Addr() {
					t.Errorf("events %q: got %v, want 1 of %v", ranch.AcceptFailed, failed, c.err)
				}
				if recovered.Duration != 3*c.pause || recovered.Addr != l.Addr() {
					t.Errorf("recovered: got %v at %v, want %v", recovered.Duration, recovered.Addr, 3*c.pause)
				}
				if n, _ := f.lastListener().inAccept(); n != 1 {
					t.Errorf("got %d acceptors in accept, want 1", n)
				}
			})
		})
	}
}

// While descriptors are short, each connection that ends lets another one in. That is one episode,
// although accept succeeds in between.
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
				t.Fatalf("in episode %d: got %d events %q, want %[1]d", episode, got, ranch.AcceptFailed)
			}
			if got := rec.count(ranch.AcceptRecovered); got != episode-1 {
				t.Fatalf("in episode %d: got %d events %q, want %d", episode, got, ranch.AcceptRecovered, episode-1)
			}
			time.Sleep(time.Minute)
			got := rec.ofKind(ranch.AcceptRecovered)
			if len(got) != episode || got[episode-1].Duration > lasted {
				t.Fatalf("after episode %d of %v: got events %q %v, want %[1]d", episode, lasted, ranch.AcceptRecovered, got)
			}
		}
	})
}

// Faults of peers are retried at once, but a socket on which accept always fails does not make the
// acceptors spin.
func TestEndlessPeerFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const faults = 3000
		f := &fakeTransport{script: repeated(faults, failWith(asAccept(syscall.ECONNABORTED)))}
		begin := time.Now()
		l, rec := startListener(t, f, ranch.Options{NumAcceptors: 10}, greetAndEcho)
		synctest.Wait()
		if _, calls := f.lastListener().inAccept(); calls < 1000 || calls > 1010 {
			t.Errorf("got %d calls of accept without a pause, want 1000 to 1010", calls)
		}
		if got := rec.count(ranch.AcceptFailed); got != 1 {
			t.Errorf("got %d events %q, want 1", got, ranch.AcceptFailed)
		}
		servedClients(t, f, dialAddr(l), 1)
		if got := time.Since(begin); got < 19*time.Second || got > 21*time.Second {
			t.Errorf("the last 2000 failures of 10 acceptors: got %v, want 20s", got)
		}
		servedClients(t, f, dialAddr(l), 20)
		rec.wait(t, ranch.AcceptRecovered, 1)
		if got := l.Info().AcceptErrors; got != faults {
			t.Errorf("AcceptErrors: got %d, want %d", got, faults)
		}
	})
}

// Suspend and Stop do not wait for a back-off, nor for a listening socket that cannot be reopened.
func TestBackOffIsInterrupted(t *testing.T) {
	for _, cause := range []struct {
		name string
		err  error
	}{{"back off", asAccept(syscall.EMFILE)}, {"reopen", net.ErrClosed}} {
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
					time.Sleep(350 * time.Millisecond) // during the pauses
					begin := time.Now()
					if err := by.f(l); err != nil {
						t.Fatal(err)
					}
					if got := time.Since(begin); got != 0 {
						t.Errorf("got %v, want 0", got)
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

// No sequence of errors ends a listener.
func TestNoErrorEndsAListener(t *testing.T) {
	kinds := []acceptStep{
		failWith(asAccept(syscall.ECONNABORTED)), failWith(asAccept(syscall.EMFILE)), failWith(asAccept(syscall.ENOMEM)),
		failWith(net.ErrClosed), failWith(errors.New("never seen before")), panicWith("test"), func() error { return nil },
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
			time.Sleep(time.Minute) // all episodes are over
			servedClients(t, f, dialAddr(l), 5)
			newClient(t, f, dialAddr(l))
			synctest.Wait()
			if got := l.Info(); f.lastListener().queued() != 1 || got.PeakConnections != 5 || got.WaitingAcceptors != acceptors {
				t.Errorf("plan %v: got %d clients in the queue, %s, want 1 and a peak of 5", plan, f.lastListener().queued(), pretty(got))
			}
			if failed, over := rec.count(ranch.AcceptFailed), rec.count(ranch.AcceptRecovered)+rec.count(ranch.SocketReopened); failed > over {
				t.Errorf("plan %v: got %d episodes begun and %d ended, want as many", plan, failed, over)
			}
		})
	})
}
