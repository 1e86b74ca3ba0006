package admin_test

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/ranch/admin"
	"goranch/transport"
)

// traces returns the number of running traces.
func (s *testServer) traces(c *client) int {
	s.t.Helper()
	return len(c.json("traces").rows(s.t))
}

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		nc := s.dial("echo")
		roundTrip(t, nc, "before")
		synctest.Wait() // the write is counted, so the trace does not show it
		id := s.connections("echo")[0].ID
		js, other := s.jsonClient(), s.jsonClient()
		js.send(fmt.Sprint("trace ", id, " --bytes 5"))
		if a := js.answer(); a.Out != fmt.Sprintf("tracing %d; cancel to stop\n", id) {
			t.Errorf("first line: got %+v, want tracing %d", a, id)
		}
		s.waitFor("the trace to run", func() bool { return s.traces(other) == 1 })
		roundTrip(t, nc, "pass\x00\xffword")
		line := regexp.MustCompile(fmt.Sprintf(`^\d\d:\d\d:\d\d\.\d{6} %d echo mem:client-1 (read|write) 10 "pass\\x00"\.\.\.\n$`, id))
		for _, want := range []string{"read", "write"} {
			if a := js.answer(); !line.MatchString(a.Out) || line.FindStringSubmatch(a.Out)[1] != want {
				t.Errorf("event: got %+v, want a %s", a, want)
			}
		}
		queued := s.traceQueue()
		js.cancel()
		if a := js.answer(); a.Error == nil || a.Error.Code != "cancelled" {
			t.Errorf("end of the trace: got %+v, want the error cancelled", a)
		}
		if n := s.traces(other); n != 0 {
			t.Errorf("running traces after the end: got %d, want 0", n)
		}
		roundTrip(t, nc, "after")
		synctest.Wait()
		if n := queued(); n != 0 {
			t.Errorf("events after the end: got %d, want 0", n)
		}
		js.json("status") // fails if a line of the trace precedes its answer
		if diff := cmp.Diff([]string{fmt.Sprintf("!trace %d --bytes 5", id)}, s.audited()); diff != "" {
			t.Errorf("audit: (-want +got):\n%s", diff)
		}
	})
}

func TestTraceOff(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	id := s.echoConnection(1)
	js, other := s.jsonClient(), s.jsonClient()
	js.send(fmt.Sprint("trace ", id, " on"))
	js.answer()
	s.waitFor("the trace to run", func() bool { return s.traces(other) == 1 })
	if got := other.json(fmt.Sprint("trace ", id, " off")).fields(t); got["ended"] != 1.0 {
		t.Errorf("trace off: got %v, want 1 ended", got)
	}
	if a := js.lastAnswer(); a.Error != nil || string(a.Result) != `"stopped by trace off"` {
		t.Errorf("end of the trace: got %+v, want stopped by trace off", a)
	}
}

// A trace of one connection ends with the connection.
func TestTraceEndsWithConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, admin.Options{})
		id := s.echoConnection(1)
		js := s.jsonClient()
		js.send(fmt.Sprint("trace ", id))
		js.answer()
		s.listener("echo").Kill(conns.Query{ID: id})
		if a := js.lastAnswer(); string(a.Result) != `"the connection has ended"` {
			t.Errorf("end of the trace: got %+v, want the connection has ended", a)
		}
		own := s.connections("shell")[0].ID
		if a := js.json(fmt.Sprint("trace ", own)); a.Error == nil {
			t.Errorf("trace of the own connection: got %+v, want an error", a)
		}
	})
}

// Two connections that trace each other do not produce output forever.
func TestTraceOfEachOther(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	a, b, other := s.jsonClient(), s.jsonClient(), s.jsonClient()
	shells := s.connections("shell")
	a.send(fmt.Sprint("trace ", shells[1].ID))
	s.waitFor("the first trace to run", func() bool { return s.traces(other) == 1 })
	b.send(fmt.Sprint("trace ", shells[0].ID))
	s.waitFor("the second trace to run", func() bool { return s.traces(other) == 2 })
	for range 50 {
		for _, r := range other.json("traces").rows(t) {
			if n := r["events"].(float64); n > 3 { // the request of the second, and an earlier answer
				t.Fatalf("events of %v: got %v, want at most 3", r["target"], n)
			}
		}
	}
	for _, c := range []*client{a, b} {
		c.cancel()
		c.lastAnswer()
	}
}

// A trace of a network shows its connections, and filters match by network.
func TestTraceNetwork(t *testing.T) {
	s := newTestServer(t, admin.Options{})
	l, err := s.server.StartListener("tcp", transport.TCP{}, ranch.Options{Addr: "127.0.0.1:0", Logger: discardLogger}, copyEcho)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	js, other := s.jsonClient(), s.jsonClient()
	js.send("trace 127.0.0.0/8")
	js.answer()
	s.waitFor("the trace to run", func() bool { return s.traces(other) == 1 })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	roundTrip(t, nc, "hello")
	if a := js.answer(); !strings.Contains(a.Out, ` read 5 "hello"`) {
		t.Errorf("event: got %+v, want read 5", a)
	}
	if rows := other.json("connections peer=127.0.0.1 listener=tcp").rows(t); len(rows) != 1 {
		t.Errorf("connections of the network: got %v, want 1", rows)
	}
	if rows := other.json("connections peer!=127.0.0.0/8 listener=tcp").rows(t); len(rows) != 0 {
		t.Errorf("connections outside the network: got %v, want none", rows)
	}
	js.cancel()
	js.lastAnswer()
}

// copyEcho echoes through a buffer: splice(2), which echo.Protocol uses, cannot be traced.
var copyEcho = protocol.Func(func(_ context.Context, conn *transport.Conn) error {
	b := make([]byte, 100)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		if _, err := conn.Write(b[:n]); err != nil {
			return err
		}
	}
})
