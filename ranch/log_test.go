package ranch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/conns"
	"goranch/protocol"
	"goranch/ranch"
	"goranch/transport"
)

// A listener writes to its own logger only.
func TestCustomLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var own, others lockedBuffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&others, nil)))
	l, _ := startListener(t, transport.TCP{}, ranch.Options{Addr: loopbackAddr(t), Logger: slog.New(slog.NewTextHandler(&own, nil))}, greetAndEcho)
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"listener started", "listener stopped", "listener=" + ref, "addr=" + l.Addr().String()} {
		if !strings.Contains(own.String(), want) {
			t.Errorf("got log %s, want it to contain %q", own.String(), want)
		}
	}
	if got := others.String(); got != "" {
		t.Errorf("default logger: got %s, want nothing", got)
	}
}

// Without a Logger a listener uses the default logger at the time of its creation.
func TestDefaultLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var first, second lockedBuffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&first, nil)))
	l, err := new(ranch.Server).StartListener(ref, new(fakeTransport), ranch.Options{}, greetAndEcho)
	if err != nil {
		t.Fatal(err)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(&second, nil)))
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := first.String(); !strings.Contains(got, "listener started") || !strings.Contains(got, "listener stopped") {
		t.Errorf("got log %s, want the start and the stop", got)
	}
	if got := second.String(); got != "" {
		t.Errorf("later default logger: got %s, want nothing", got)
	}
}

