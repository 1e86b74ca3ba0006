package idle_test

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goranch/internal/idle"
)

// session is a connection that stays registered. Each event is handled by ready, or by woken in a
// goroutine.
type session struct {
	*conn
	inline       *idle.InlinePolicy
	ready, woken atomic.Value // of func()
	more         bool         // Lead.More of the last event
}

func (s *session) Wake() { go s.woken.Load().(func())() }
func (s *session) Ready(l *idle.Lead) {
	s.more = l.More
	s.ready.Load().(func())()
}

// park parks the connection. If there was another event, it first reads what that reported.
func (s *session) park(tb testing.TB) {
	tb.Helper()
	for tries := 0; !s.reads.Park(s.raw, s, s.inline) && !s.reads.Closed(); tries++ {
		if tries == 100 {
			tb.Error("Park: got false a hundred times, want true")
			return
		}
		s.discard()
	}
}

// discard reads what has arrived, without waiting.
func (c *conn) discard() {
	c.raw.Control(func(fd uintptr) {
		for {
			if n, err := unix.Read(int(fd), make([]byte, 100)); n <= 0 && err != unix.EINTR {
				return
			}
		}
	})
}

// await waits for a value.
func await[T any](tb testing.TB, c <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		tb.Fatal("got nothing within 20 s")
	}
	return v
}

// newSession returns a parked connection whose events are sent to a channel after they were read.
func newSession(tb testing.TB, inline *idle.InlinePolicy) (s *session, ready, woken chan struct{}) {
	tb.Helper()
	s = &session{conn: newConn(tb), inline: inline}
	ready, woken = make(chan struct{}, 100), make(chan struct{}, 100)
	s.ready.Store(func() { s.discard(); s.park(tb); ready <- struct{}{} })
	s.woken.Store(func() { woken <- struct{}{} })
	s.park(tb)
	return s, ready, woken
}

func (c *conn) send(n int) {
	for range n {
		c.client.Write([]byte("x"))
	}
}

// A connection that stays registered is read by the lead for each event, and no goroutine is
// started.
func TestReady(t *testing.T) {
	s, ready, woken := newSession(t, new(idle.InlinePolicy))
	for range 100 {
		s.send(1)
		await(t, ready)
	}
	if n := len(woken); n != 0 {
		t.Errorf("got %d calls of Wake, want 0", n)
	}
}

// While the lead is stuck in a callback, another one handles the events of other connections, and
// events of the connection itself are not lost.
func TestStuckLead(t *testing.T) {
	inline := new(idle.InlinePolicy)
	var others []*session
	var answered []chan struct{}
	for range 4 * runtime.GOMAXPROCS(0) { // some of them have the lead that is stuck
		s, ready, _ := newSession(t, inline)
		others, answered = append(others, s), append(answered, ready)
	}
	release, stuck := make(chan struct{}), make(chan struct{})
	s, ready, _ := newSession(t, new(idle.InlinePolicy))
	quick := s.ready.Load().(func())
	s.ready.Store(func() { close(stuck); <-release; s.ready.Store(quick); quick() })
	s.send(1)
	await(t, stuck)
	for i, o := range others {
		o.send(1)
		await(t, answered[i])
	}
	s.send(1) // an event while the connection is being read
	for i := range others {
		others[i].send(1)
		await(t, answered[i])
	}
	close(release)
	await(t, ready)
	s.send(1)
	await(t, ready)
}

// A callback that ends the goroutine does not end the lead.
func TestGoexitOfLead(t *testing.T) {
	s, ready, _ := newSession(t, new(idle.InlinePolicy))
	quick := s.ready.Load().(func())
	s.ready.Store(func() { s.ready.Store(quick); quick(); runtime.Goexit() })
	for range 3 {
		s.send(1)
		await(t, ready)
	}
}

