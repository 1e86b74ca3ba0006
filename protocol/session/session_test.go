package session_test

import (
	"context"
	"errors"
	"math/big"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/protocol/session"
)

func TestOutputWaitsForWhoComesBack(t *testing.T) {
	tests := []struct {
		name string
		max  int
		out  []string
		want []string
		lost int
	}{
		{"nothing", 0, nil, []string{}, 0},
		{"in order, as given", 0, []string{"a", "bc", "def"}, []string{"a", "bc", "def"}, 0},
		{"empty is nothing", 0, []string{"a", "", "b"}, []string{"a", "b"}, 0},
		{"exactly the bound", 4, []string{"ab", "cd"}, []string{"ab", "cd"}, 0},
		{"whole pieces go, the oldest first", 4, []string{"abc", "d", "e"}, []string{"d", "e"}, 3},
		{"a piece that is too large", 4, []string{"ab", "cdefg", "h"}, []string{"h"}, 7},
		{"a long one over many", 4, []string{"a", "b", "c", "defg"}, []string{"defg"}, 3},
		{"none is kept", -1, []string{"a", "b"}, []string{}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := begin(t, session.Options[state]{MaxOutput: tt.max})
			l := create(t, m, newClient())
			do(t, l.Detach())
			for _, s := range tt.out {
				do(t, l.Session().Output([]byte(s)))
			}
			c := newClient()
			again := attach(t, m, l.ID(), c)
			do(t, again.Output([]byte("new")))
			if diff := cmp.Diff(append(tt.want, "new"), c.pieces()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]int{tt.lost}, c.lost); diff != "" {
				t.Error("lost:", diff)
			}
			if got := m.Stats().OutputDropped; got != uint64(tt.lost) {
				t.Errorf("Stats say %d bytes were dropped", got)
			}
			do(t, again.Detach())
			c = newClient()
			attach(t, m, l.ID(), c)
			if len(c.got) > 0 || c.lost[0] != 0 {
				t.Errorf("delivered twice: %q, lost %v", c.got, c.lost)
			}
		})
	}
}

func TestWhatAHolderRefusesIsKept(t *testing.T) {
	m := begin(t, session.Options[state]{MaxOutput: 3})
	first := newClient()
	first.limit = 1
	l := create(t, m, first)
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		do(t, l.Output([]byte(s)))
	}
	second := newClient()
	second.limit = 1
	attach(t, m, l.ID(), second)
	third := newClient()
	attach(t, m, l.ID(), third)
	got := [][]string{first.pieces(), second.pieces(), third.pieces()}
	if diff := cmp.Diff([][]string{{"a"}, {"c"}, {"d", "e"}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]int{{1}, {0}}, [][]int{second.lost, third.lost}); diff != "" {
		t.Error("lost:", diff)
	}
}

// moody refuses its first piece only.
type moody struct {
	*client
	refused bool
}

func (c *moody) Deliver(b []byte) error {
	if !c.refused {
		c.refused = true
		return errFull
	}
	return c.client.Deliver(b)
}

// A piece that was refused is not overtaken by those after it.
func TestAHolderThatRefusedGetsNoMore(t *testing.T) {
	m := begin(t, session.Options[state]{})
	c, next := &moody{client: newClient()}, newClient()
	l := create(t, m, c)
	do(t, l.Output([]byte("a")), l.Output([]byte("b")))
	attach(t, m, l.ID(), next)
	if diff := cmp.Diff([][]string{{}, {"a", "b"}}, [][]string{c.pieces(), next.pieces()}); diff != "" {
		t.Error(diff)
	}
}

func TestLeases(t *testing.T) {
	use := func(l *session.Lease[state]) []error {
		return []error{l.Do(func(*state) {}), l.View(func(*state) {}), l.Output([]byte("x")), l.Sync(context.Background()), l.Detach(), l.End()}
	}
	tests := []struct {
		name  string
		after func(t *testing.T, m *session.Manager[state], l *session.Lease[state])
		want  error
	}{
		{"taken over", func(t *testing.T, m *session.Manager[state], l *session.Lease[state]) {
			attach(t, m, l.ID(), newClient())
		}, session.ErrStale},
		{"detached", func(t *testing.T, m *session.Manager[state], l *session.Lease[state]) { do(t, l.Detach()) }, session.ErrStale},
		{"ended", func(t *testing.T, m *session.Manager[state], l *session.Lease[state]) { do(t, l.End()) }, session.ErrUnknown},
		{"ended by another", func(t *testing.T, m *session.Manager[state], l *session.Lease[state]) { do(t, m.End(l.ID())) }, session.ErrUnknown},
		{"closed", func(t *testing.T, m *session.Manager[state], l *session.Lease[state]) {
			do(t, m.Close(context.Background()))
		}, session.ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := begin(t, session.Options[state]{})
			l := create(t, m, newClient())
			tt.after(t, m, l)
			for i, err := range use(l) {
				if err != tt.want {
					t.Errorf("method %d: %v, want %v", i, err, tt.want)
				}
			}
		})
	}
}

