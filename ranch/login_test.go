package ranch_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// loginHandler answers "login" by "welcome", which ends the login phase, and echoes other lines.
type loginHandler struct{}

func (loginHandler) HandleData(p *protocol.Peer, line []byte) protocol.Action {
	if string(line) == "login" {
		p.Conn().Established()
		p.Conn().Established() // has no effect
		line = []byte("welcome")
	}
	if err := p.Send(line); err != nil {
		return protocol.Fail(err)
	}
	return protocol.Continue()
}

// loginProtocol is a protocol of loginHandler that has a rejection message.
type loginProtocol struct{ protocol.Protocol }

func newLoginProtocol() protocol.Protocol {
	return loginProtocol{protocol.Handle(func() protocol.Handler { return loginHandler{} }, protocol.Options{Codec: protocol.Lines{}})}
}

// Unwrap lets connections be parked.
func (l loginProtocol) Unwrap() protocol.Protocol { return l.Protocol }

func (loginProtocol) Refuse(_ context.Context, conn *transport.Conn, why error) {
	fmt.Fprintln(conn, why)
}

// newLongLines is newLoginProtocol for lines of any length.
func newLongLines() protocol.Protocol {
	return protocol.Handle(func() protocol.Handler { return loginHandler{} }, protocol.Options{Codec: protocol.Lines{Max: 1 << 30}})
}

// sleepyHandler is a loginHandler whose callbacks take a while.
type sleepyHandler struct {
	loginHandler
	time.Duration
}

func (h sleepyHandler) HandleData(p *protocol.Peer, line []byte) protocol.Action {
	time.Sleep(h.Duration)
	return h.loginHandler.HandleData(p, line)
}

func newSleepyLines(d time.Duration) protocol.Protocol {
	return protocol.Handle(func() protocol.Handler { return sleepyHandler{Duration: d} }, protocol.Options{Codec: protocol.Lines{}})
}

// lineClient is a client that exchanges lines.
type lineClient struct {
	net.Conn
	r *bufio.Reader
}

func dialLines(t testing.TB, tr transport.Transport, addr string) *lineClient {
	t.Helper()
	nc, err := tr.Dial(testContext(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &lineClient{nc, bufio.NewReader(nc)}
}

// exchange sends a line and returns the answer.
func (c *lineClient) exchange(line string) (string, error) {
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	return c.r.ReadString('\n')
}

// wantAnswer checks the answer to a line.
func (c *lineClient) wantAnswer(t testing.TB, line, want string) {
	t.Helper()
	if got, err := c.exchange(line); err != nil || got != want+"\n" {
		t.Errorf("answer to %q: got %q, %v, want %q", line, got, err, want)
	}
}

// Clients that never log in hold all places of the login phase: established clients are not
// affected, new ones are refused, and get in when the silent ones have reached the LoginTimeout.
func TestLoginsThatNeverEnd(t *testing.T) {
	const places, silent, timeout = 50, 500, 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l, rec := startListener(t, mem, ranch.Options{Addr: "login", MaxConnections: 1000,
			Limits: conns.Limits{LoginTimeout: timeout, MaxUnestablished: places}}, newLoginProtocol())
		member := dialLines(t, mem, "login")
		member.wantAnswer(t, "login", "welcome")
		var waiting []*lineClient
		for range silent {
			waiting = append(waiting, dialLines(t, mem, "login"))
		}
		synctest.Wait()
		if i := l.Info(); i.Unestablished != places || i.Serving+i.Parked != places+1 || i.Reasons[conns.RefusedUnestablished] != silent-places {
			t.Fatalf("got %s, want %d in the login phase, %d refused", pretty(i), places, silent-places)
		}
		messages := 0
		for _, c := range waiting { // which of them were refused depends on the scheduler
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if got, _ := io.ReadAll(c); string(got) == conns.RefusedUnestablished.Error()+"\n" {
				messages++
			}
			c.SetReadDeadline(time.Time{})
		}
		if messages != silent-places {
			t.Errorf("got %d rejection messages, want %d", messages, silent-places)
		}
		member.wantAnswer(t, "still here", "still here")
		for n, i := range l.Connections() {
			if want := map[bool]string{true: "serving", false: "login"}[n == 0]; i.State() != want {
				t.Errorf("connection %d: got the state %q, want %q", n, i.State(), want)
			}
		}
		time.Sleep(timeout - 2*time.Second)
		if n := rec.count(ranch.ConnEnded); n != silent-places {
			t.Errorf("before the timeout: got %d ends, want %d", n, silent-places)
		}
		time.Sleep(4 * time.Second)
		if i := l.Info(); i.Reasons[conns.LoginTimeout] != places || i.Unestablished != 0 {
			t.Errorf("after the timeout: got %s, want %d logins timed out", pretty(i), places)
		}
		dialLines(t, mem, "login").wantAnswer(t, "login", "welcome")
		time.Sleep(time.Hour)
		member.wantAnswer(t, "an hour later", "an hour later")
	})
}