// The level and the attributes of each kind of event.
func TestLogEvent(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	conn := transport.NewConn(transport.TCP{}, server)
	defer conn.Close()
	go client.Read(make([]byte, 3))
	if _, err := conn.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7}
	id := float64(conn.ID())
	panicked := &protocol.PanicError{Value: "test", Stack: []byte("goroutine 7 [running]")}
	type attrs = map[string]any
	ended := func(r conns.Reason, err error) ranch.Event {
		return ranch.Event{Kind: ranch.ConnEnded, Conn: conn, Reason: r, Err: err, Served: true, Duration: time.Second}
	}
	endedAttrs := func(reason string, more attrs) attrs {
		m := attrs{"conn": id, "transport": "tcp", "peer": "pipe", "reason": reason, "duration": float64(time.Second), "read": 0.0, "written": 3.0}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	for _, c := range []struct {
		e     ranch.Event
		level string
		want  attrs
	}{
		{ranch.Event{Kind: ranch.ListenerStarted, Addr: addr}, "INFO", attrs{"addr": "127.0.0.1:7"}},
		{ranch.Event{Kind: ranch.ListenerSuspended, Addr: addr}, "INFO", attrs{"addr": "127.0.0.1:7"}},
		{ranch.Event{Kind: ranch.ListenerResumed, Addr: &net.UnixAddr{Name: "/s", Net: "unix"}}, "INFO", attrs{"addr": "unix:/s"}},
		{ranch.Event{Kind: ranch.ListenerStopped, Addr: addr}, "INFO", attrs{"addr": "127.0.0.1:7"}},
		{ranch.Event{Kind: ranch.ListenerStopped}, "INFO", attrs{}}, // never started
		{ranch.Event{Kind: ranch.ListenerStopped, Addr: addr, Err: errTest}, "ERROR", attrs{"addr": "127.0.0.1:7", "err": "test error"}},
		{ranch.Event{Kind: ranch.SocketReopened, Addr: addr}, "WARN", attrs{"addr": "127.0.0.1:7"}},
		{ranch.Event{Kind: ranch.AcceptorStarted, Acceptor: 3}, "DEBUG", attrs{"acceptor": 3.0}},
		{ranch.Event{Kind: ranch.AcceptorStopped}, "DEBUG", attrs{"acceptor": 0.0}},
		{ranch.Event{Kind: ranch.AcceptorPanicked, Acceptor: 2, Err: panicked}, "ERROR", attrs{"acceptor": 2.0, "err": "panic: test", "stack": "goroutine 7 [running]"}},
		{ranch.Event{Kind: ranch.AcceptFailed, Addr: addr, Err: errTest}, "WARN", attrs{"addr": "127.0.0.1:7", "err": "test error"}},
		{ranch.Event{Kind: ranch.AcceptRecovered, Addr: addr, Duration: time.Second}, "INFO", attrs{"addr": "127.0.0.1:7", "after": float64(time.Second)}},
		{ranch.Event{Kind: ranch.ConnStarted, Conn: conn}, "DEBUG", attrs{"conn": id, "transport": "tcp", "peer": "pipe"}},
		{ended(conns.Finished, nil), "DEBUG", endedAttrs("finished", nil)},
		{ended(conns.PeerClosed, errTest), "DEBUG", endedAttrs("peer closed", attrs{"err": "test error"})},
		{ended(conns.HandshakeFailed, errTest), "DEBUG", endedAttrs("handshake failed", attrs{"err": "test error"})},
		{ended(conns.HandshakeTimeout, errTest), "DEBUG", endedAttrs("handshake timeout", attrs{"err": "test error"})},
		{ended(conns.Refused, protocol.ErrShutdown), "DEBUG", endedAttrs("refused", attrs{"err": protocol.ErrShutdown.Error()})},
		{ended(conns.Failed, errTest), "WARN", endedAttrs("failed", attrs{"err": "test error"})},
		{ended(conns.Panicked, fmt.Errorf("wrapped: %w", panicked)), "ERROR", endedAttrs("panicked", attrs{"err": "wrapped: panic: test", "stack": "goroutine 7 [running]"})},
	} {
		t.Run(c.level+" "+string(c.e.Kind), func(t *testing.T) {
			var log lockedBuffer
			c.e.Ref = ref
			ranch.LogEvent(newJSONLogger(&log, slog.LevelDebug), &c.e)
			c.want["level"], c.want["msg"], c.want["listener"] = c.level, string(c.e.Kind), ref
			if diff := cmp.Diff([]map[string]any{c.want}, lines(t, log.String())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// At level info connections are not logged, unless their protocol fails.
func TestConnectionsAreNotLoggedAtInfo(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var log lockedBuffer
		l, _ := m.startListener(t, ranch.Options{Logger: newJSONLogger(&log, slog.LevelInfo)}, greetAndEcho)
		for _, v := range m.servedClients(t, l, 10) {
			v.close()
		}
		nc, err := m.plain().Dial(t.Context(), dialAddr(l)) // fails the handshake, if there is one
		if err != nil {
			t.Fatal(err)
		}
		resetConn(nc)
		if err := callWithTimeout(t, "Stop returns", l.Stop); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range lines(t, log.String()) {
			got = append(got, fmt.Sprint(line["level"], " ", line["msg"]))
		}
		if diff := cmp.Diff([]string{"INFO listener started", "INFO listener stopped"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A panic is logged as an error, with its stack.
func TestPanicIsLoggedWithStack(t *testing.T) {
	forEachTransport(t, func(t *testing.T, m testTransport) {
		var log lockedBuffer
		l, rec := m.startListener(t, ranch.Options{Logger: newJSONLogger(&log, slog.LevelInfo), ShutdownTimeout: ranch.BrutalKill}, protocol.Func(panickingProtocol))
		m.newClient(t, l)
		rec.wait(t, ranch.ConnEnded, 1)
		all := lines(t, log.String())
		got := all[len(all)-1]
		if got["level"] != "ERROR" || got["msg"] != "connection ended" || got["reason"] != "panicked" || got["err"] != "panic: test panic" {
			t.Errorf("got log line %v, want the panic", got)
		}
		if stack, _ := got["stack"].(string); !strings.Contains(stack, "panickingProtocol(") || !strings.Contains(stack, "log_test.go") {
			t.Errorf("got stack %v, want the panicking function", got["stack"])
		}
	})
}

func panickingProtocol(context.Context, *transport.Conn) error { panic("test panic") }

// Events below the level of the logger are not formatted.
func TestEventsBelowTheLevelAreNotFormatted(t *testing.T) {
	var log lockedBuffer
	logger := newJSONLogger(&log, slog.LevelError)
	e := ranch.Event{Kind: ranch.ConnEnded, Ref: ref, Err: errors.New("any")} // without Conn: formatting would panic
	if n := testing.AllocsPerRun(100, func() { ranch.LogEvent(logger, &e) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
	if log.String() != "" {
		t.Errorf("got log %s, want nothing", log.String())
	}
}

// An episode of accept errors is logged as one warning, and one line when it is over.
func TestLogOfAnEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		f := &fakeTransport{script: repeated(30, failWith(errTest))}
		l, rec := startListener(t, f, ranch.Options{Logger: newJSONLogger(&log, slog.LevelInfo)}, greetAndEcho)
		rec.wait(t, ranch.AcceptRecovered, 1)
		if err := l.Stop(); err != nil {
			t.Fatal(err)
		}
		want := []map[string]any{
			{"level": "INFO", "msg": "listener started", "listener": ref, "addr": ":1"},
			{"level": "WARN", "msg": "accept failed", "listener": ref, "addr": ":1", "err": "test error"},
			{"level": "INFO", "msg": "accept recovered", "listener": ref, "addr": ":1", "after": float64(300 * time.Millisecond)},
			{"level": "INFO", "msg": "listener stopped", "listener": ref, "addr": ":1"},
		}
		if diff := cmp.Diff(want, lines(t, log.String())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func (panickingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (panickingHandler) Handle(context.Context, slog.Record) error { panic("log panic") }