func TestTakeover(t *testing.T) {
	m := begin(t, session.Options[state]{})
	old, c := newClient(), newClient()
	l := create(t, m, old)
	do(t, l.Do(func(s *state) { s.N = 7 }), l.Output([]byte("1")))
	again := attach(t, m, l.ID(), c)
	if by := <-old.taken; by.String() != addr(2).String() {
		t.Errorf("taken over by %v", by)
	}
	do(t, l.Session().Output([]byte("2")))
	n := 0
	do(t, again.View(func(s *state) { n = s.N }))
	if n != 7 || again.Generation() != 2 || len(old.pieces()) != 1 || len(c.pieces()) != 1 {
		t.Errorf("state %d, generation %d, output %q and %q", n, again.Generation(), old.pieces(), c.pieces())
	}
	want := session.Stats{Attached: 1, Created: 1, Resumed: 1, TakenOver: 1}
	if diff := cmp.Diff(want, m.Stats()); diff != "" {
		t.Error(diff)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over []string
		m, err := session.New(session.Options[state]{TTL: time.Minute, Max: 2, OnEnd: func(s *session.Session[state]) { over = append(over, s.ID()) }})
		do(t, err)
		defer m.Close(t.Context())
		stays, goes := create(t, m, newClient()), create(t, m, newClient())
		do(t, goes.Detach())
		if _, err := m.Create(t.Context(), addr(1), newClient(), state{}); err != session.ErrTooMany {
			t.Errorf("a third: %v", err)
		}
		time.Sleep(time.Minute - 1)
		goes = attach(t, m, goes.ID(), newClient())
		do(t, goes.Detach())
		time.Sleep(time.Minute)
		if _, err := m.Attach(t.Context(), goes.ID(), addr(3), newClient()); err != session.ErrUnknown {
			t.Errorf("Attach when it has expired: %v", err)
		}
		if n := len(m.List()); n != 1 {
			t.Errorf("List has %d", n)
		}
		do(t, stays.Output([]byte("x")))
		create(t, m, newClient()) // has room at once
		if diff := cmp.Diff([]string{goes.ID()}, over); diff != "" {
			t.Error(diff)
		}
		<-goes.Session().Done()
		if s := m.Stats(); s.Expired != 1 || s.Attached != 2 || s.Detached != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// The sweeper comes by itself, within a second or an eighth of the time to live.
func TestSweeping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Options[state]{TTL: time.Second})
		do(t, err)
		defer m.Close(t.Context())
		for range 100 {
			do(t, create(t, m, newClient()).Detach())
		}
		time.Sleep(time.Second * 9 / 8)
		synctest.Wait()
		if s := m.Stats(); s.Expired != 100 || s.Detached != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Goroutines are there only while they have something to do, without Close too.
func TestGoroutinesEnd(t *testing.T) {
	running := func() string {
		synctest.Wait()
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		is := ""
		for _, name := range []string{"sweep", "flush"} {
			if regexp.MustCompile(`\(\*Manager\[.*\]\)\.` + name + `\(`).Match(all) {
				is += name + " "
			}
		}
		return is
	}
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Options[state]{Store: newDisk()})
		do(t, err)
		defer m.Close(t.Context())
		l := create(t, m, newClient())
		time.Sleep(time.Second)
		got := []string{running()}
		do(t, l.Detach())
		synctest.Wait() // it is saved at once
		got = append(got, running())
		attach(t, m, l.ID(), newClient())
		got = append(got, running())
		time.Sleep(time.Second)
		got = append(got, running())
		if diff := cmp.Diff([]string{"", "sweep ", "flush ", ""}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Options[state]{TTL: -1})
		do(t, err)
		defer m.Close(t.Context())
		l := create(t, m, newClient())
		do(t, l.Detach())
		time.Sleep(1000 * time.Hour)
		if i := m.List()[0]; !i.Expires.IsZero() || i.Attached {
			t.Errorf("%+v", i)
		}
		attach(t, m, l.ID(), newClient())
	})
}