// The rejection message reaches a client on every transport, after its handshake.
func TestRefuseUnestablished(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		l, rec := m.startListener(t, ranch.Options{Limits: conns.Limits{MaxUnestablished: 1}}, rejecting{greetAndEcho})
		in := m.servedClients(t, l, 1)
		v := m.newClient(t, l).waitServed(t)
		v.nc.SetReadDeadline(time.Now().Add(testTimeout))
		if got, err := io.ReadAll(v.nc); err != nil || string(got) != conns.RefusedUnestablished.Error() {
			t.Errorf("rejection message: got %q, %v, want %v", got, err, conns.RefusedUnestablished)
		}
		if e := rec.wait(t, ranch.ConnEnded, 1)[0]; e.Reason != conns.RefusedUnestablished {
			t.Errorf("got reason %v, want %v", e.Reason, conns.RefusedUnestablished)
		}
		in[0].close()
		waitUntil(t, "a free place", func() bool { return l.Info().Unestablished == 0 })
		m.newClient(t, l).waitServed(t).checkEcho(t)
	})
}

// Without limits, a protocol that never calls Established is not affected, and nothing is shown.
// The limits count the connections that were accepted before they were set.
func TestLoginLimitsAreSetLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(transport.Mem)
		l, rec := startListener(t, mem, ranch.Options{Addr: "login"}, newLoginProtocol())
		member, silent := dialLines(t, mem, "login"), dialLines(t, mem, "login")
		member.wantAnswer(t, "login", "welcome")
		time.Sleep(time.Hour)
		if i := l.Info(); i.Unestablished != 0 || rec.count(ranch.ConnEnded) != 0 || l.Connections()[1].State() != "serving" {
			t.Errorf("without limits: got %s, want none in the login phase", pretty(i))
		}
		change := func(f func(o *ranch.Options)) {
			if _, err := l.ChangeOptions(f); err != nil {
				t.Fatal(err)
			}
		}
		change(func(o *ranch.Options) { o.MaxUnestablished = 1 })
		if i := l.Info(); i.Unestablished != 1 {
			t.Errorf("with MaxUnestablished: got %s, want 1 in the login phase", pretty(i))
		}
		if _, err := dialLines(t, mem, "login").exchange("login"); err == nil {
			t.Log("the rejection message was read as an answer")
		}
		synctest.Wait()
		if n := l.Info().Reasons[conns.RefusedUnestablished]; n != 1 {
			t.Errorf("got %d refused, want 1", n)
		}
		change(func(o *ranch.Options) { o.LoginTimeout = time.Minute })
		if _, err := silent.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("silent client: got %v, want %v", err, io.EOF)
		}
		synctest.Wait()
		if n := l.Info().Reasons[conns.LoginTimeout]; n != 1 {
			t.Errorf("got %d logins timed out, want 1", n)
		}
		member.wantAnswer(t, "still here", "still here")
	})
}

// A group of listeners counts the login phases of all of them.
func TestSharedMaxUnestablished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, err := conns.NewShared(conns.SharedLimits{MaxUnestablished: 1})
		if err != nil {
			t.Fatal(err)
		}
		mem := new(transport.Mem)
		for _, addr := range []string{"a", "b"} {
			startListener(t, mem, ranch.Options{Addr: addr, Shared: shared}, newLoginProtocol())
		}
		a := dialLines(t, mem, "a")
		synctest.Wait()
		if n := shared.State().Unestablished; n != 1 {
			t.Errorf("got %d in the login phase, want 1", n)
		}
		if got, _ := io.ReadAll(dialLines(t, mem, "b")); string(got) != conns.RefusedUnestablished.Error()+"\n" {
			t.Errorf("rejection message: got %q, want %q", got, conns.RefusedUnestablished)
		}
		a.wantAnswer(t, "login", "welcome")
		dialLines(t, mem, "b").wantAnswer(t, "login", "welcome")
		if n := shared.State().Unestablished; n != 0 {
			t.Errorf("got %d in the login phase, want 0", n)
		}
	})
}