// A connection that its goroutine reads is not reported for each event, and can be parked again.
func TestReadingStaysUnregistered(t *testing.T) {
	s, ready, _ := newSession(t, new(idle.InlinePolicy))
	again := make(chan struct{})
	quick := s.ready.Load().(func())
	s.ready.Store(func() {
		go func() { // as after Wake: the goroutine reads on
			for range 100 {
				s.read()
			}
			s.ready.Store(quick)
			s.park(t)
			close(again)
		}()
	})
	for range 100 {
		s.send(1)
		time.Sleep(10 * time.Microsecond)
	}
	await(t, again)
	s.send(1)
	await(t, ready)
}

// A goroutine that was interrupted for parking need not have read what an event has reported: it is
// reported again.
func TestRequestWithUnreadData(t *testing.T) {
	s, ready, _ := newSession(t, new(idle.InlinePolicy))
	quick := s.ready.Load().(func())
	parked := make(chan struct{})
	s.ready.Store(func() {
		go func() { // as after Wake
			s.ready.Store(quick)
			s.interrupt(t)
			s.park(t)
			close(parked)
		}()
	})
	s.send(1)
	await(t, parked)
	await(t, ready)
}

// A read ends at urgent data, as telnet sends it, so one read is not all.
func TestUrgentData(t *testing.T) {
	for _, urgent := range []bool{false, true} {
		s := &session{conn: newConn(t), inline: new(idle.InlinePolicy)}
		s.send(1)
		if urgent {
			raw, err := s.client.(syscall.Conn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
			if err != nil {
				t.Fatal(err)
			}
			s.send(1)
			s.raw.Control(func(fd uintptr) {
				_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, 20_000)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		ready := make(chan struct{})
		s.ready.Store(func() { s.discard(); close(ready) })
		if !s.reads.Park(s.raw, s, s.inline) {
			t.Fatal("Park: got false, want true")
		}
		await(t, ready)
		if s.more != urgent {
			t.Errorf("urgent %v: got More %v, want %v", urgent, s.more, urgent)
		}
	}
}

// Protocols whose callbacks are slow get goroutines for a while.
func TestSlowCallbacks(t *testing.T) {
	var slow atomic.Bool
	slow.Store(true)
	s, ready, woken := newSession(t, new(idle.InlinePolicy))
	quick := s.ready.Load().(func())
	s.ready.Store(func() {
		if slow.Load() {
			time.Sleep(time.Millisecond)
		}
		quick()
	})
	s.woken.Store(func() { s.discard(); s.park(t); woken <- struct{}{} })
	// next sends until an event is handled by the lead, or by a goroutine, and returns how many the
	// other has handled.
	next := func(want, other chan struct{}) (n int) {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); n++ {
			s.send(1)
			select {
			case <-want:
				return n
			case <-other:
			}
		}
		t.Fatal("got no change within 20 s, want one")
		return n
	}
	if n := next(woken, ready); n < 4 {
		t.Errorf("got a goroutine after %d slow events, want after 4", n)
	}
	slow.Store(false)
	next(ready, woken)
}

// Stop, a deadline and Close wake a connection that stays registered, or have Park return false if
// it is being read.
func TestReadyIsWithdrawn(t *testing.T) {
	for name, f := range map[string]func(c *conn){
		"deadline": func(c *conn) { c.reads.SetDeadline(c.Conn, time.Now().Add(time.Hour)) },
		"stop":     func(c *conn) { c.reads.Stop(c.Conn, errStopped) },
		"close":    func(c *conn) { c.close() },
		"suspend":  func(c *conn) { c.reads.Suspend(c.Conn, true) },
	} {
		t.Run(name, func(t *testing.T) {
			s, ready, woken := newSession(t, new(idle.InlinePolicy))
			s.send(1)
			await(t, ready)
			f(s.conn)
			await(t, woken)

			s, _, woken = newSession(t, new(idle.InlinePolicy))
			parked := make(chan bool)
			s.ready.Store(func() { f(s.conn); parked <- s.reads.Park(s.raw, s, s.inline) })
			s.send(1)
			if await(t, parked) || len(woken) != 0 {
				t.Errorf("Park while being read: got true or a wake-up, want false")
			}
		})
	}
}