func TestUnknownIDs(t *testing.T) {
	ended := begin(t, session.Options[state]{})
	l := create(t, ended, newClient())
	do(t, l.End())
	foreign := create(t, begin(t, session.Options[state]{}), newClient()).ID()
	for _, id := range []string{"", "0", l.ID(), foreign, "\x00", "ÿ", strings.Repeat("9", 200), strings.Repeat("9", 1<<20)} {
		if _, err := ended.Attach(t.Context(), id, nil, newClient()); err != session.ErrUnknown {
			t.Errorf("%.20q: %v", id, err)
		}
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Options[state]{})
		do(t, err)
		defer m.Close(t.Context())
		l := create(t, m, newClient())
		unknown := 0
		for range 100 {
			if _, err = m.Attach(t.Context(), "1", addr(unknown), newClient()); err == session.ErrUnknown {
				unknown++
			}
		}
		if unknown > 20 || err != session.ErrTooManyAttempts {
			t.Errorf("%d attempts, then %v", unknown, err)
		}
		if _, err := m.Attach(t.Context(), l.ID(), addr(5), newClient()); err != session.ErrTooManyAttempts {
			t.Errorf("the right one, from there: %v", err)
		}
		if _, err := m.Attach(t.Context(), l.ID(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)}, newClient()); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
		if s := m.Stats(); s.Refused != 101 {
			t.Errorf("%+v", s)
		}
	})
}

func TestEndIsTold(t *testing.T) {
	m := begin(t, session.Options[state]{})
	c := newClient()
	l := create(t, m, c)
	done := l.Session().Done()
	do(t, m.End(l.ID()))
	<-done
	<-c.closed
	<-l.Session().Done() // asked afterwards, too
	if err := m.End(l.ID()); err != session.ErrUnknown {
		t.Error(err)
	}
}

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	long := 0
	for range 1000 {
		id, err := session.RandomID(nil)
		do(t, err)
		n, ok := new(big.Int).SetString(id, 10)
		if !ok || n.BitLen() > 128 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		if n.BitLen() > 126 {
			long++
		}
	}
	if long < 600 {
		t.Errorf("%d of 1000 use the upper bits", long)
	}
	tests := []struct{ addr, want string }{
		{"127.0.0.1:8080", djb("127.0.0.1:8080")}, {"", "5381"}, {"a", "177670"},
	}
	for _, tt := range tests {
		if id, err := session.DJBID(text(tt.addr)); id != tt.want || err != nil {
			t.Errorf("DJBID(%q) = %q, %v, want %s", tt.addr, id, err, tt.want)
		}
	}
	if _, err := session.DJBID(nil); err == nil {
		t.Error("an id of no address")
	}
}

type text string

func (text) Network() string  { return "test" }
func (a text) String() string { return string(a) }

// djb goes by the definition, in numbers without limit.
func djb(s string) string {
	h := big.NewInt(5381)
	for _, b := range []byte(s) {
		h.Add(h.Mul(h, big.NewInt(33)), big.NewInt(int64(b)))
	}
	return h.Mod(h, big.NewInt(1<<32)).String()
}

func TestNewIDs(t *testing.T) {
	m := begin(t, session.Options[state]{NewID: session.DJBID})
	a, b := create(t, m, newClient()), create(t, m, newClient())
	if a.ID() != djb(addr(1).String()) || len(b.ID()) < 20 {
		t.Errorf("%s, and when that is taken %s", a.ID(), b.ID())
	}
	broken := errors.New("broken")
	for id, fault := range map[string]error{"x": broken, "": nil, strings.Repeat("x", 129): nil} {
		m := begin(t, session.Options[state]{NewID: func(net.Addr) (string, error) { return id, fault }})
		if _, err := m.Create(t.Context(), nil, newClient(), state{}); err == nil || fault != nil && !errors.Is(err, fault) {
			t.Errorf("id %.5q: %v", id, err)
		}
		if diff := cmp.Diff(session.Stats{}, m.Stats()); diff != "" {
			t.Error(diff)
		}
	}
}

// MakeRoom ends who has been away for the longest time, never somebody who is there.
func TestMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Options[state]{Max: 3, MakeRoom: true})
		do(t, err)
		defer m.Close(t.Context())
		a, b, c := create(t, m, newClient()), create(t, m, newClient()), create(t, m, newClient())
		if _, err := m.Create(t.Context(), nil, newClient(), state{}); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("all are attached: %v", err)
		}
		do(t, b.Detach())
		time.Sleep(time.Second)
		do(t, a.Detach())
		do(t, c.Detach())
		attach(t, m, b.ID(), newClient())
		create(t, m, newClient())
		if _, err := m.Attach(t.Context(), a.ID(), nil, newClient()); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("it was to go: %v", err)
		}
		attach(t, m, c.ID(), newClient())
		if st := m.Stats(); st.Evicted != 1 || st.Refused == 0 || st.Attached != 3 {
			t.Errorf("%+v", st)
		}
	})
}
